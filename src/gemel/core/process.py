"""How every long-running process of gemel lives: until SIGTERM, and no longer than its first broken task."""

import asyncio
import signal
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import structlog

log = structlog.get_logger("gemel.process")


def run(main: Coroutine[Any, Any, None]) -> int:
    """Run until it ends, or until SIGTERM or SIGINT cancels it. Returns the exit code."""

    async def supervised() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("stopped")

    asyncio.run(supervised())
    return 0


async def together(tasks: Sequence[Awaitable[None]]) -> None:
    """All of them, until one ends or breaks: then the others are cancelled and its error is raised. A process
    of which a part has died must not pretend to be whole; systemd starts it again."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
