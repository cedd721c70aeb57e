"""What an observation can be, and what an error asks of its caller.

Nothing is known from silence: an observation is Present, Absent or Unknown, and a timeout is Unknown.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Present(Generic[T]):
    """It was seen, and this is what it was."""

    value: T


@dataclass(frozen=True, slots=True)
class Absent:
    """The engine answered, and it is not there."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or one that decides nothing. No destructive step may follow from it."""

    why: str


class GemelError(Exception):
    """Base of errors that gemel raises on purpose. The message says what happened, to what, what to do."""


class Retryable(GemelError):
    """It did not happen; the same call may succeed after ``after`` seconds."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class Permanent(GemelError):
    """It did not happen and will not, until someone changes something."""


class Conflict(GemelError):
    """What it was planned from has changed: observe and plan again."""


class OutcomeUnknown(GemelError):
    """It may or may not have happened: observe before anything else."""
