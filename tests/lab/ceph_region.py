"""A bare stage for Ceph tests: hosts as network namespaces on one bridge, and a runner of processes."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from gemel.lab.ceph import CephPlan, Completed, ceph_plan, install_client, start_cluster

PREFIX = "gc-"
HUB = PREFIX + "hub"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Stage:
    """Two sites of three hosts in namespaces of their own; nothing of it is reachable from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.namespaces: list[str] = []
        self.plans = {
            site: ceph_plan(
                site, [(f"{site}{n}", f"{PREFIX}{site}{n}", f"10.77.{net}.{n}") for n in (1, 2, 3)], folder / site
            )
            for net, site in ((1, "a"), (2, "b"))
        }

    def build(self) -> None:
        self._namespace(HUB)
        _ip("-n", HUB, "link", "add", "br0", "type", "bridge")
        _ip("-n", HUB, "link", "set", "br0", "up")
        for plan in self.plans.values():
            for host in plan.hosts:
                self._namespace(host.namespace)
                port = f"p-{host.name}"
                _ip("link", "add", port, "netns", HUB, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
                _ip("-n", HUB, "link", "set", port, "master", "br0", "up")
                _ip("-n", host.namespace, "addr", "add", f"{host.address}/16", "dev", "eth0")
                _ip("-n", host.namespace, "link", "set", "eth0", "up")

    def _namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self.namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _argv(self, host: str, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", PREFIX + host, *argv]

    async def spawn(self, host: str, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        with (self.folder / f"{host}.{name}.out").open("ab") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 (outlives the loop that starts it)
                self._argv(host, argv),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.processes.setdefault(host, []).append(process)
        return process.pid

    async def execute(self, host: str, argv: Sequence[str], timeout: float) -> Completed:
        process = await asyncio.create_subprocess_exec(
            *self._argv(host, argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Completed(124, "", f"no answer within {timeout:.0f} s")
        return Completed(process.returncode or 0, out.decode(), err.decode())

    async def start(self) -> None:
        await asyncio.to_thread(self.build)
        for plan in self.plans.values():
            plan.folder.mkdir(parents=True)
        await asyncio.gather(*(start_cluster(plan, self) for plan in self.plans.values()))
        for plan in self.plans.values():
            install_client(plan, self.client_folder(plan))

    def client_folder(self, plan: CephPlan) -> Path:
        return plan.folder / "etc"

    async def kill_host(self, host: str) -> None:
        for process in self.processes.pop(host, []):
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    async def stop(self) -> None:
        for host in list(self.processes):
            await self.kill_host(host)
        for name in reversed(self.namespaces):
            await asyncio.to_thread(_ip, "netns", "del", name)
        await asyncio.to_thread(shutil.rmtree, self.folder, True)
