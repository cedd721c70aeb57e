"""The serving end: HTTPS with mutual TLS; only agents of this region get an answer."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import structlog

from gemel.core.outcome import GemelError, Retryable
from gemel.engines.courier import wire
from gemel.engines.courier.spool import CHUNK, Outgoing, Parcel
from gemel.storage.ports import Difference, Export

log = structlog.get_logger("gemel.courier")

HEAD_WITHIN = 10.0
STALL = 30.0
SPOOL_WAIT = 5.0
"""How long a request waits for its difference to be spooled before it is told to come again."""
AT_ONCE = 2
"""Differences spooled at the same time."""


class Server:
    def __init__(self, spool: Outgoing, context: ssl.SSLContext, role: str) -> None:
        self._spool = spool
        self._context = context
        self._role = role
        self._export: Export | None = None
        self._server: asyncio.Server | None = None
        self._making: dict[str, asyncio.Task[Parcel]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def start(self, address: str, port: int) -> int:
        """Returns the port, for those who asked for any (0)."""
        self._server = await asyncio.start_server(self._answer, address, port, ssl=self._context, limit=16384)
        return int(self._server.sockets[0].getsockname()[1])

    def serve(self, export: Export | None) -> None:
        self._export = export
        if export is None:
            for task in self._making.values():
                task.cancel()

    async def stop(self) -> None:
        self.serve(None)
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
            await self._respond(head, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.info("request not finished", peer=str(writer.get_extra_info("peername")), why=repr(error))
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(STALL):
                    await writer.wait_closed()

    async def _respond(self, head: str, writer: asyncio.StreamWriter) -> None:
        if peer_role(writer) != self._role:
            await _send(writer, wire.render_refusal("403 Forbidden", f"only the role {self._role} may fetch\n"))
            return
        request = wire.parse_request(head)
        name = wire.parse_name(request.path) if request else None
        if request is None or name is None:
            await _send(writer, wire.render_refusal("400 Bad Request", "not a request for a difference\n"))
            return
        image, since, until = name
        difference = Difference("", image, since, until)
        try:
            found = await self._find(difference)
        except GemelError as error:
            await _send(writer, wire.render_refusal("503 Service Unavailable", f"{error}\n", retry_after=2))
            return
        if found == "later":
            await _send(writer, wire.render_refusal("202 Accepted", "being spooled\n", retry_after=1))
        elif found is None or isinstance(found, str):
            await _send(writer, wire.render_refusal("404 Not Found", "no cut of this site contains it\n"))
        else:
            parcel, path = found
            start = request.start if request.if_range == parcel.sha256 and request.start <= parcel.size else 0
            await _send_file(writer, parcel, path, start)

    async def _find(self, difference: Difference) -> tuple[Parcel, Path] | str | None:
        name = difference.name
        contents = self._export(difference) if self._export else None
        if contents is None:
            return None
        found = self._spool.find(name)
        if found is not None:
            return found
        if name not in self._making:
            task = asyncio.create_task(self._make(difference), name=f"spool {name}")
            self._making[name] = task
            task.add_done_callback(lambda done: self._making.pop(name, None) and done.cancelled())
        making = self._making[name]
        done, _ = await asyncio.wait({making}, timeout=SPOOL_WAIT)
        if not done:
            return "later"
        making.result()
        return self._spool.find(name)

    async def _make(self, difference: Difference) -> Parcel:
        async with self._gate:
            contents = self._export(difference) if self._export else None
            if contents is None:
                raise Retryable(f"{difference.name} is not served any more")
            return await self._spool.make(difference.name, contents)


def peer_role(writer: asyncio.StreamWriter) -> str | None:
    """The common name of the peer's certificate, which the TLS layer has verified."""
    certificate = writer.get_extra_info("peercert") or {}
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(STALL):
        await writer.drain()


async def _send_file(writer: asyncio.StreamWriter, parcel: Parcel, path: Path, start: int) -> None:
    await _send(writer, wire.render_parcel_head(parcel, start))
    with path.open("rb") as file:
        file.seek(start)
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            await _send(writer, chunk)
