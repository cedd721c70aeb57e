"""birdc's output as BIRD 2.0.12 printed it."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from gemel.engines.bird.parse import BirdRoute, parse_protocols, parse_routes

GOLDEN = Path(__file__).parent / "golden"
GUEST = IPv4Network("198.19.1.7/32")


def golden(name: str) -> str:
    return (GOLDEN / f"2.0.12-{name}.txt").read_text()


def test_all_sessions_of_a_router() -> None:
    sessions = parse_protocols(golden("protocols-router"))
    assert [s.name for s in sessions if s.established] == [
        "to_par1_1",
        "to_par1_2",
        "to_par1_3",
        "to_gra1_rtr",
        "to_out",
    ]
    assert [s.kind for s in sessions] == ["Device", "Kernel", "Static", "BFD", *["BGP"] * 5]


def test_a_session_that_bfd_took_down() -> None:
    down = [s for s in parse_protocols(golden("protocols-one-down")) if s.kind == "BGP" and not s.established]
    assert [(s.name, s.state) for s in down] == [("to_par1_3", "start")]
    assert down[0].info.endswith("Error: BFD session down")


def test_routes_of_a_host() -> None:
    assert parse_routes(golden("route-host")) == (BirdRoute(GUEST, "unicast", "kernel4", True, None, "t0"),)


def test_routes_of_a_router_with_blackholes() -> None:
    routes = parse_routes(golden("route-router"))
    assert routes[0] == BirdRoute(IPv4Network("198.19.1.0/24"), "blackhole", "unclaimed", True, None, None)
    assert routes[2] == BirdRoute(GUEST, "unicast", "to_par1_1", True, IPv4Address("198.18.1.11"), "lan")


def test_alternatives_belong_to_the_network_above_them() -> None:
    found = [r for r in parse_routes(golden("route-out")) if r.network == GUEST]
    assert [(r.protocol, r.best, str(r.via)) for r in found] == [
        ("to_par1_rtr", True, "198.18.10.13"),
        ("to_gra1_rtr", False, "198.18.10.17"),
    ]


def test_nothing_is_an_empty_answer() -> None:
    assert parse_routes("BIRD 2.0.12 ready.\n") == ()
    assert parse_protocols("") == ()


def test_route_without_network_is_refused() -> None:
    with pytest.raises(ValueError, match="without a network"):
        parse_routes("                     unicast [to_a 20:08:01.893] (100)\n")
