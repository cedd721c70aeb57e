"""Three real etcd members with mutual TLS on loopback, and a wire between a client and a member that can lose
what passes."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gemel.core.outcome import Present
from gemel.engines.pki import Purpose, Subject, create_authority, issue, write_identity
from gemel.store.etcd import MEMBER_CN, EtcdStore, Place, Server, ensure_roles, render_argv
from tests.waiting import eventually

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    def __init__(self, folder: Path) -> None:
        program = shutil.which("etcd")
        if program is None:
            raise AssertionError("etcd is not installed: install etcd-server, these tests prove nothing without")
        self.program, self.folder = program, folder
        ports = free_ports(6)
        self.places = [Place(f"m{i}", LOOPBACK, ports[2 * i], ports[2 * i + 1]) for i in range(3)]
        authority = create_authority(folder / "ca")
        member = Subject(MEMBER_CN, ips=(LOOPBACK,), purpose=Purpose.PEER)
        write_identity(folder, "etcd", issue(authority, member))
        for role in ("root", "api", "controller", "agent", "viewer", "nobody"):
            write_identity(folder, role, issue(authority, Subject(role)))
        self.prepared = False
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, place: Place) -> None:
        server = Server(
            place,
            self.places,
            self.folder / place.name,
            self.folder / "ca" / "ca.crt",
            self.folder / "etcd.crt",
            self.folder / "etcd.key",
        )
        with (self.folder / f"{place.name}.log").open("ab") as log:
            argv = render_argv(server, self.program)
            self.processes[place.name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def signal(self, place: Place, what: signal.Signals) -> None:
        self.processes[place.name].send_signal(what)

    def kill(self, place: Place) -> None:
        process = self.processes.pop(place.name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for place in self.places:
            if place.name in self.processes:
                self.kill(place)

    async def client(self, role: str = "root", places: Sequence[Place] | None = None, budget: float = 8.0) -> EtcdStore:
        endpoints = [place.endpoint for place in places or self.places]
        ca, folder = self.folder / "ca" / "ca.crt", self.folder
        return await EtcdStore.connect(endpoints, ca, folder / f"{role}.crt", folder / f"{role}.key", budget=budget)

    async def prepare(self) -> None:
        """Wait until it works, and switch roles on; once."""
        if self.prepared:
            return
        store = await self.client(budget=30)
        try:
            await ensure_roles(store)
        finally:
            await store.close()
        self.prepared = True

    async def leader(self, among: Sequence[Place] | None = None) -> Place | None:
        """The member that says it leads, if exactly one does and all that are asked answer."""
        places = among or self.places
        store = await self.client(places=places)
        try:
            answers = await store.observe_members()
        finally:
            await store.close()
        by_endpoint = {place.endpoint: place for place in places}
        known = {e: answer.value for e, answer in answers.items() if isinstance(answer, Present)}
        leading = [by_endpoint[endpoint] for endpoint, status in known.items() if status.leads]
        complete = len(known) == len(places) and all(status.follows for status in known.values())
        return leading[0] if complete and len(leading) == 1 else None

    async def settled(self) -> Place:
        """The leader, once all members are up and agree on one."""
        found: list[Place] = []

        async def led() -> bool:
            found[:] = [place for place in [await self.leader()] if place]
            return bool(found)

        predicate: Callable[[], bool | Awaitable[bool]] = led
        await eventually(predicate, 20)
        return found[0]


class Wire:
    """A TCP relay to one member. ``swallow``: what comes back is lost. ``cut()``: nothing passes any more."""

    def __init__(self, place: Place) -> None:
        self._to = place
        self.swallow = False
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.place = place

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Wire"]:
        self._server = await asyncio.start_server(self._relay, LOOPBACK, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.place = Place(self._to.name, LOOPBACK, port)
        try:
            yield self
        finally:
            self._server.close()
            for writer in list(self._writers):
                writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        out_reader, out_writer = await asyncio.open_connection(LOOPBACK, self._to.client_port)
        self._writers |= {writer, out_writer}
        try:
            await asyncio.gather(self._pump(reader, out_writer, False), self._pump(out_reader, writer, True))
        except OSError:
            pass
        finally:
            for end in (writer, out_writer):
                end.close()
                self._writers.discard(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool) -> None:
        while data := await reader.read(65536):
            if self._open and not (back and self.swallow):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Silently: connections stay, bytes do not arrive, as with a dropping filter."""
        self._open = False

    def mend(self) -> None:
        """What was lost inside a connection stays lost, so the old ones are closed."""
        self._open, self.swallow = True, False
        for writer in list(self._writers):
            writer.close()
