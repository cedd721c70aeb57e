"""The plan of the lab's network: addresses, routes that cannot go around a cut, who talks to whom."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from gemel.lab.network import plan_network, plan_speakers, render_hosts_file, render_mounts
from gemel.lab.topology import INFRASTRUCTURE, Role, Topology, plan_topology


@pytest.fixture
def topology() -> Topology:
    return plan_topology()


def owner(topology: Topology, address: IPv4Address) -> str | None:
    """The node that has an address on one of its devices."""
    for link in topology.links:
        for end in (link.a, link.b):
            if end.interface and end.interface.ip == address:
                return end.node
    for bridge in topology.bridges:
        if bridge.interface.ip == address:
            return bridge.node
    return "wit" if address == topology.witness.address else None


def path(topology: Topology, start: str, target: IPv4Address) -> list[str]:
    """The nodes that a packet passes, by the static routes and the directly connected networks."""
    here, passed = start, [start]
    while owner(topology, target) != here:
        connected = [
            end.interface.network
            for link in topology.links
            if (e := link.ends_of(here))
            for end in e[:1]
            if end.interface
        ] + [bridge.interface.network for bridge in topology.bridges if bridge.node == here]
        if any(target in network for network in connected):
            passed.append(owner(topology, target) or "?")
            return passed
        routes = [r for r in topology.routes if r.node == here and target in r.network]
        if not routes:
            return [*passed, "nowhere"]
        best = max(routes, key=lambda route: route.network.prefixlen)
        here = owner(topology, best.via) or "?"
        passed.append(here)
        assert len(passed) < 8, f"a loop: {passed}"
    return passed


def test_addresses_are_those_of_the_plan(topology: Topology) -> None:
    assert topology.address("par1-1") == IPv4Address("198.18.1.11")
    assert topology.address("par1-3") == IPv4Address("198.18.1.13")
    assert topology.address("gra1-2") == IPv4Address("198.18.2.12")
    assert topology.address("wit") == IPv4Address("198.18.3.11")
    assert topology.address("client") == IPv4Address("198.18.20.10")
    assert topology.site("gra1").guests == IPv4Network("198.19.2.0/24")


def test_no_address_is_given_twice(topology: Topology) -> None:
    interfaces = [end.interface for link in topology.links for end in (link.a, link.b) if end.interface]
    interfaces += [bridge.interface for bridge in topology.bridges]
    assert len({interface.ip for interface in interfaces}) == len(interfaces)
    devices = [(end.node, end.device) for link in topology.links for end in (link.a, link.b)]
    assert len(set(devices)) == len(devices)
    assert all(len(device) <= 15 for _, device in devices), "the kernel's limit"


@pytest.mark.parametrize(
    ("start", "target", "expected"),
    [
        ("par1-1", "198.18.2.12", ["par1-1", "par1-rtr", "gra1-rtr", "gra1-2"]),
        ("par1-1", "198.18.3.11", ["par1-1", "par1-rtr", "wit"]),
        ("wit", "198.18.2.11", ["wit", "gra1-rtr", "gra1-1"]),
        ("gra1-3", "198.18.20.10", ["gra1-3", "gra1-rtr", "out", "client"]),
        ("client", "198.18.1.11", ["client", "out", "par1-rtr", "par1-1"]),
        ("par1-1", "198.18.1.12", ["par1-1", "par1-2"]),
    ],
)
def test_infrastructure_goes_the_direct_way(topology: Topology, start: str, target: str, expected: list[str]) -> None:
    assert path(topology, start, IPv4Address(target)) == expected


def test_no_infrastructure_goes_through_the_witness_or_around(topology: Topology) -> None:
    for source in topology.hosts():
        for target in topology.hosts():
            assert target.address is not None
            passed = path(topology, source.name, target.address)
            assert not {"wit", "out"} & set(passed[1:-1]), passed
    settings = plan_network(topology).settings
    assert settings["wit"]["net.ipv4.ip_forward"] == "0"
    assert settings["par1-rtr"]["net.ipv4.ip_forward"] == "1"


def test_operator_reaches_both_sites(topology: Topology) -> None:
    plan = plan_network(topology)
    assert f"route replace {INFRASTRUCTURE} via 198.18.30.1" in plan.operator
    assert all("netns gemel-" in line for line in plan.links)


def test_failure_domains(topology: Topology) -> None:
    assert [node.name for node in topology.store_members] == ["par1-1", "gra1-1", "wit"]
    assert [node.name for node in topology.control] == ["par1-1", "gra1-1"]
    assert len(topology.hosts()) == 6
    assert {node.site for node in topology.hosts("gra1")} == {"gra1"}


def test_unknown_names_are_told_what_there_is(topology: Topology) -> None:
    with pytest.raises(KeyError, match="there are par1, gra1"):
        topology.site("mars1")
    with pytest.raises(KeyError, match="par1-rtr"):
        topology.node("par1-9")
    with pytest.raises(KeyError, match="no address"):
        topology.address("out")


def test_every_bgp_session_has_its_other_side(topology: Topology) -> None:
    speakers = plan_speakers(topology)
    assert set(speakers) == {n.name for n in topology.nodes if n.role in (Role.HOST, Role.ROUTER, Role.OUTSIDE)}
    sessions = {
        (peer.local, speaker.asn, peer.address, peer.asn) for speaker in speakers.values() for peer in speaker.peers
    }
    assert sessions == {(remote, theirs, local, ours) for local, ours, remote, theirs in sessions}
    assert all(speakers[host.name].learns for host in topology.hosts())
    assert not speakers["out"].learns


def test_private_files(topology: Topology) -> None:
    assert "198.18.2.13 gra1-3\n" in render_hosts_file(topology)
    lines = render_mounts(Path("/lab/par1-1")).splitlines()
    assert lines[0].startswith("overlay /etc overlay lowerdir=/etc,upperdir=/lab/par1-1/.overlay/etc,")
    assert "/lab/par1-1/run /run none bind 0 0" in lines
