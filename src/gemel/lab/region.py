"""A whole region on this machine: brought up in stages, taken down from whatever state it is in."""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from gemel.core.outcome import Permanent, Retryable
from gemel.engines.bird.render import render_bird
from gemel.lab import hosts, namespaces, regionstore
from gemel.lab.boot import CEPH_DAEMONS, Boot
from gemel.lab.ceph import start_cluster
from gemel.lab.context import ensure_context, remove_context
from gemel.lab.control import write_control_files
from gemel.lab.history import Record, parse_record
from gemel.lab.identities import ensure_identities
from gemel.lab.journal import Journal
from gemel.lab.network import plan_network, plan_speakers
from gemel.lab.process import OBSERVER, Spawner, is_alive, process_state
from gemel.lab.state import LabFolder, StateFile, only_one
from gemel.lab.topology import Node, Role, Topology, plan_topology

T = TypeVar("T")


class Stage(StrEnum):
    """How far to go. Each includes those before it."""

    NETWORK = "network"  # namespaces, cables, routers
    ENGINES = "engines"  # certificates, etcd, Ceph
    CONTROL = "control"  # API, controllers, witness
    HOSTS = "hosts"  # libvirt, join, agents, watchdogs


STAGES = tuple(Stage)
Progress = Callable[[str, str, float], None]
"""(step, ``begin`` or ``done`` or ``failed``, seconds since it began)."""


def silent(step: str, event: str, seconds: float) -> None:
    """No progress to show."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    node: str
    name: str
    pid: int
    state: str
    """``running``, ``stopped`` (paused by a signal) or ``dead``."""


@dataclass(frozen=True, slots=True)
class RegionStatus:
    stage: str
    nodes: tuple[str, ...]
    processes: tuple[ProcessStatus, ...]
    cuts: tuple[str, ...]
    down_hosts: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return bool(self.stage) and all(process.state != "dead" for process in self.processes)


class Region:
    """The lab's region. One ``up`` or ``down`` at a time; other commands may overlap with either."""

    def __init__(
        self, folder: LabFolder | None = None, topology: Topology | None = None, progress: Progress = silent
    ) -> None:
        self.folder = folder or LabFolder()
        self.topology = topology or plan_topology()
        self.state = StateFile(self.folder)
        self.spawner = Spawner(self.folder, self.state)
        self.boot = Boot(self.topology, self.folder, self.spawner)
        self.journal = Journal(self.folder.journal)
        self._progress = progress

    async def up(self, until: Stage = Stage.HOSTS) -> None:
        """Bring up what is not there yet. Run again after an interruption it goes on, or starts afresh when
        the network was left half made."""
        with only_one(self.folder, "up"):
            await self._up(until)

    async def _up(self, until: Stage) -> None:
        began = time.monotonic()
        if not (self.state.read().stage and self._network_is_whole()):
            await self._network()
            self._reached(Stage.NETWORK)
        if until is not Stage.NETWORK:
            await self._beyond_network(STAGES.index(until))
        self._reached(until)
        self.journal.record("up", began, until=str(until))

    def _reached(self, stage: Stage) -> None:
        with self.state.edit() as state:
            if not state.stage or STAGES.index(Stage(state.stage)) < STAGES.index(stage):
                state.stage = stage

    async def _beyond_network(self, last: int) -> None:
        """Ceph takes longest and needs nobody until agents start: all else goes on beside it."""
        await self.step("certificates", asyncio.to_thread(ensure_identities, self.topology, self.folder))
        sites = (self.step(f"Ceph of {site.name}", self._ceph(site.name)) for site in self.topology.sites)
        await asyncio.gather(*sites, self._control_plane(last))
        if last >= STAGES.index(Stage.HOSTS):
            await self.step("agents and watchdogs", self._agents())

    async def _control_plane(self, last: int) -> None:
        await self.step("region store", self._store())
        if last >= STAGES.index(Stage.CONTROL):
            await self.step("APIs, controllers, witness", self._control())
        if last >= STAGES.index(Stage.HOSTS):
            await self.step("libvirt and joining", self._hosts())

    async def step(self, name: str, work: Awaitable[T]) -> T:
        """Do a named step and tell the progress."""
        began = time.monotonic()
        self._progress(name, "begin", 0.0)
        try:
            result = await work
        except BaseException:
            self._progress(name, "failed", time.monotonic() - began)
            raise
        self._progress(name, "done", time.monotonic() - began)
        return result

    def _network_is_whole(self) -> bool:
        expected = {node.namespace for node in self.topology.nodes}
        return expected <= set(namespaces.observe_namespaces().values())

    async def _network(self) -> None:
        if namespaces.observe_leftovers(self.folder):
            await self.step("clear what was left", self._remove_all())
        self.folder.path.mkdir(parents=True, mode=0o700)
        await self.step("namespaces and cables", namespaces.ensure_network(plan_network(self.topology)))
        systems = namespaces.ensure_systems(self.topology, self.folder, self.spawner)
        await self.step("private file systems", systems)
        await self.step("routers", self._routers())

    async def _routers(self) -> None:
        for node, speaker in plan_speakers(self.topology).items():
            (self.folder.host(node) / "etc/bird/bird.conf").write_text(render_bird(speaker))
            self.boot.start_bird(node)

    async def _store(self) -> None:
        regionstore.write_members(self.topology, self.folder)
        for node in self.topology.store_members:
            self.boot.start_etcd(node.name)
        await regionstore.ensure_store(self.topology, self.folder)

    async def _ceph(self, site: str) -> None:
        """A bootstrap that was interrupted is begun anew: half a cluster cannot be told from a whole one."""
        plan = self.boot.ceph(site)
        ready = plan.folder.with_suffix(".ready")
        if not await asyncio.to_thread(ready.exists):
            await self.boot.stop(*((host.name, name) for host in plan.hosts for name in CEPH_DAEMONS))
            await asyncio.to_thread(shutil.rmtree, plan.folder, ignore_errors=True)
        await start_cluster(plan, self.boot.runner())
        await asyncio.to_thread(ready.touch)

    async def _control(self) -> None:
        write_control_files(self.topology, self.folder)
        for node in (*self.topology.control, self.topology.witness):
            self.boot.start_units(node.name, ("api", "controller", "witness"))
        ensure_context(self.topology, self.folder)
        sites = (site.name for site in self.topology.sites)
        await asyncio.gather(*(hosts.until_api_answers(self.topology, self.folder, site) for site in sites))

    async def _hosts(self) -> None:
        await hosts.declare(self.topology, self.folder)
        await asyncio.gather(*(self._host(host) for host in self.topology.hosts()))
        self.start_recorder()

    async def _host(self, host: Node) -> None:
        hosts.write_local_facts(self.folder, host)
        await hosts.join(self.topology, self.folder, self.spawner, host)
        await self.boot.start_libvirt(host.name)

    async def _agents(self) -> None:
        for host in self.topology.hosts():
            if host.site and host.name not in self.state.read().down_hosts:
                hosts.write_ceph_client(self.folder, host, self.boot.ceph(host.site))
                self.boot.start_units(host.name)
        await self._until_leases(30.0)

    async def _until_leases(self, within: float) -> None:
        """Every host that has power holds its lease. Raises Permanent when an agent has died, with its words."""
        deadline = time.monotonic() + within
        while True:
            off = self.state.read().down_hosts
            missing = [host for host in await hosts.hosts_without_lease(self.topology, self.folder) if host not in off]
            if not missing:
                return
            for host in missing:
                self.boot.check_alive(host, "watchdog")
                self.boot.check_alive(host, "agent")
            if time.monotonic() > deadline:
                logs = self.folder.logs / missing[0] / "agent.log"
                raise Retryable(f"no lease after {within:g} s on {', '.join(missing)}; see {logs}")
            await asyncio.sleep(0.2)

    async def down(self) -> None:
        """Remove all of it, from whatever state. Raises Permanent when something is left."""
        with only_one(self.folder, "down"):
            await self.step("stop and remove", self._remove_all())
        left = namespaces.observe_leftovers(self.folder)
        if left:
            raise Permanent(f"the lab is not gone entirely: {'; '.join(left[:10])}. Run `gemel lab down` again.")

    def start_recorder(self) -> None:
        """The observer of QEMUs; its file is ``folder.history``."""
        argv = [sys.executable, "-m", namespaces.RECORDER, str(self.folder.history), self.folder.region]
        self.spawner.spawn(OBSERVER, "recorder", argv, nice=-5)

    def records(self) -> tuple[Record, ...]:
        """What the recorder has seen so far. A line that is being written is left for the next time."""
        if not self.folder.history.exists():
            return ()
        lines = self.folder.history.read_text().split("\n")[:-1]
        return tuple(parse_record(json.loads(line)) for line in lines)

    async def _remove_all(self) -> None:
        await namespaces.remove_observers(self.folder)
        await namespaces.remove_processes(namespaces.observe_namespaces())
        self.spawner.reap()
        await namespaces.remove_mounts(self.folder)
        await namespaces.remove_network()
        remove_context(self.folder)
        await asyncio.to_thread(shutil.rmtree, self.folder.path, ignore_errors=True)
        namespaces.remove_bind_targets()

    async def start_host(self, host: str) -> None:
        """Power on a host that `kill host` has put off."""
        if host not in self.state.read().down_hosts:
            raise ValueError(f"{host} is not off: `gemel lab kill host {host}` puts it off")
        from gemel.lab.faults import FaultBench

        began = time.monotonic()
        await self.boot.flush_routes(host)
        await FaultBench(self.topology, self.folder).restore_power(host)
        await self.boot.boot_host(host)
        self.journal.record("start host", began, host=host)

    async def start_process(self, node: str, name: str) -> None:
        """Start one of a node's processes again, with the command that it had, as systemd would."""
        record = self.state.read().process(node, name)
        if is_alive(record):
            raise ValueError(f"{name} on {node} runs (process {record.pid})")
        began = time.monotonic()
        self.spawner.spawn(node, name, record.argv, record.env, record.nice)
        self.journal.record(f"start {name}", began, host=node)

    def status(self) -> RegionStatus:
        state = self.state.read()
        present = set(namespaces.observe_namespaces().values())
        processes = [
            ProcessStatus(r.node, r.name, r.pid, _state_word(r.pid, is_alive(r))) for r in state.processes.values()
        ]
        return RegionStatus(
            stage=state.stage,
            nodes=tuple(node.name for node in self.topology.nodes if node.namespace in present),
            processes=tuple(sorted(processes, key=lambda p: (p.node, p.name))),
            cuts=tuple(state.cuts),
            down_hosts=tuple(state.down_hosts),
        )

    def host_path(self, node: str, path: str) -> Path:
        """Where a file of a node lies on this machine (only below its private folders)."""
        if self.topology.node(node).role is Role.CLIENT:
            raise KeyError(f"{node} has no file system of its own")
        return self.folder.host(node) / path.lstrip("/")


def _state_word(pid: int, alive: bool) -> str:
    if not alive:
        return "dead"
    return "stopped" if process_state(pid) == "T" else "running"
