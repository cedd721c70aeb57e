"""One connection to libvirt that cannot hang its caller.

libvirt's calls block, some for ever: ``open`` of a stopped daemon has no timeout at all. So each call gets
a daemon thread of its own, which the caller leaves behind when its time is over. The threads left behind
are bounded: an open connection notices by its keepalive within 6 s that the daemon is silent and fails the
calls on it; at most one thread opens; and beyond ``LIMIT`` threads nothing more is tried.

libvirt's events and keepalives are served by a thread of this module, not by asyncio: they go on while the
agent's loop is busy, and the loop may be replaced.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import libvirt

from gemel.core.outcome import Permanent, Retryable

T = TypeVar("T")
LIMIT = 24
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_COUNT = 2

OnLifecycle = Callable[[str, int, int], None]
OnJob = Callable[[str, Mapping[str, object]], None]

_events_lock = threading.Lock()
_events_running = False


def _serve_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:  # one bad round; the next one is served all the same
            continue


def ensure_event_thread() -> None:
    """Idempotent. Must come before the first connection of the process."""
    global _events_running
    with _events_lock:
        if not _events_running:
            libvirt.virEventRegisterDefaultImpl()
            libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised, not printed
            threading.Thread(target=_serve_events, name="libvirt-events", daemon=True).start()
            _events_running = True


class Threads:
    """Runs blocking calls with a timeout, each in a daemon thread (a hung one does not keep the process
    from ending)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> int:
        return self._busy

    def start(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Raises Retryable when too many earlier calls still hang."""
        with self._lock:
            if self._busy >= self._limit:
                raise Retryable(f"{self._busy} earlier calls to libvirt still hang; see whether it runs", after=2)
            self._busy += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():  # nobody waits any more
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:
                error = raised
            with self._lock:
                self._busy -= 1
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop is closed: the process is ending
                pass

        threading.Thread(target=work, name="libvirt-call", daemon=True).start()
        return future

    async def run(self, call: Callable[[], T], timeout: float) -> T:
        """Raises TimeoutError, whatever ``call`` raises, or Retryable as ``start`` does."""
        return await asyncio.wait_for(self.start(call), timeout)


class Connection:
    """Opens when it is needed, again when it broke, once at a time."""

    def __init__(self, uri: str, threads: Threads, on_lifecycle: OnLifecycle, on_job: OnJob) -> None:
        self._uri = uri
        self._threads = threads
        self._on_lifecycle = on_lifecycle
        self._on_job = on_job
        self._current: Any = None
        self._opening: asyncio.Future[Any] | None = None
        self._closed = False

    async def get(self, timeout: float) -> Any:
        """The live ``virConnect``. Raises Retryable when libvirt cannot be reached by then."""
        if self._closed:
            raise Permanent("this connection to libvirt was closed")
        if self._current is not None:
            if self._current.isAlive():
                return self._current
            self.discard(self._current)
        if self._opening is None or self._opening.get_loop() is not asyncio.get_running_loop():
            ensure_event_thread()
            self._opening = self._threads.start(self._open)
            self._opening.add_done_callback(self._opened)
        try:
            return await asyncio.wait_for(asyncio.shield(self._opening), timeout)
        except TimeoutError:
            raise Retryable(
                f"libvirt at {self._uri} did not answer within {timeout:g} s; see whether libvirtd runs"
            ) from None
        except libvirt.libvirtError as error:
            raise Retryable(f"cannot reach libvirt at {self._uri}: {error}; see whether libvirtd runs") from error

    def discard(self, connection: Any) -> None:
        """Give this connection up. Closing it asks the daemon, so that happens aside."""
        if self._current is connection:
            self._current = None
        try:
            self._threads.start(connection.close).add_done_callback(_heard)
        except (Retryable, RuntimeError):
            pass

    async def close(self) -> None:
        self._closed = True
        if self._current is not None:
            current, self._current = self._current, None
            try:
                await self._threads.run(current.close, 1.0)
            except (TimeoutError, Retryable, libvirt.libvirtError):
                pass

    def _open(self) -> Any:
        connection = libvirt.open(self._uri)
        connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle_callback, None)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._job_callback, None)
        return connection

    def _opened(self, opening: "asyncio.Future[Any]") -> None:
        if self._opening is opening:
            self._opening = None
        if opening.cancelled() or opening.exception() is not None:
            return
        if self._closed:
            self.discard(opening.result())
        else:
            self._current = opening.result()

    def _lifecycle_callback(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        self._on_lifecycle(domain.name(), event, detail)

    def _job_callback(self, _connection: Any, domain: Any, statistics: Any, _opaque: Any) -> None:
        self._on_job(domain.name(), statistics)


def _heard(future: "asyncio.Future[Any]") -> None:
    """Take note of the outcome, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        future.exception()
