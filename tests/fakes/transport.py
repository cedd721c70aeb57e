"""Two ends of a link between stewards, in memory, with a cable that can be pulled."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from gemel.core.clock import Clock
from gemel.core.outcome import Retryable
from gemel.storage.ports import Difference, Export, Received


class Wire:
    """Who serves where. ``cut``: nobody reaches anybody. ``truncate``: so many transfers break half-way."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ends: dict[str, FakeTransport] = {}
        self.cut = False
        self.truncate = 0


class FakeTransport:
    """``storage.ports.Transport``."""

    def __init__(self, wire: Wire, source: str) -> None:
        self._wire = wire
        self._source = source
        self._export: Export | None = None
        self.spool: dict[str, bytes] = {}
        self.shipped = 0
        wire.ends[source] = self

    @property
    def source(self) -> str:
        return self._source

    def serve(self, export: Export | None) -> None:
        self._export = export

    async def fetch(
        self,
        source: str,
        difference: Difference,
        limit: int | None,
        progress: Callable[[int, int], Awaitable[None]],
    ) -> Received:
        await self._wire.clock.sleep(0.05)
        end = self._wire.ends.get(source)
        if self._wire.cut or end is None or end._export is None:
            raise Retryable(f"{source} does not answer")
        stream = end._export(difference)
        if stream is None:
            raise Retryable(f"{source} does not serve {difference.name}")
        async with aclosing(stream):
            whole = b"".join([chunk async for chunk in stream])
        if self._wire.truncate > 0:
            self._wire.truncate -= 1
            raise Retryable(f"{source} hung up in the middle of {difference.name}")
        await progress(len(whole), len(whole))
        self.spool[difference.name] = whole
        self.shipped += len(whole)
        return Received(difference, len(whole), len(whole))

    async def contents(self, difference: Difference) -> AsyncGenerator[bytes, None]:
        yield self.spool[difference.name]

    async def retain(self, sent: frozenset[str], received: frozenset[str]) -> None:
        for name in set(self.spool) - received:
            del self.spool[name]
