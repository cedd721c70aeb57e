"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.simulation.pausing import task_factory

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Never waits: the time that a wait would have taken is added to the loop's clock."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled, and nothing can wake the loop")
        # Every turn of a real loop takes time; a virtual one that took none could ask for a wait that is too
        # small for its float clock again and again.
        self.loop.now += 1e-6 if ready or not timeout else max(timeout, 1e-6)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(task_factory)

    def time(self) -> float:
        return self.now


class VirtualClock:
    """The Clock port on the running virtual loop. ``skew`` shifts the wall clock, which decides nothing;
    ``rate`` is how fast this clock goes (0.999: it loses a millisecond a second)."""

    def __init__(self, skew: float = 0.0, rate: float = 1.0) -> None:
        self._skew = skew
        self._rate = rate

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self._rate

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic() + self._skew)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end under virtual time; tasks left over are cancelled."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
