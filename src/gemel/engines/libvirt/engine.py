"""The hypervisor on libvirt and QEMU. Runs calls, and maps errors to what the caller must do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from gemel.compute.ports import Domain, DomainChange, Domains, DomainState, GuestPlan, MigrationResult
from gemel.core.identity import GuestName
from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Retryable, Unknown
from gemel.engines.libvirt.connection import Connection, Threads
from gemel.engines.libvirt.executioner import RUN_DIR, PidExecutioner
from gemel.engines.libvirt.parse import Complaint, parse_complaint, parse_domain, parse_event, parse_job
from gemel.engines.libvirt.render import HostDevices, render_domain, render_secret

T = TypeVar("T")
_POLL_S = 0.2
_MAX_DOWNTIME_MS = 100
"""QEMU hands the guest over when what is left takes less than this; auto-converge slows the guest down
until it does."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a caller waits at most."""

    query: float = 3.0
    change: float = 10.0
    start: float = 30.0
    stop: float = 20.0
    migrate: float = 300.0
    agent: int = 2
    thaw: int = 8
    """A guest that may be frozen is waited for longer: giving up early would only ask again."""


class LibvirtHypervisor:
    """Implements ``compute.ports.Hypervisor``.

    A call that outlives its timeout raises OutcomeUnknown (or answers Unknown), and the connection is
    replaced. What was sent to a stopped daemon is still executed when the daemon goes on, so a late start
    is possible: the agent compares what runs with its grants at every observation, and the fence kills by
    pid for as long as the lease is not held.
    """

    def __init__(
        self,
        uri: str = "qemu:///system",
        devices: HostDevices | None = None,
        run_dir: Path = RUN_DIR,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._devices = devices if devices is not None else HostDevices()
        self._timeouts = timeouts if timeouts is not None else Timeouts()
        self._executioner = PidExecutioner(run_dir)
        self._threads = Threads()
        self._connection = Connection(uri, self._threads, self._on_lifecycle, self._on_job)
        self._listeners: dict[asyncio.Queue[DomainChange | None], asyncio.AbstractEventLoop] = {}
        self._jobs: dict[str, MigrationResult] = {}

    async def observe(self) -> Domains:
        try:
            found = await self._ask("list the domains", self._list)
        except (Retryable, Permanent, OutcomeUnknown) as error:
            return Unknown(str(error))
        return Present({domain.name: domain for domain in found})

    async def ensure_running(self, plan: GuestPlan) -> None:
        try:
            xml = render_domain(plan, self._devices)
        except ValueError as error:
            raise Permanent(f"cannot start {plan.name}: {error}") from error

        def start(connection: Any) -> None:
            if _lookup(connection, plan.name) is not None:
                return
            self._devices.console_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                connection.createXML(xml, 0)
            except libvirt.libvirtError as error:
                if _complaint(error) is not Complaint.EXISTS:
                    raise

        await self._change(f"start {plan.name}", start, self._timeouts.start)

    async def shut_down(self, name: GuestName, within: float) -> bool:
        """By the guest agent where it answers, else by the power button; asked again each 10 s, because a
        guest that is still booting hears neither."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        ask_at = loop.time()
        while True:
            if not await self._exists(name):
                return True
            left = deadline - loop.time()
            if left <= 0:
                return False
            if loop.time() >= ask_at:
                ask_at = loop.time() + 10
                await self._press(name)
            await asyncio.sleep(min(_POLL_S, left))

    async def ensure_stopped(self, name: GuestName) -> None:
        """When libvirt does not answer, the QEMU is killed by its pid; that it was seen to end is enough."""

        def destroy(connection: Any) -> None:
            domain = _lookup(connection, name)
            if domain is None:
                return
            try:
                domain.destroy()
            except libvirt.libvirtError as error:
                if _complaint(error) not in (Complaint.NO_DOMAIN, Complaint.NOT_RUNNING):
                    raise
            if _lookup(connection, name) is not None or self._executioner.pid(name) is not None:
                raise OutcomeUnknown(f"{name} was destroyed and its QEMU still exists: observe it again")

        try:
            await self._change(f"destroy {name}", destroy, self._timeouts.stop)
        except (Retryable, OutcomeUnknown):
            if not self._executioner.kill(name):
                raise

    async def migrate(self, name: GuestName, to_uri: str, to_host: str) -> MigrationResult:
        self._jobs.pop(name, None)

        def move(connection: Any) -> None:
            domain = _required(connection, name, "migrate")
            flags = (
                libvirt.VIR_MIGRATE_LIVE
                | libvirt.VIR_MIGRATE_PEER2PEER
                | libvirt.VIR_MIGRATE_AUTO_CONVERGE
                | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
            )
            if "+tls" in to_uri:
                flags |= libvirt.VIR_MIGRATE_TLS
            domain.migrateSetMaxDowntime(_MAX_DOWNTIME_MS)
            domain.migrateToURI3(to_uri, {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{to_host}"}, flags)

        what = f"migrate {name} to {to_host}"
        try:
            await self._change(what, move, self._timeouts.migrate)
        except Retryable as error:
            await self._require_here(name, to_host, error)
            raise
        except OutcomeUnknown:
            await self._abort_job(name)
            raise
        return await self._result(name)

    async def freeze(self, name: GuestName) -> int:
        return await self._ask_agent(name, "freeze", lambda domain: domain.fsFreeze(), self._timeouts.agent)

    async def thaw(self, name: GuestName) -> int:
        return await self._ask_agent(name, "thaw", lambda domain: domain.fsThaw(), self._timeouts.thaw)

    async def suspend(self, name: GuestName) -> None:
        def stop(connection: Any) -> None:
            domain = _required(connection, name, "suspend")
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()

        await self._change(f"suspend {name}", stop, self._timeouts.change)

    async def resume(self, name: GuestName) -> None:
        def go_on(connection: Any) -> None:
            domain = _required(connection, name, "resume")
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

        await self._change(f"resume {name}", go_on, self._timeouts.change)

    async def changes(self) -> AsyncIterator[DomainChange]:
        """From now on; what happens while the connection is broken is missed, so observe now and then."""
        queue: asyncio.Queue[DomainChange | None] = asyncio.Queue()
        self._listeners[queue] = asyncio.get_running_loop()
        try:
            try:
                await self._connection.get(self._timeouts.query)
            except Retryable:
                pass  # the next observation opens it
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._listeners.pop(queue, None)

    async def ensure_secret(self, uuid: str, user: str, key: bytes) -> None:
        """Give libvirt the Ceph key (raw bytes) of ``user``, in memory only: repeat it when libvirt restarts."""

        def define(connection: Any) -> None:
            connection.secretDefineXML(render_secret(uuid, user)).setValue(key)

        await self._change(f"define the secret of {user}", define, self._timeouts.change)

    async def close(self) -> None:
        for queue in list(self._listeners):
            queue.put_nowait(None)
        await self._connection.close()

    # Inside.

    def _list(self, connection: Any) -> list[Domain]:
        found = []
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            try:
                name = domain.name()
                state, reason = domain.state()
                parsed = parse_domain(name, state, reason, domain.XMLDesc(), self._executioner.pid(name))
            except libvirt.libvirtError as error:
                if _complaint(error) is Complaint.NO_DOMAIN:  # ended since the list was made
                    continue
                raise
            if parsed is not None:
                found.append(parsed)
        return found

    async def _exists(self, name: GuestName) -> bool:
        return await self._ask(f"look for {name}", lambda connection: _lookup(connection, name) is not None)

    async def _press(self, name: GuestName) -> None:
        def press(connection: Any) -> None:
            domain = _lookup(connection, name)
            if domain is None:
                return
            domain.agentSetResponseTimeout(self._timeouts.agent, 0)
            try:
                domain.shutdown()
            except libvirt.libvirtError as error:
                if _complaint(error) is Complaint.AGENT:
                    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

        try:
            await self._change(f"shut down {name}", press, self._timeouts.change)
        except Retryable:
            pass  # it is asked again; whether it ended is observed

    async def _ask_agent(self, name: GuestName, verb: str, call: Callable[[Any], int], within: int) -> int:
        def ask(connection: Any) -> int:
            domain = _required(connection, name, verb)
            domain.agentSetResponseTimeout(within, 0)
            return call(domain)

        return await self._change(f"{verb} the file systems of {name}", ask, within + 1.0)

    async def _require_here(self, name: GuestName, to_host: str, error: Retryable) -> None:
        """A migration failed: unless the guest is seen running here, its end is unknown."""
        match await self.observe():
            case Present(domains) if name in domains and (
                domains[name].state is DomainState.RUNNING or domains[name].reason in ("user", "ioerror")
            ):
                return
        raise OutcomeUnknown(f"{name} was on its way to {to_host} when this failed: {error}: observe both") from error

    async def _abort_job(self, name: GuestName) -> None:
        def abort(connection: Any) -> None:
            domain = _lookup(connection, name)
            if domain is not None:
                domain.abortJob()

        try:
            await self._change(f"abort the migration of {name}", abort, self._timeouts.change)
        except (Retryable, Permanent, OutcomeUnknown):
            pass  # the caller is told OutcomeUnknown either way

    async def _result(self, name: GuestName) -> MigrationResult:
        """The job's figures come as an event of their own, within moments of the migration's end."""
        for _ in range(10):
            if name in self._jobs:
                return self._jobs.pop(name)
            await asyncio.sleep(0.05)
        return MigrationResult(0.0, 0.0, 0)

    async def _ask(self, what: str, call: Callable[[Any], T]) -> T:
        """A question: nothing changes, so its failure is always Retryable."""
        try:
            return await self._change(what, call, self._timeouts.query)
        except OutcomeUnknown as error:
            raise Retryable(str(error)) from error

    async def _change(self, what: str, call: Callable[[Any], T], timeout: float) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        connection = await self._connection.get(min(timeout, self._timeouts.query))
        try:
            return await self._threads.run(lambda: call(connection), max(0.1, deadline - loop.time()))
        except TimeoutError:
            self._connection.discard(connection)
            raise OutcomeUnknown(
                f"libvirt did not answer within {timeout:g} s when asked to {what}: observe before you repeat it"
            ) from None
        except libvirt.libvirtError as error:
            raise self._explained(what, error, connection) from error

    def _explained(self, what: str, error: libvirt.libvirtError, connection: Any) -> Exception:
        complaint = _complaint(error)
        if complaint is Complaint.DISCONNECTED or not connection.isAlive():
            self._connection.discard(connection)
            return OutcomeUnknown(f"the connection to libvirt broke when asked to {what} ({error}): observe it")
        if complaint is Complaint.MISTAKE:
            return Permanent(f"cannot {what}: {error}")
        if complaint is Complaint.NO_DOMAIN:
            return Permanent(f"cannot {what}: it does not exist on this host")
        return Retryable(f"cannot {what} now: {error}", after=2)

    def _on_lifecycle(self, name: str, event: int, detail: int) -> None:
        """Called in the event thread."""
        change = parse_event(name, event, detail)
        if change is None:
            return
        for queue, loop in list(self._listeners.items()):
            try:
                loop.call_soon_threadsafe(queue.put_nowait, change)
            except RuntimeError:  # that loop is closed
                self._listeners.pop(queue, None)

    def _on_job(self, name: str, statistics: Mapping[str, object]) -> None:
        self._jobs[name] = parse_job(statistics)


def _complaint(error: libvirt.libvirtError) -> Complaint:
    return parse_complaint(error.get_error_code() or 0, str(error))


def _lookup(connection: Any, name: str) -> Any:
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if _complaint(error) is Complaint.NO_DOMAIN:
            return None
        raise


def _required(connection: Any, name: str, verb: str) -> Any:
    domain = _lookup(connection, name)
    if domain is None:
        raise Permanent(f"cannot {verb} {name}: it does not exist on this host")
    return domain
