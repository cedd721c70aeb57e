"""What the exit codes of ``gemel`` mean. Scripts rely on them; the README and the help text list them."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    DIFFERENT = 1
    """``diff`` found a difference, ``status --check`` found an alarm: an answer, not a failure."""
    USAGE = 2
    """Wrong usage, an invalid document, a missing file: nothing was changed."""
    REFUSED = 3
    """The token is missing, unknown, or its role does not allow it."""
    NOT_FOUND = 4
    CONFLICT = 5
    """It was changed by someone else meanwhile, or something still refers to it: read again."""
    UNAVAILABLE = 6
    """No API endpoint answered, or the region store had no quorum. It may or may not have happened when
    the message says so."""
    TIMED_OUT = 7
    """The request was accepted, and what was waited for was not seen in time."""


class CommandFailed(Exception):
    """Ends the command: one message for a person, an optional hint, and the exit code."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
