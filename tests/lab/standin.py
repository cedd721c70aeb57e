"""Stand-ins for guests, for tests of routes alone: a namespace behind a veth that plays the tap, which echoes
UDP; and production's KernelRoutes in each host's namespace, driven over a pipe."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from gemel.lab.process import run
from gemel.lab.region import Region
from gemel.lab.topology import PREFIX

ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 7))
while True:
    data, peer = server.recvfrom(64)
    server.sendto(data + b" " + sys.argv[1].encode(), peer)
"""
KEEPER = """
import asyncio, json, sys, time
from ipaddress import IPv4Address
from gemel.core.identity import GuestName
from gemel.engines.iproute.engine import KernelRoutes
from gemel.network.local import RouteKeeper
from gemel.network.plan import LocalGuest

async def main():
    keeper = RouteKeeper(KernelRoutes())
    for line in sys.stdin:
        verb, address, tap = json.loads(line)
        guest = LocalGuest(GuestName("standin"), (IPv4Address(address),), tap, executes=True)
        await {"prepare": keeper.prepare_guest, "began": keeper.execution_began,
               "ended": keeper.execution_ended}[verb](guest)
        print(time.monotonic(), flush=True)

asyncio.run(main())
"""
PROBER = """
import select, socket, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect((address, 7))
end = time.monotonic() + seconds
print("ready", flush=True)
while time.monotonic() < end:
    try:
        client.send(str(time.monotonic()).encode())
    except OSError:
        pass
    until = time.monotonic() + 0.002
    while (left := until - time.monotonic()) > 0:
        if select.select([client], [], [], left)[0]:
            try:
                sent, who = client.recv(64).decode().split()
                print(sent, time.monotonic(), who, flush=True)
            except OSError:
                pass
"""


class Keeper:
    """KernelRoutes under a RouteKeeper in one host's namespaces."""

    def __init__(self, region: Region, host: str) -> None:
        self._region, self._host = region, host
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Keeper":
        self._process = await asyncio.create_subprocess_exec(
            *self._region.spawner.entrance(self._host),
            sys.executable,
            "-c",
            KEEPER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process and self._process.stdin
        self._process.stdin.close()
        await self._process.wait()

    async def do(self, verb: str, address: str, tap: str) -> float:
        """``prepare``, ``began`` or ``ended``; returns the monotonic time at which it was done."""
        assert self._process and self._process.stdin and self._process.stdout
        self._process.stdin.write((json.dumps([verb, address, tap]) + "\n").encode())
        line = await asyncio.wait_for(self._process.stdout.readline(), 10)
        assert line, f"the keeper on {self._host} died at {verb}"
        return float(line)


class StandIns:
    """Namespaces that answer for one address, one on each host. Their names carry the lab's prefix, so that
    `down` would find them."""

    def __init__(self, region: Region, address: str, hosts: Sequence[str]) -> None:
        self._region, self.address, self._hosts = region, address, tuple(hosts)
        self._servers: list[asyncio.subprocess.Process] = []

    def tap(self, host: str) -> str:
        return f"t-{host}"

    async def __aenter__(self) -> "StandIns":
        for host in self._hosts:
            await self._make(host)
        return self

    async def _make(self, host: str) -> None:
        name, tap = f"{PREFIX}guest-{host}", self.tap(host)
        lines = [f"link add {tap} type veth peer name eth0 netns {name}", f"link set {tap} up"]
        inside = [
            "link set lo up",
            f"address add {self.address}/32 dev eth0",
            "link set eth0 up",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1",
        ]
        (await run(["ip", "netns", "add", name])).check()
        (await run(["ip", "-n", PREFIX + host, "-batch", "-"], stdin="\n".join(lines) + "\n")).check()
        (await run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(inside) + "\n")).check()
        argv = ["ip", "netns", "exec", name, sys.executable, "-c", ECHO, host]
        self._servers.append(await asyncio.create_subprocess_exec(*argv))

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
            await server.wait()
        for host in self._hosts:
            await run(["ip", "-n", PREFIX + host, "link", "delete", self.tap(host)])
            await run(["ip", "netns", "delete", f"{PREFIX}guest-{host}"])


class Answers:
    """What the outside client heard: (sent, received, host that answered), times monotonic."""

    def __init__(self, lines: Sequence[str]) -> None:
        split = [line.split() for line in lines]
        self.heard = [(float(sent), float(received), who) for sent, received, who in split]

    def first(self, host: str, after: float = 0.0) -> float:
        """When the first answer from this host came, of those sent after a time."""
        times = [received for sent, received, who in self.heard if who == host and sent >= after]
        assert times, f"no answer from {host} after {after}: heard {len(self.heard)} answers"
        return times[0]

    def longest_gap(self, after: float, until: float) -> float:
        """The longest time between two answered probes that were sent in a span of time."""
        sent = [after, *(s for s, _, _ in self.heard if after <= s <= until), until]
        return max(b - a for a, b in itertools.pairwise(sent))


class Prober:
    """Sends a datagram every 2 ms from the outside client."""

    def __init__(self, address: str, seconds: float) -> None:
        self._address, self._seconds = address, seconds

    async def __aenter__(self) -> "Prober":
        argv = ["ip", "netns", "exec", f"{PREFIX}client", sys.executable, "-c", PROBER]
        self._process = await asyncio.create_subprocess_exec(
            *argv, self._address, str(self._seconds), stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        assert self._process.stdout
        await self._process.stdout.readline()
        return self

    async def answers(self) -> Answers:
        """Everything heard until the prober's end."""
        assert self._process.stdout
        raw = await asyncio.wait_for(self._process.stdout.read(), self._seconds + 20)
        await self._process.wait()
        return Answers(raw.decode().splitlines())

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def kernel_routes(node: str) -> frozenset[IPv4Address]:
    """Host routes in a node's kernel, whoever put them there."""
    done = (await run(["ip", "-j", "-n", PREFIX + node, "route"])).check()
    found = (entry["dst"] for entry in json.loads(done.stdout) if entry.get("type") is None)
    return frozenset(IPv4Address(dst) for dst in found if dst.count(".") == 3 and "/" not in dst)


def now() -> float:
    return time.monotonic()


def repository() -> Path:
    return Path(__file__).resolve().parents[2]
