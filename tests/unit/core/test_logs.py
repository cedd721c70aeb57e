import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from gemel.core import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A process's logs, and the test runner's own again afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found = io.StringIO()
    logs.configure("agent", stream=found, host="par1-1")
    yield found
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_it_is_about(stream: io.StringIO) -> None:
    with logs.about(guest="bank-db", epoch=7):
        logs.get("gemel.x").info("started", seconds=1.5)
    logs.get("gemel.x").info("after")
    first, second = lines(stream)
    wanted = {"event": "started", "guest": "bank-db", "epoch": 7, "host": "par1-1", "process": "agent", "seconds": 1.5}
    assert wanted.items() <= first.items()
    assert "epoch" not in second
    assert second["host"] == "par1-1"


def test_libraries_log_in_the_same_form(stream: io.StringIO) -> None:
    with logs.about(epoch=7):
        logging.getLogger("library").warning("slow %s", "answer")
    (line,) = lines(stream)
    assert {"event": "slow answer", "level": "warning", "epoch": 7}.items() <= line.items()


def test_no_secret_is_written_and_no_variable_of_a_traceback(stream: io.StringIO) -> None:
    def fails(handed: str) -> None:
        raise RuntimeError("no")

    logs.get("x").info("asked", api_token="sesame", password="sesame")
    try:
        fails("sesame")
    except RuntimeError:
        logs.get("x").exception("failed")
    assert "sesame" not in stream.getvalue().replace('fails("sesame")', "")
    assert lines(stream)[1]["exception"][0]["exc_type"] == "RuntimeError"
