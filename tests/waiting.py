"""The one way that tests wait: for something to be seen, and never by a bare sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    predicate: Callable[[], T | Awaitable[T]], within: float, every: float = 0.05, what: str = ""
) -> T:
    """The first truthy value of ``predicate`` (sync or async). Raises AssertionError, with the last value,
    when there was none ``within`` seconds; an AssertionError inside the predicate counts as not yet."""
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            value = predicate()
            seen = await value if inspect.isawaitable(value) else value
            if seen:
                return seen
            last = seen
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s for {what or predicate}: last seen {last!r}")
        await asyncio.sleep(every)
