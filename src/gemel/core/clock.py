"""Time as a port, so that production code runs under virtual time unchanged."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only grow; the only time that decides anything. Linux: CLOCK_BOOTTIME would also
        count suspend; hosts do not suspend, and asyncio's loop uses CLOCK_MONOTONIC as well."""
        ...

    def wall(self) -> datetime:
        """For people and records; decides nothing."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
