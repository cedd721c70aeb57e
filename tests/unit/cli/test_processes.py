"""The entry points that systemd calls: light, and plain about what is wrong."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gemel.cli.exits import Exit
from gemel.cli.processes import PROCESSES, run_process
from gemel.core.outcome import Permanent, Retryable

HEAVY = {"grpc", "libvirt", "fastapi", "uvicorn", "pydantic", "typer", "rich", "httpx", "asyncio", "cryptography"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after ``code``."""
    report = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_watchdogs_way_in_is_the_standard_library_alone() -> None:
    code = "import gemel.cli.main, importlib; importlib.import_module('gemel.agent.watchdog')"
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("argument", ["--help", "version"])
def test_help_and_version_load_no_engine_and_no_server(argument: str) -> None:
    code = f"from gemel.cli.app import run; run(['{argument}'])"
    heavy = {"grpc", "libvirt", "fastapi", "uvicorn", "cryptography", "httpx", "ruamel", "rich"}
    assert loaded_by(code) & heavy == set()


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_version_is_told_without_the_command_line_library(argument: str) -> None:
    code = f"from gemel.cli.main import main\ntry: main(['{argument}'])\nexcept SystemExit as end: assert end.code == 0"
    assert loaded_by(code) & HEAVY == set()


def test_a_listing_loads_no_engine_and_no_server() -> None:
    code = "import gemel.cli.listing, gemel.cli.client, gemel.cli.changing, gemel.cli.glance"
    assert loaded_by(code) & {"grpc", "libvirt", "fastapi", "uvicorn", "cryptography"} == set()


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands where the agent's module is; a test gives it its main."""
    module = ModuleType("gemel.agent.main")
    monkeypatch.setitem(sys.modules, "gemel.agent.main", module)
    return module


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "agent.yaml"
    path.touch()
    return str(path)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_process_gets_its_configuration_and_gives_its_code(
    body: ModuleType, config: str, returned: int | None, code: int
) -> None:
    seen: list[Path] = []

    def main(path: Path) -> int | None:
        seen.append(path)
        return returned

    body.main = main  # type: ignore[attr-defined]
    assert run_process("agent", ["--config", config]) == code
    assert seen == [Path(config)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Permanent("agent.yaml: ttl: too short"), Exit.USAGE),
        (Retryable("the store did not answer"), Exit.UNAVAILABLE),
        (PermissionError(13, "Permission denied", "/run/gemel"), Exit.UNAVAILABLE),
        (KeyboardInterrupt(), Exit.OK),
    ],
)
def test_what_is_raised_on_purpose_is_one_line(
    body: ModuleType, config: str, capsys: pytest.CaptureFixture[str], error: BaseException, code: Exit
) -> None:
    def main(path: Path) -> None:
        raise error

    body.main = main  # type: ignore[attr-defined]
    assert run_process("agent", ["--config", config]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err and (str(error) in err)


def test_a_defect_reaches_the_journal_whole(body: ModuleType, config: str) -> None:
    def main(path: Path) -> None:
        raise ZeroDivisionError

    body.main = main  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        run_process("agent", ["--config", config])


def test_a_missing_configuration_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for name in PROCESSES:
        assert run_process(name, ["--config", "/nonexistent/x.yaml"]) == Exit.USAGE
        assert "/nonexistent/x.yaml" in capsys.readouterr().err


def test_a_missing_module_is_named(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gemel.agent.main", None)
    assert run_process("agent", ["--config", config]) == Exit.UNAVAILABLE
    assert "gemel.agent.main" in capsys.readouterr().err
