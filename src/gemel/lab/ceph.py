"""Bootstrap of a site's Ceph on a few hosts' namespaces; restart of one host's part of it.

What runs processes is given by the lab (`Runner`); this module decides which, in which order, and waits
until each step was observed. `ceph_plan` is pure and repeatable: another process that gives the same
arguments addresses the same cluster.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gemel.core.outcome import Permanent, Retryable
from gemel.engines.ceph import cluster
from gemel.engines.ceph.cluster import CephHost, CephPlan, ceph_plan

__all__ = ["CephPlan", "Completed", "Runner", "ceph_plan", "install_client", "start_cluster", "start_host_daemons"]

CLIENTS = (cluster.HOST_CLIENT, cluster.STEWARD_CLIENT)


@dataclass(frozen=True, slots=True)
class Completed:
    returncode: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """How the lab runs something on a host."""

    async def spawn(self, host: str, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Start a process that stays, known as ``name`` on this host; returns its pid."""
        ...

    async def execute(self, host: str, argv: Sequence[str], timeout: float) -> Completed:
        """Run a program to its end, at most ``timeout`` seconds."""
        ...


async def start_cluster(plan: CephPlan, run: Runner, within: float = 90.0) -> None:
    """From nothing to pools that accept writes. Started again on an existing folder, it only starts the
    daemons. Raises Retryable, with the cluster's own words, when it is not there ``within`` seconds."""
    fresh = not plan.monmap.exists()
    if fresh:
        await asyncio.to_thread(_write_files, plan)
        await _run(run, plan.hosts[0].name, cluster.monmap_argv(plan))
        await asyncio.gather(*(_make_stores(plan, host, run) for host in plan.hosts))
    await asyncio.gather(*(_spawn(plan, host, run, "ceph-mon") for host in plan.hosts))
    await _until("the monitors' quorum", lambda: _has_quorum(plan, run), within)
    if fresh:
        await _run_commands(plan, run, cluster.osd_new_commands(plan))
    await asyncio.gather(
        *(_spawn(plan, host, run, "ceph-osd") for host in plan.hosts), _spawn(plan, plan.mgr_host, run, "ceph-mgr")
    )
    if fresh:
        await _run_commands(plan, run, cluster.pool_commands(plan))
        plan.bootstrap_keyring.unlink(missing_ok=True)
    await _until("all OSDs", lambda: _osds_up(plan, run), within)
    await _until("the pools' placement groups", lambda: _writable(plan, run), within)


async def start_host_daemons(plan: CephPlan, host: str, run: Runner) -> None:
    """After a host came back: its monitor, OSD and mgr. They find the rest of the cluster themselves."""
    place = plan.host(host)
    for name, argv in cluster.daemons(plan, place):
        await run.spawn(host, name, argv)


def install_client(plan: CephPlan, folder: Path, clients: Sequence[str] = CLIENTS) -> None:
    """Write ``ceph.conf`` and ``client.*.keyring`` (0600) for a host, as ``gemel host join`` would find
    them under /etc/gemel/ceph. ``folder`` is the path by which the host sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ceph.conf").write_text(cluster.render_client_conf(plan, folder))
    for client in clients:
        _write_secret(folder / f"{client}.keyring", plan.keyring(client).read_text())


def client_secret(plan: CephPlan, client: str) -> str:
    """The base64 key alone, for a libvirt secret."""
    for line in plan.keyring(client).read_text().splitlines():
        name, _, value = line.strip().partition(" = ")
        if name == "key":
            return value
    raise Permanent(f"{plan.keyring(client)} holds no key: was the cluster of {plan.site} ever started?")


async def cluster_status(plan: CephPlan, run: Runner) -> dict[str, Any] | None:
    """``ceph status`` asked from each host in turn; None when nobody answered."""
    for host in plan.hosts:
        done = await run.execute(host.name, cluster.admin_argv(plan, "status", "-f", "json"), 10)
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
    return None


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _write_files(plan: CephPlan) -> None:
    for host in plan.hosts:
        for what in ("mon", "osd", "mgr", "run", "log"):
            plan.data(host, what).mkdir(parents=True, exist_ok=True)
    plan.conf.write_text(cluster.render_conf(plan))
    caps = cluster.capabilities(plan)
    now = int(time.time())
    secrets = {entity: cluster.render_secret(os.urandom(16), now) for entity in caps}
    _write_secret(plan.bootstrap_keyring, cluster.render_keyring(secrets, caps))
    for client in (cluster.ADMIN_CLIENT, *CLIENTS):
        _write_secret(plan.keyring(client), cluster.render_keyring({client: secrets[client]}))
    for host in plan.hosts:
        osd = f"osd.{plan.osd_id(host)}"
        _write_secret(plan.data(host, "osd") / "keyring", cluster.render_keyring({osd: secrets[osd]}))
    mgr = f"mgr.{plan.mgr_host.name}"
    _write_secret(plan.data(plan.mgr_host, "mgr") / "keyring", cluster.render_keyring({mgr: secrets[mgr]}))


async def _make_stores(plan: CephPlan, host: CephHost, run: Runner) -> None:
    await _run(run, host.name, cluster.mon_mkfs_argv(plan, host))
    await _run(run, host.name, cluster.osd_mkfs_argv(plan, host))


async def _spawn(plan: CephPlan, host: CephHost, run: Runner, program: str) -> None:
    for name, argv in cluster.daemons(plan, host):
        if name == program:
            await run.spawn(host.name, name, argv)


async def _run(run: Runner, host: str, argv: Sequence[str], timeout: float = 60) -> str:
    done = await run.execute(host, argv, timeout)
    if done.returncode != 0:
        raise Permanent(f"{argv[0]} failed on {host} with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


async def _run_commands(plan: CephPlan, run: Runner, commands: Sequence[str]) -> None:
    for command in commands:
        await _run(run, plan.hosts[0].name, cluster.admin_argv(plan, *command.split()))


async def _until(what: str, seen: Callable[[], Awaitable[str]], within: float) -> None:
    """``seen`` returns what is missing, or an empty string."""
    deadline = time.monotonic() + within
    while missing := await seen():
        if time.monotonic() > deadline:
            raise Retryable(f"waited {within:.0f} s for {what}: {missing}; see the daemons' logs")
        await asyncio.sleep(0.3)


async def _has_quorum(plan: CephPlan, run: Runner) -> str:
    words = cluster.admin_argv(plan, "quorum_status", "-f", "json")
    done = await run.execute(plan.hosts[0].name, words, 10)
    if done.returncode != 0:
        return done.stderr.strip()[-300:] or "no answer"
    inside = len(json.loads(done.stdout)["quorum"])
    return "" if inside > len(plan.hosts) // 2 else f"{inside} of {len(plan.hosts)} monitors in quorum"


async def _osds_up(plan: CephPlan, run: Runner) -> str:
    done = await run.execute(plan.hosts[0].name, cluster.admin_argv(plan, "osd", "stat", "-f", "json"), 10)
    if done.returncode != 0:
        return done.stderr.strip()[-300:] or "no answer"
    up = json.loads(done.stdout)["num_up_osds"]
    return "" if up >= len(plan.hosts) else f"{up} of {len(plan.hosts)} OSDs up"


async def _writable(plan: CephPlan, run: Runner) -> str:
    """A write to each pool that is acknowledged proves more than any counter of the mgr, and sooner."""
    for pool in cluster.POOLS:
        argv = ["rbd", "-c", str(plan.conf), "pool", "init", pool, "--rados-osd-op-timeout", "5"]
        done = await run.execute(plan.hosts[0].name, argv, 10)
        if done.returncode != 0:
            return f"pool {pool}: {done.stderr.strip()[-300:]}"
    return ""
