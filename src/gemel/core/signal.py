"""A counter that tasks can wait on: level-triggered, for several waiters, with timeouts by the Clock port
(so that it keeps its meaning under virtual time, which ``asyncio.timeout`` would not)."""

import asyncio

from gemel.core.clock import Clock


class Signal:
    """``count`` only grows. A waiter names the count that it has already seen, so no change is lost between
    its look at the world and its wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def count(self) -> int:
        return self._count

    def notify(self) -> None:
        self._count += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seen: int, timeout: float | None = None) -> bool:
        """True as soon as ``count > seen``; False when ``timeout`` seconds have passed before that."""
        if self._count > seen:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        alarm = None if timeout is None else asyncio.create_task(self._ring(waiter, timeout))
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if alarm is not None:
                alarm.cancel()
        return self._count > seen

    async def _ring(self, waiter: "asyncio.Future[None]", timeout: float) -> None:
        await self._clock.sleep(timeout)
        if not waiter.done():
            waiter.set_result(None)
