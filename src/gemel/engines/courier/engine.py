"""`storage.ports.Transport`: both ends of the road between two stewards."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from gemel.core.outcome import Permanent, Retryable
from gemel.engines.courier import bucket, wire
from gemel.engines.courier.server import Server
from gemel.engines.courier.spool import CHUNK, Incoming, Outgoing, Parcel
from gemel.storage.ports import Difference, Export, Received

PORT = 7445
ROLE = "agent"
CONNECT = 5.0
STALL = 30.0
PATIENCE = 600.0
"""How long a fetch waits for the other side to spool before it gives the turn to others."""

Progress = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the region's authority, and this agent's certificate and key."""

    authority: Path
    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        return self._filled(context)

    def client(self) -> ssl.SSLContext:
        return self._filled(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _filled(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Courier:
    """Use as ``async with Courier(...) as transport``. ``spool`` is a folder of its own on this host."""

    def __init__(self, address: str, certificates: Certificates, spool: Path, port: int = PORT) -> None:
        self._address = address
        self._port = port
        self._certificates = certificates
        self._sent = Outgoing(spool / "sent")
        self._received = Incoming(spool / "received")
        self._server = Server(self._sent, certificates.server(), ROLE)
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> "Courier":
        self._port = await self._server.start(self._address, self._port)
        timeout = httpx.Timeout(STALL, connect=CONNECT)
        self._client = httpx.AsyncClient(verify=self._certificates.client(), timeout=timeout, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def source(self) -> str:
        return f"https://{self._address}:{self._port}"

    def serve(self, export: Export | None) -> None:
        self._server.serve(export)

    async def fetch(self, source: str, difference: Difference, limit: int | None, progress: Progress) -> Received:
        name = difference.name
        whole = self._received.found(name)
        if whole is None:
            loop = asyncio.get_running_loop()
            until = loop.time() + PATIENCE
            while (whole := await self._try(source, name, limit, progress)) is None:
                if loop.time() > until:
                    raise Retryable(f"{source} has not spooled {name} within {PATIENCE:.0f} s", after=5)
                await asyncio.sleep(1.0)
        return Received(difference, whole.size, whole.raw)

    async def _try(self, source: str, name: str, limit: int | None, progress: Progress) -> Parcel | None:
        """One request; None when the other side is still spooling."""
        if self._client is None:
            raise Permanent("this courier is not open: use it as an async context")
        known = self._received.partial(name)
        headers = {"Range": f"bytes={known[1]}-", "If-Range": f'"{known[0].sha256}"'} if known else {}
        try:
            async with self._client.stream("GET", source + wire.PREFIX + name, headers=headers) as answer:
                if answer.status_code == 202:
                    return None
                if answer.status_code not in (200, 206):
                    text = (await answer.aread())[:300].decode(errors="replace").strip()
                    raise Retryable(f"{source} refused {name} with {answer.status_code}: {text}", after=2)
                parcel = wire.parse_parcel(answer.headers)
                if parcel is None:
                    raise Permanent(f"{source} answered for {name} without saying what it sends: is it a gemel agent?")
                await self._receive(answer, name, parcel, limit, progress)
        except httpx.HTTPError as error:
            raise Retryable(f"{name} from {source} was interrupted: {error or type(error).__name__}") from error
        await self._received.finish(name, parcel)
        return parcel

    async def _receive(
        self, answer: httpx.Response, name: str, parcel: Parcel, limit: int | None, progress: Progress
    ) -> None:
        here = self._received.resume_at(name, parcel)
        if answer.status_code == 200 and here:
            here = self._received.restart(name)
        loop = asyncio.get_running_loop()
        tokens = bucket.full(limit, loop.time()) if limit else None
        size = CHUNK if limit is None else min(CHUNK, max(4096, limit // 4))
        async for chunk in answer.aiter_raw(size):
            await asyncio.to_thread(self._received.append, name, chunk)
            here += len(chunk)
            await progress(here, parcel.size)
            if tokens is not None:
                tokens, wait = bucket.take(tokens, len(chunk), loop.time())
                if wait > 0:
                    await asyncio.sleep(wait)
        if here != parcel.size:
            raise Retryable(f"{name} from {answer.url.host} ended after {here} of {parcel.size} bytes")

    def contents(self, difference: Difference) -> AsyncGenerator[bytes, None]:
        return self._received.contents(difference.name)

    async def retain(self, sent: frozenset[str], received: frozenset[str]) -> None:
        await asyncio.to_thread(self._sent.retain, sent)
        await asyncio.to_thread(self._received.retain, received)
