"""Faults: what can be done to the region. Cuts are silent: packets vanish, and no device loses its carrier.

A cut is a set of *deaf ends*: devices that drop what arrives, by nftables at the netdev ingress hook. A link is cut
in one direction by deafening the end that it leads to, and in both by deafening both. Which ends a cut
deafens is pure; `FaultBench` does it, and keeps the list of cuts in the lab's state, so that they add up
and heal one by one.
"""

import asyncio
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

from gemel.core.outcome import Permanent
from gemel.lab.journal import Entry, Journal
from gemel.lab.namespaces import observe_namespaces, remove_processes
from gemel.lab.process import NETNS, Spawner, run, signal_group
from gemel.lab.state import LabFolder, StateFile
from gemel.lab.topology import PREFIX, End, Link, Role, Topology

_TABLE = "gemel_lab"


@dataclass(frozen=True, slots=True, order=True)
class DeafEnd:
    """A device of a node that drops all that arrives."""

    node: str
    device: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut as it is kept in the state: ``site par1``, ``link par1 gra1``, ``link par1 gra1 one-way``."""

    kind: str
    a: str
    b: str = ""
    one_way: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.a, self.b, "one-way" if self.one_way else "")))

    @staticmethod
    def parse(text: str) -> "Cut":
        kind, a, *rest = text.split()
        return Cut(kind, a, rest[0] if rest else "", "one-way" in rest)


def _domain_node(topology: Topology, name: str) -> str:
    """A site's router, or the node itself. Raises KeyError that names what there is."""
    if any(site.name == name for site in topology.sites):
        return topology.site(name).router
    return topology.node(name).name


def _deaf(end: End) -> DeafEnd:
    if end.node is None:
        raise ValueError("this machine's own end is never made deaf")
    return DeafEnd(end.node, end.device)


def _links_between(topology: Topology, a: str, b: str) -> tuple[Link, ...]:
    return tuple(link for link in topology.links if {link.a.node, link.b.node} == {a, b})


def plan_cut(topology: Topology, cut: Cut) -> frozenset[DeafEnd]:
    """The ends that a cut deafens. Raises KeyError or ValueError that says what is wrong with its names."""
    if cut.kind == "site":
        router = topology.site(cut.a).router
        outer = [link for link in topology.links if _leaves_site(topology, link, router)]
        return frozenset(_deaf(end) for link in outer for end in (link.a, link.b))
    if cut.kind == "host":
        node = topology.node(cut.a)
        links = [link for link in topology.links if node.name in (link.a.node, link.b.node)]
        return frozenset(_deaf(end) for link in links for end in (link.a, link.b))
    if cut.kind != "link":
        raise ValueError(f"cannot cut a {cut.kind}: cut a site, a host or a link")
    a, b = _domain_node(topology, cut.a), _domain_node(topology, cut.b)
    links_ab = _links_between(topology, a, b)
    if not links_ab:
        raise ValueError(f"there is no direct link between {cut.a} and {cut.b}")
    ends = [end for link in links_ab for end in (link.a, link.b)]
    return frozenset(_deaf(end) for end in ends if not cut.one_way or end.node == b)


def _leaves_site(topology: Topology, link: Link, router: str) -> bool:
    ends = link.ends_of(router)
    return ends is not None and (ends[1].node is None or topology.node(ends[1].node).role is not Role.HOST)


def plan_deafness(topology: Topology, cuts: Iterable[Cut]) -> frozenset[DeafEnd]:
    """All ends that are deaf under several cuts at once."""
    return frozenset(end for cut in cuts for end in plan_cut(topology, cut))


def render_deafness(devices: Iterable[str]) -> str:
    """One transaction that makes exactly these devices of a namespace deaf."""
    lines = [f"table netdev {_TABLE}", f"delete table netdev {_TABLE}"]
    chains = [
        f"  chain in_{device.replace('-', '_')} {{\n"
        f'    type filter hook ingress device "{device}" priority -500; policy drop;\n'
        f"    counter\n  }}"
        for device in sorted(devices)
    ]
    if chains:
        lines += [f"table netdev {_TABLE} {{", *chains, "}"]
    return "\n".join(lines) + "\n"


class FaultBench:
    """Does faults to a lab that is up, and writes each into the journal."""

    def __init__(self, topology: Topology, folder: LabFolder) -> None:
        self._topology = topology
        self._state = StateFile(folder)
        self._spawner = Spawner(folder, self._state)
        self._journal = Journal(folder.journal)

    async def cut(self, cut: Cut) -> Entry:
        """Cut; nothing happens when it is cut already."""
        plan_cut(self._topology, cut)
        began = time.monotonic()
        with self._state.edit() as state:
            before = list(state.cuts)
            state.cuts = [*dict.fromkeys([*before, str(cut)])]
            after = list(state.cuts)
        await self._apply(before, after)
        return self._journal.record("cut", began, cut=str(cut))

    async def heal(self, cut: Cut | None = None) -> Entry:
        """Heal one cut, or all of them. Hosts whose power is off stay dark."""
        began = time.monotonic()
        with self._state.edit() as state:
            before = list(state.cuts)
            kept = [text for text in before if text.startswith("host ") or (cut and text != str(cut))]
            state.cuts = kept
        await self._apply(before, kept)
        return self._journal.record("heal", began, cut=str(cut) if cut else "all")

    async def kill_host(self, host: str) -> Entry:
        """Power off without warning: its links go dark first, then every process in it dies."""
        node = self._topology.node(host)
        if node.role not in (Role.HOST, Role.WITNESS):
            raise ValueError(f"{host} is a {node.role}: only hosts and the witness can be killed")
        began = time.monotonic()
        with self._state.edit() as state:
            before = list(state.cuts)
            state.cuts = [*dict.fromkeys([*before, f"host {host}"])]
            state.down_hosts = [*dict.fromkeys([*state.down_hosts, host])]
            after = list(state.cuts)
        await self._apply(before, after)
        dark = time.monotonic()
        await remove_processes({i: n for i, n in observe_namespaces().items() if n == node.namespace})
        with self._state.edit() as state:
            state.processes = {k: r for k, r in state.processes.items() if r.node != host}
        return self._journal.record("kill host", began, host=host, dark=dark)

    async def restore_power(self, host: str) -> None:
        """Undo the darkness of `kill_host`. Booting the daemons is the region's part."""
        with self._state.edit() as state:
            before = list(state.cuts)
            state.cuts = [text for text in before if text != f"host {host}"]
            state.down_hosts = [name for name in state.down_hosts if name != host]
            after = list(state.cuts)
        await self._apply(before, after)

    def signal(self, node: str, name: str, number: signal.Signals) -> Entry:
        """Send a signal to a named process and its children. Raises KeyError, or Permanent when it is gone."""
        began = time.monotonic()
        record = self._state.read().process(node, name)
        if not signal_group(record, number):
            raise Permanent(f"{name} on {node} does not run (it was process {record.pid})")
        return self._journal.record(f"{number.name} {name}", began, host=node)

    def pause(self, node: str, name: str) -> Entry:
        return self.signal(node, name, signal.SIGSTOP)

    def resume(self, node: str, name: str) -> Entry:
        return self.signal(node, name, signal.SIGCONT)

    def kill(self, node: str, name: str) -> Entry:
        return self.signal(node, name, signal.SIGKILL)

    async def _apply(self, before: Iterable[str], after: Iterable[str]) -> None:
        old = plan_deafness(self._topology, map(Cut.parse, before))
        new = plan_deafness(self._topology, map(Cut.parse, after))
        nodes = sorted({end.node for end in old | new})
        await asyncio.gather(*(self._deafen(node, [end.device for end in new if end.node == node]) for node in nodes))

    async def _deafen(self, node: str, devices: list[str]) -> None:
        argv = ["nsenter", f"--net={NETNS / (PREFIX + node)}", "--", "nft", "-f", "-"]
        (await run(argv, timeout=10, stdin=render_deafness(devices))).check()
