"""Both ends of the courier on loopback, with real certificates."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gemel.core.outcome import Retryable
from gemel.engines.courier.engine import Certificates, Courier
from gemel.engines.courier.spool import Incoming, Outgoing
from gemel.engines.pki.authority import Authority, create_authority, issue
from gemel.engines.pki.identity import Purpose, Subject, write_identity
from gemel.storage.ports import Difference

DIFF = Difference("db.d0", "db.d0.e1", "e1-3", "e1-4")


async def nothing(_here: int, _total: int) -> None:
    return None


class Source:
    """Serves one difference and counts how often it was made."""

    def __init__(self, contents: bytes) -> None:
        self.contents = contents
        self.made = 0

    def __call__(self, difference: Difference) -> AsyncGenerator[bytes, None] | None:
        return self._chunks() if difference.name == DIFF.name else None

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        self.made += 1
        for start in range(0, len(self.contents), 65536):
            yield self.contents[start : start + 65536]


def certificates(authority: Authority, folder: Path, cn: str) -> Certificates:
    subject = Subject(cn=cn, unit="host", ips=("127.0.0.1",), purpose=Purpose.PEER)
    certificate, key = write_identity(folder, cn, issue(authority, subject))
    (folder / "ca.crt").write_bytes(authority.pem)
    return Certificates(folder / "ca.crt", certificate, key)


class Pair:
    def __init__(self, here: Courier, there: Courier, folder: Path, authority: Authority) -> None:
        self.here = here
        self.there = there
        self.folder = folder
        self.authority = authority

    async def fetched(self, limit: int | None = None) -> bytes:
        await self.here.fetch(self.there.source, DIFF, limit, nothing)
        return b"".join([chunk async for chunk in self.here.contents(DIFF)])


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    authority = create_authority(tmp_path / "ca")
    async with AsyncExitStack() as stack:
        ends = []
        for name in ("here", "there"):
            held = certificates(authority, tmp_path / name, "agent")
            ends.append(await stack.enter_async_context(Courier("127.0.0.1", held, tmp_path / name / "spool", port=0)))
        yield Pair(ends[0], ends[1], tmp_path, authority)


@pytest.mark.parametrize("contents", [b"", b"x", b"\0" * 9_000_000, os.urandom(9_000_000)], ids=len)
async def test_contents_arrive_as_they_were(pair: Pair, contents: bytes) -> None:
    pair.there.serve(Source(contents))
    assert await pair.fetched() == contents


async def test_compression_is_used_where_it_pays_and_nowhere_else(pair: Pair) -> None:
    pair.there.serve(Source(b"accounts " * 500_000))
    received = await pair.here.fetch(pair.there.source, DIFF, None, nothing)
    assert received.wire_bytes < received.raw_bytes / 20
    await pair.here.retain(frozenset(), frozenset())
    await pair.there.retain(frozenset(), frozenset())
    pair.there.serve(Source(os.urandom(4_500_000)))
    received = await pair.here.fetch(pair.there.source, DIFF, None, nothing)
    assert received.wire_bytes == received.raw_bytes


async def test_an_interrupted_fetch_goes_on_where_it_stopped(pair: Pair) -> None:
    source = Source(os.urandom(6_000_000))
    pair.there.serve(source)

    async def cut(here: int, _total: int) -> None:
        if here > 2_000_000:
            raise Retryable("the link is cut")

    with pytest.raises(Retryable, match="link is cut"):
        await pair.here.fetch(pair.there.source, DIFF, None, cut)
    starts: list[int] = []

    async def watch(here: int, _total: int) -> None:
        starts.append(here)

    await pair.here.fetch(pair.there.source, DIFF, None, watch)
    assert starts[0] > 2_000_000
    assert b"".join([chunk async for chunk in pair.here.contents(DIFF)]) == source.contents
    assert source.made == 1


async def test_a_difference_that_was_made_anew_is_not_mixed_with_the_old_one(pair: Pair) -> None:
    pair.there.serve(Source(os.urandom(6_000_000)))

    async def cut(here: int, _total: int) -> None:
        raise Retryable("the link is cut")

    with pytest.raises(Retryable):
        await pair.here.fetch(pair.there.source, DIFF, None, cut)
    await pair.there.retain(frozenset(), frozenset())
    other = os.urandom(5_000_000)
    pair.there.serve(Source(other))
    assert await pair.fetched() == other


async def test_damage_is_seen_before_anything_is_used(pair: Pair) -> None:
    pair.there.serve(Source(os.urandom(3_000_000)))

    async def damage(here: int, total: int) -> None:
        if here == total:
            (part,) = (pair.folder / "here/spool/received").glob("*.part")
            data = bytearray(part.read_bytes())
            data[1_000_000] ^= 1
            part.write_bytes(data)

    with pytest.raises(Retryable, match="damaged"):
        await pair.here.fetch(pair.there.source, DIFF, None, damage)
    with pytest.raises(Retryable, match="not in the spool"):
        _ = [chunk async for chunk in pair.here.contents(DIFF)]
    await pair.fetched()


async def test_what_no_cut_contains_is_not_handed_out(pair: Pair) -> None:
    pair.there.serve(Source(b"secret"))
    other = Difference("db.d0", "db.d0.e1", "e1-0", "e1-9")
    with pytest.raises(Retryable, match="404"):
        await pair.here.fetch(pair.there.source, other, None, nothing)
    pair.there.serve(None)
    with pytest.raises(Retryable, match="404"):
        await pair.fetched()


async def test_only_agents_are_answered(pair: Pair) -> None:
    pair.there.serve(Source(b"secret"))
    api = certificates(pair.authority, pair.folder / "api", "api")
    async with Courier("127.0.0.1", api, pair.folder / "api/spool", port=0) as stranger:
        with pytest.raises(Retryable, match="403"):
            await stranger.fetch(pair.there.source, DIFF, None, nothing)
    foreign = certificates(create_authority(pair.folder / "foreign"), pair.folder / "x", "agent")
    async with Courier("127.0.0.1", foreign, pair.folder / "x/spool", port=0) as stranger:
        with pytest.raises(Retryable, match="interrupted"):
            await stranger.fetch(pair.there.source, DIFF, None, nothing)


async def test_an_export_that_fails_leaves_nothing_to_fetch(pair: Pair) -> None:
    class Broken(Source):
        async def _chunks(self) -> AsyncGenerator[bytes, None]:
            yield b"half"
            raise Retryable("Ceph went away")

    pair.there.serve(Broken(b""))
    with pytest.raises(Retryable, match="Ceph went away"):
        await pair.fetched()
    assert not list((pair.folder / "there/spool/sent").glob("*.data"))
    pair.there.serve(Source(b"whole"))
    assert await pair.fetched() == b"whole"


async def test_nobody_there_is_retryable(pair: Pair) -> None:
    with pytest.raises(Retryable, match="interrupted"):
        await pair.here.fetch("https://127.0.0.1:1", DIFF, None, nothing)


async def test_spools_keep_only_what_is_needed(tmp_path: Path) -> None:
    sent, received = Outgoing(tmp_path / "sent"), Incoming(tmp_path / "received")

    async def contents() -> AsyncGenerator[bytes, None]:
        yield b"data"

    parcel = await sent.make("a.e1/e1-0/e1-1", contents())
    await sent.make("b.e1/e1-0/e1-1", contents())
    sent.retain(frozenset({"a.e1/e1-0/e1-1"}))
    assert sent.find("a.e1/e1-0/e1-1") and not sent.find("b.e1/e1-0/e1-1")
    received.resume_at("a.e1/e1-0/e1-1", parcel)
    received.append("a.e1/e1-0/e1-1", b"da")
    received.retain(frozenset())
    assert list((tmp_path / "received").iterdir()) == []
    await asyncio.sleep(0)
