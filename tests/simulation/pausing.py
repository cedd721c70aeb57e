"""SIGSTOP for tasks: what runs behind a closed gate does not take one more step until the gate opens.

A gate belongs to a simulated process and is inherited by every task that the process makes. What the process
has asked others to do (an engine, the store) is ``detached`` from it and goes on, also when the asker was
cancelled or stopped: that is what a daemon does with a request that it has received.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class Gate:
    def __init__(self) -> None:
        self.closed = False
        self._opened: asyncio.Event = asyncio.Event()

    def close(self) -> None:
        self.closed = True
        self._opened.clear()

    def open(self) -> None:
        self.closed = False
        self._opened.set()

    def wait(self) -> Generator[Any, None, Any]:
        return self._opened.wait().__await__()


GATE: ContextVar[Gate | None] = ContextVar("gate", default=None)
COMMITTER: ContextVar[str] = ContextVar("committer", default="")
"""Who asked the store for the transaction that is being applied."""


@types.coroutine
def _behind(gate: Gate, inner: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    step: Callable[[Any], Any] = inner.send
    value: Any = None
    killed = False
    while True:
        try:
            while gate.closed and not killed:
                yield from gate.wait()
        except BaseException as error:  # cancelled while stopped: SIGKILL needs no SIGCONT
            step, value, killed = inner.throw, error, True
        try:
            waited = step(value)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        try:
            value = yield waited
            step = inner.send
        except BaseException as error:
            step, value = inner.throw, error
            killed = killed or isinstance(error, asyncio.CancelledError)


def task_factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: Context | None = None
) -> "asyncio.Task[T]":
    """For ``loop.set_task_factory``: puts tasks behind the gate of the process that makes them."""
    gate = context.get(GATE) if context is not None else GATE.get()
    if gate is not None:
        coro = _behind(gate, coro)  # type: ignore[assignment]
    return asyncio.Task(coro, loop=loop, context=context)


def spawn(gate: Gate, coro: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task of the process that ``gate`` stops."""
    context = Context()
    context.run(GATE.set, gate)
    return asyncio.get_running_loop().create_task(coro, context=context)


async def detached(coro: Coroutine[Any, Any, T], committer: str = "") -> T:
    """The answer of someone outside: the work goes on whatever becomes of who waits for it."""
    context = Context()
    context.run(COMMITTER.set, committer)
    task = asyncio.get_running_loop().create_task(coro, context=context)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)
