"""What a node starts when it boots, in which order: engines by their own programs, gemel by its units.

A unit is started where its configuration file is, as systemd's ConditionPathExists would have it, so that
booting again after a power loss needs no memory of what ran.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gemel.core.outcome import Permanent, Retryable
from gemel.lab.ceph import CephPlan, ceph_plan, start_host_daemons
from gemel.lab.ceph import Completed as CephCompleted
from gemel.lab.namespaces import clear_run
from gemel.lab.process import Spawner, is_alive, signal_group
from gemel.lab.regionstore import ENVIRONMENT, parse_environment
from gemel.lab.state import LabFolder, StateFile
from gemel.lab.topology import Role, Topology
from gemel.lab.unitfile import read_unit

UNITS = ("api", "controller", "witness", "watchdog", "agent")
"""In the order of a boot: the watchdog stands before the agent takes a lease."""
CEPH_DAEMONS = ("ceph-mon", "ceph-osd", "ceph-mgr")
_BIRD_NICE = -15
"""Routers are separate machines in life; on a busy laboratory they must not miss a BFD packet (100 ms)."""
_CEPH_NICE = -2
_LIBVIRT_NICE = -5


class CephRunner:
    """What lab.ceph asks for, on the lab's spawner."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner

    async def spawn(self, host: str, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        return self._spawner.spawn(host, name, argv, env, nice=_CEPH_NICE)

    async def execute(self, host: str, argv: Sequence[str], timeout: float) -> CephCompleted:
        done = await self._spawner.execute(host, argv, timeout)
        return CephCompleted(done.returncode, done.stdout, done.stderr)


class Boot:
    """Starts the daemons of nodes. Everything is idempotent: what runs is left alone."""

    def __init__(self, topology: Topology, folder: LabFolder, spawner: Spawner) -> None:
        self._topology = topology
        self._folder = folder
        self._spawner = spawner
        self._state = StateFile(folder)

    def ceph(self, site: str) -> CephPlan:
        hosts = [
            (host.name, host.namespace, str(self._topology.address(host.name))) for host in self._topology.hosts(site)
        ]
        return ceph_plan(site, hosts, self._folder.path / "ceph" / site)

    def runner(self) -> CephRunner:
        return CephRunner(self._spawner)

    def start_bird(self, node: str) -> None:
        argv = ["bird", "-f", "-c", "/etc/bird/bird.conf", "-s", "/run/bird/bird.ctl"]
        self._spawner.spawn(node, "bird", argv, nice=_BIRD_NICE)

    async def start_libvirt(self, node: str) -> None:
        run = self._folder.host(node) / "run/libvirt"
        self._spawner.spawn(node, "virtlogd", ["virtlogd"], nice=_LIBVIRT_NICE)
        await self.until(f"virtlogd on {node}", (run / "virtlogd-sock").exists, 20)
        self._spawner.spawn(node, "libvirtd", ["libvirtd", "--listen"], nice=_LIBVIRT_NICE)
        await self.until(f"libvirtd on {node}", (run / "libvirt-sock").exists, 20)
        # The socket is there before the listener for migrations, whose certificates may be refused.
        probe = ["virsh", "-c", "qemu:///system", "uri"]
        while (await self._spawner.execute(node, probe, timeout=20)).returncode != 0:
            self.check_alive(node, "libvirtd")
            await asyncio.sleep(0.2)
        self.check_alive(node, "libvirtd")

    def start_etcd(self, node: str) -> None:
        settings = self._folder.host(node) / ENVIRONMENT
        if settings.exists():
            environment = parse_environment(settings.read_text())
            self._spawner.spawn(node, "etcd", ["etcd"], environment, nice=read_unit("etcd").nice)

    def start_units(self, node: str, names: tuple[str, ...] = UNITS) -> tuple[str, ...]:
        """Start the node's gemel processes among ``names``; returns those that its files ask for."""
        started = []
        for name in names:
            unit = read_unit(name)
            configuration = next((word for word in unit.argv if word.endswith(".yaml")), "")
            if configuration and (self._folder.host(node) / configuration.lstrip("/")).exists():
                self._spawner.spawn(node, name, unit.argv, nice=unit.nice)
                started.append(name)
        return tuple(started)

    async def boot_host(self, node: str) -> None:
        """Power on: /run is empty, and every daemon starts that this node has files for."""
        clear_run(self._folder.host(node))
        if self._has(node, "etc/bird/bird.conf"):
            self.start_bird(node)
        self.start_etcd(node)
        place = self._topology.node(node)
        if place.role is Role.HOST and place.site:
            plan = self.ceph(place.site)
            if plan.monmap.exists():
                await start_host_daemons(plan, node, self.runner())
            if self._has(node, "etc/libvirt/qemu.conf"):
                await self.start_libvirt(node)
        self.start_units(node)

    async def flush_routes(self, node: str) -> None:
        """A machine that boots has no routes of its last life; a namespace keeps them."""
        for protocol in ("103", "bird"):
            await self._spawner.execute(node, ["ip", "route", "flush", "proto", protocol])

    def _has(self, node: str, path: str) -> bool:
        return (self._folder.host(node) / path).exists()

    def check_alive(self, node: str, name: str) -> None:
        """Raises Permanent with the end of its log when a process that was started has died."""
        record = self._state.read().process(node, name)
        if not is_alive(record):
            log = Path(record.log)
            said = log.read_text(errors="replace")[-800:] if log.exists() else ""
            raise Permanent(f"{name} on {node} died at once; the end of {log}:\n{said}")

    async def stop(self, *processes: tuple[str, str]) -> None:
        """SIGKILL to (node, name) processes, those that run, until they are gone."""
        known = self._state.read().processes
        records = [known[f"{node}/{name}"] for node, name in processes if f"{node}/{name}" in known]
        for record in records:
            signal_group(record, signal.SIGKILL)
        await self.until("killed processes to be gone", lambda: not any(map(is_alive, records)), 10)

    async def until(self, what: str, seen: Callable[[], bool], within: float) -> None:
        """Wait for something to be seen. Raises Retryable when it was not ``within`` seconds."""
        deadline = time.monotonic() + within
        while not seen():
            if time.monotonic() > deadline:
                raise Retryable(f"waited {within:g} s for {what}; its log is under {self._folder.logs}")
            await asyncio.sleep(0.05)
