"""Calls that hang: bounded in time, bounded in number, and late results are dropped."""

import asyncio
import threading

import pytest
from tests.waiting import eventually

from gemel.core.outcome import Retryable
from gemel.engines.libvirt.connection import Threads


async def test_results_and_errors_come_back() -> None:
    threads = Threads()
    assert await threads.run(lambda: 5, 10) == 5
    with pytest.raises(KeyError):
        await threads.run(lambda: dict[str, int]()["x"], 10)
    await eventually(lambda: threads.busy == 0, 5)


async def test_a_hung_call_costs_its_timeout_and_hung_calls_are_bounded() -> None:
    threads = Threads(limit=3)
    release = threading.Event()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await threads.run(release.wait, 0.01)
    ran: list[int] = []
    with pytest.raises(Retryable, match="3 earlier calls"):
        await threads.run(lambda: ran.append(1), 10)
    release.set()
    await eventually(lambda: threads.busy == 0, 5)
    assert ran == []  # what was refused does not happen later
    assert await threads.run(lambda: 7, 10) == 7


def test_a_thread_that_outlives_its_loop_ends_quietly() -> None:
    threads = Threads()
    release = threading.Event()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await threads.run(release.wait, 0.01)

    asyncio.run(leave())
    release.set()

    async def settled() -> None:
        await eventually(lambda: threads.busy == 0, 5)

    asyncio.run(settled())
