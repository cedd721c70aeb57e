"""Command trees of other folders, imported when they are called."""

import sys
from types import ModuleType
from typing import Annotated

import pytest
import typer

from gemel.cli.app import run
from gemel.cli.exits import CommandFailed, Exit
from gemel.core.outcome import Retryable


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands where the lab's commands are; notes what `exec` got."""
    seen: list[list[str]] = []
    app = typer.Typer()

    @app.command("exec")
    def execute(node: str, argv: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        seen.append([node, *(argv or [])])
        if node == "negative":
            raise typer.Exit(1)
        if node == "unavailable":
            raise Retryable("the node did not answer")
        if node == "missing":
            raise CommandFailed(Exit.NOT_FOUND, "there is no such node")

    @app.command("down")
    def down() -> None:
        seen.append(["down"])

    module = ModuleType("gemel.lab.commands")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gemel.lab.commands", module)
    return seen


def test_arguments_arrive_untouched(lab: list[list[str]]) -> None:
    assert run(["lab", "exec", "par1-1", "--", "ip", "-o", "--help", "addr"]) == Exit.OK
    assert lab == [["par1-1", "ip", "-o", "--help", "addr"]]


@pytest.mark.parametrize(("node", "code"), [("negative", 1), ("unavailable", 6), ("missing", 4)])
def test_their_ends_are_ours(lab: list[list[str]], capsys: pytest.CaptureFixture[str], node: str, code: int) -> None:
    assert run(["lab", "exec", node]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_their_usage_errors_are_ours(lab: list[list[str]]) -> None:
    assert run(["lab", "explode"]) == Exit.USAGE
    assert lab == []


def test_a_plain_main_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        seen.append(arguments)
        return 2

    module = ModuleType("gemel.demo.main")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gemel.demo.main", module)
    assert run(["demo", "--keep"]) == 2
    assert seen == [["--keep"]]


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gemel.demo.main", None)
    assert run(["demo"]) == Exit.UNAVAILABLE
    assert "no gemel demo" in capsys.readouterr().err
