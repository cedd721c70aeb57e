"""The executioner against real processes that look like QEMU, and some that do not."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gemel.core.identity import GuestName
from gemel.engines.libvirt.executioner import PidExecutioner, parse_guest_name

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``sleep`` under another name, with a guest's arguments after it."""
    started: list[subprocess.Popen[bytes]] = []
    shell = shutil.which("sh")
    assert shell is not None
    (tmp_path / "qemu-system-x86").symlink_to(shell)
    (tmp_path / "other").symlink_to(shell)

    def begin(name: str, program: str = "qemu-system-x86") -> subprocess.Popen[bytes]:
        arguments = ["-c", "echo; read line", "sh", "-name", f"guest={name},debug-threads=on"]
        process = subprocess.Popen([tmp_path / program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # it is what it will be
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def pid_file(run_dir: Path, name: str, pid: int | str) -> None:
    (run_dir / f"{name}.pid").write_text(f"{pid}\n")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_it_kills_all_but_those_to_keep(start: Start, run_dir: Path) -> None:
    bank, web, kept = start("bank"), start("web"), start("kept")
    for name, process in (("bank", bank), ("web", web), ("kept", kept)):
        pid_file(run_dir, name, process.pid)
    executioner = PidExecutioner(run_dir)
    assert executioner.running() == ("bank", "kept", "web")
    assert executioner.kill_all(keep=frozenset({GuestName("kept")})) == ("bank", "web")
    assert (bank.poll(), web.poll(), kept.poll()) == (-9, -9, None)
    assert executioner.running() == ("kept",)
    assert executioner.kill(GuestName("kept"))
    assert kept.wait(5) == -9
    assert not executioner.kill(GuestName("kept"))
    assert executioner.kill_all() == ()


def test_a_pid_that_is_not_this_guest_s_qemu_is_spared(start: Start, run_dir: Path) -> None:
    stranger, namesake = start("bank", program="other"), start("web")
    pid_file(run_dir, "bank", stranger.pid)  # right arguments, not QEMU: the pid was reused
    pid_file(run_dir, "bank-2", namesake.pid)  # QEMU, of another guest
    pid_file(run_dir, "driver", namesake.pid)  # libvirt's own
    assert PidExecutioner(run_dir).kill_all() == ()
    assert (stranger.poll(), namesake.poll()) == (None, None)


@pytest.mark.parametrize("text", ["", "no number", "-1", "0", "999999999"])
def test_nonsense_in_a_pid_file_spares_nobody_else(start: Start, run_dir: Path, text: str) -> None:
    web = start("web")
    pid_file(run_dir, "a-broken", text)
    pid_file(run_dir, "web", web.pid)
    assert PidExecutioner(run_dir).kill_all() == ("web",)


def test_no_folder_means_no_guests(tmp_path: Path) -> None:
    assert PidExecutioner(tmp_path / "absent").kill_all() == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"qemu-system-x86_64\0-name\0guest=bank,debug-threads=on\0-S\0", "bank"),
        (b"qemu\0-name\0debug-threads=on,guest=a-b\0", "a-b"),
        (b"qemu\0-m\0guest=bank\0", None),
        (b"qemu\0-name\0", None),
        (b"", None),
    ],
)
def test_the_name_in_a_command_line(line: bytes, name: str | None) -> None:
    assert parse_guest_name(line) == name


def test_it_needs_the_standard_library_only() -> None:
    """The watchdog imports it in a bare interpreter: no site-packages."""
    source = Path(__file__).parents[4] / "src"
    script = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import gemel.engines.libvirt.executioner;"
        "assert not {'libvirt', 'pydantic', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-I", "-c", script], check=True, timeout=30)
