"""The engine's side of things that go wrong, with a stand-in for the program itself."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from gemel.core.outcome import Absent, OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.engines.ceph.engine import RbdFence, RbdImages, Timeouts
from gemel.engines.ceph.program import TimedOut, read_stream
from gemel.engines.ceph.render import Access

QUICK = Timeouts(observe=0.2, change=0.2, rollback=0.3, stall=0.3, grace=0.1)


def program(tmp_path: Path, script: str) -> Access:
    """``script`` stands for every program: it sees rbd's or ceph's words as $*."""
    path = tmp_path / "stand-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Access(tmp_path / "ceph.conf", "client.test", (str(path),))


def running(pid: Path) -> bool:
    return Path(f"/proc/{pid.read_text().strip()}").exists()


async def test_silence_is_unknown_and_never_absent(tmp_path: Path) -> None:
    images = RbdImages(program(tmp_path, "exec sleep 60"), QUICK)
    assert isinstance(await images.observe("guests", "v.e1"), Unknown)
    assert isinstance(await images.names("guests"), Unknown)
    with pytest.raises(OutcomeUnknown):
        await images.ensure_snapshot("guests", "v.e1", "e1-1")
    with pytest.raises(Retryable):
        await images.changed_bytes("guests", "v.e1", "e1-0", None)
    with pytest.raises(Retryable):
        await RbdFence(program(tmp_path, "exec sleep 60"), QUICK).ensure_exclusive("guests", "v.e1")


async def test_only_a_clear_answer_is_absent(tmp_path: Path) -> None:
    gone = program(tmp_path, "echo 'rbd: error opening image v.e1: (2) No such file or directory' >&2; exit 2")
    assert isinstance(await RbdImages(gone).observe("guests", "v.e1"), Absent)
    pool = program(tmp_path, "echo \"rbd: error opening pool 'guests': (2) No such file or directory\" >&2; exit 2")
    assert isinstance(await RbdImages(pool).observe("guests", "v.e1"), Unknown)
    late = program(tmp_path, "echo 'rbd: error opening image v.e1: (110) Connection timed out' >&2; exit 110")
    assert isinstance(await RbdImages(late).observe("guests", "v.e1"), Unknown)


async def test_what_was_so_before_is_fine(tmp_path: Path) -> None:
    there = RbdImages(program(tmp_path, "echo 'rbd: failed to create snapshot: (17) File exists' >&2; exit 17"))
    await there.ensure_snapshot("guests", "v.e1", "e1-1")
    gone = RbdImages(program(tmp_path, "exit 2"))
    await gone.remove_snapshot("guests", "v.e1", "e1-1")


async def test_an_image_with_its_snapshots(tmp_path: Path) -> None:
    script = """case "$*" in
      *"snap ls"*) echo '[{"id":4,"name":"e1-0"},{"id":5,"name":"e1-1"}]';;
      *info*) echo '{"size":4096,"snapshot_count":2}';;
    esac"""
    found = await RbdImages(program(tmp_path, script)).observe("guests", "v.e1")
    assert isinstance(found, Present) and found.value.snapshots == ("e1-0", "e1-1")


async def test_a_difference_that_breaks_off_is_an_error_not_an_end(tmp_path: Path) -> None:
    images = RbdImages(program(tmp_path, "printf half; echo 'rbd: export-diff error: (5)' >&2; exit 5"))
    got = b""
    with pytest.raises(Permanent, match="export-diff error"):
        async for chunk in images.export_diff("guests", "v.e1", "e1-0", "e1-1"):
            got += chunk
    assert got == b"half"


async def test_a_stalled_difference_is_given_up(tmp_path: Path) -> None:
    images = RbdImages(program(tmp_path, "printf half; exec sleep 60"), QUICK)
    with pytest.raises(Retryable, match="gave nothing"):
        async for _ in images.export_diff("guests", "v.e1", "e1-0", "e1-1"):
            pass


async def test_a_broken_source_never_looks_like_an_end_of_input(tmp_path: Path) -> None:
    """The importer must not see end of file: it is killed before it could take the half for the whole."""
    seen = tmp_path / "seen-the-end"
    images = RbdImages(program(tmp_path, f"cat > /dev/null && touch {seen}"), QUICK)

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise Retryable("the source broke")

    with pytest.raises(Retryable, match="the source broke"):
        await images.import_diff("replicas", "v.e1", half())
    assert not seen.exists()

    async def whole() -> AsyncIterator[bytes]:
        yield b"whole"

    await images.import_diff("replicas", "v.e1", whole())
    assert seen.exists()


async def test_an_importer_that_refuses_early_says_why(tmp_path: Path) -> None:
    script = "echo 'rbd: import-diff failed: (17) File exists' >&2; exit 17"
    images = RbdImages(program(tmp_path, script))

    async def much() -> AsyncGenerator[bytes, None]:
        for _ in range(200):
            yield b"x" * 65536

    with pytest.raises(Exception, match="File exists"):
        await images.import_diff("replicas", "v.e1", much())


async def test_a_reader_that_stops_early_leaves_no_program_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    access = program(tmp_path, f"echo $$ > {pid}; while :; do printf xxxxxxxx; done")
    stream = read_stream([*access.launcher], 5.0)
    assert await anext(stream)
    await stream.aclose()
    assert not running(pid)


async def test_a_timeout_kills_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    access = program(tmp_path, f"echo $$ > {pid}; exec sleep 60")
    with pytest.raises(TimedOut):
        async for _ in read_stream([*access.launcher], 0.5):
            pass
    assert not running(pid)


async def test_a_fence_shuts_out_lockers_and_watchers(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    script = f"""echo "$*" >> {calls}
    case "$*" in
      *"lock ls"*) echo '[{{"id":"auto 1","locker":"client.7","address":"10.0.0.1:0/11"}}]';;
      *status*) echo '{{"watchers":[{{"address":"10.0.0.2:0/22","client":8,"cookie":1}}]}}';;
    esac"""
    fenced = await RbdFence(program(tmp_path, script)).ensure_exclusive("guests", "v.e1")
    assert fenced == ("10.0.0.1:0/11", "10.0.0.2:0/22")
    lines = calls.read_text().splitlines()
    added = [n for n, line in enumerate(lines) if "blocklist add" in line]
    removed = [n for n, line in enumerate(lines) if "lock rm" in line]
    assert len(added) == 2 and len(removed) == 1 and max(added) < removed[0], "blocklist first, then break the lock"
