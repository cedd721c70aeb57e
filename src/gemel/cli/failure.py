"""Pure: from an API's refusal to what a person reads and the exit code that a script sees."""

from collections.abc import Mapping
from typing import Any

from gemel.cli.exits import CommandFailed, Exit

_CODES = {
    400: Exit.USAGE,
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    410: Exit.CONFLICT,
    412: Exit.CONFLICT,
    422: Exit.USAGE,
}
_HINTS = {
    401: "check the token_file of your context",
    409: "read it again (gemel get ... -o yaml), and repeat the change on that",
}


class InvalidDocuments(CommandFailed):
    """The API refused documents: all problems at once, as it sent them."""

    def __init__(self, message: str, problems: tuple[Mapping[str, Any], ...]) -> None:
        super().__init__(Exit.USAGE, message)
        self.problems = problems


def failure_of(status: int, body: Any) -> CommandFailed:
    """The error for an HTTP answer that is not a success. ``body`` is its JSON, or its text."""
    message, hint = _words_of(body)
    problems = body.get("problems") if isinstance(body, dict) else None
    if isinstance(problems, list) and problems:
        return InvalidDocuments(message, tuple(problem for problem in problems if isinstance(problem, dict)))
    code = _CODES.get(status, Exit.UNAVAILABLE if status >= 500 else Exit.USAGE)
    return CommandFailed(code, message or f"the API answered {status}", hint or _HINTS.get(status, ""))


def _words_of(body: Any) -> tuple[str, str]:
    if not isinstance(body, dict):
        return " ".join(str(body or "").split())[:300], ""
    message = body.get("message") or body.get("detail") or body.get("error") or ""
    if not isinstance(message, str):  # a framework's own list of validation errors
        message = "; ".join(_framework_error(item) for item in message) if isinstance(message, list) else str(message)
    return message, str(body.get("hint") or "")


def _framework_error(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    where = ".".join(str(part) for part in item.get("loc", ()))
    return f"{where}: {item.get('msg', '')}"


def render_problem(file: str, line: int | None, document: int, path: str, message: str, expected: str) -> str:
    """``file:line: document N: path: message (expected ...)``. Documents are counted from 1 for people."""
    parts = (f"{file}:{line}" if line else file, f"document {document + 1}", path, message)
    return ": ".join(part for part in parts if part) + (f" (expected {expected})" if expected else "")
