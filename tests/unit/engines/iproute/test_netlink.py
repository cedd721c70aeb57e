"""rtnetlink messages byte by byte, as the kernel's headers lay them out."""

import struct
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.engines.bird.render import GEMEL_PROTOCOL
from gemel.engines.iproute import netlink
from gemel.engines.iproute.netlink import (
    PROTOCOL_GEMEL,
    Route,
    parse_attributes,
    parse_error,
    parse_messages,
    parse_route,
    render_attribute,
    render_blackhole,
    render_guest_route,
    render_hardware_address,
    render_host_address,
    render_no_guest_route,
)
from gemel.engines.iproute.withdraw import is_guest_route

ADDRESS = IPv4Address("198.51.100.9")


def test_bird_learns_the_routes_that_this_room_makes() -> None:
    assert PROTOCOL_GEMEL == GEMEL_PROTOCOL


def test_guest_route() -> None:
    message = render_guest_route(ADDRESS, 7)
    assert (message.kind, message.flags) == (24, 0x505)  # RTM_NEWROUTE, request|ack|replace|create
    assert message.body == bytes.fromhex("02200000fe67fd0100000000" + "08000100c6336409" + "0800040007000000")
    assert parse_route(message.body) == Route(IPv4Network("198.51.100.9/32"), 7, 103)


def test_withdrawal_names_no_device_and_only_our_protocol() -> None:
    message = render_no_guest_route(ADDRESS)
    assert (message.kind, message.flags) == (25, 0x5)
    assert message.body == bytes.fromhex("02200000fe67ff0100000000" + "08000100c6336409")


def test_blackhole_has_the_worst_metric() -> None:
    body = render_blackhole(IPv4Network("198.51.100.0/24")).body
    assert body[:12] == bytes.fromhex("02180000fe67000600000000")
    assert parse_attributes(body[12:]) == {1: bytes([198, 51, 100, 0]), 6: struct.pack("=I", 1 << 30)}
    assert parse_route(body) is None, "a blackhole is no route to a guest"


def test_gateway_on_a_tap() -> None:
    link = render_hardware_address(7, "02:67:65:6d:00:01")
    assert parse_attributes(link.body[16:]) == {1: bytes.fromhex("0267656d0001")}
    address = render_host_address(7, IPv4Address("169.254.1.1"))
    assert address.body[:8] == bytes.fromhex("022000fd07000000")
    assert parse_attributes(address.body[8:]) == {1: bytes([169, 254, 1, 1]), 2: bytes([169, 254, 1, 1])}


def test_error_is_an_errno() -> None:
    assert parse_error(struct.pack("=i", -3) + bytes(16)) == 3
    assert parse_error(struct.pack("=i", 0) + bytes(16)) == 0


def test_guest_routes_are_ours_and_32_bits() -> None:
    assert is_guest_route(Route(IPv4Network("198.51.100.9/32"), 7, 103))
    assert not is_guest_route(Route(IPv4Network("198.51.100.9/32"), 7, 4)), "an operator's static route"
    assert not is_guest_route(Route(IPv4Network("198.51.100.0/24"), 7, 103))


def test_routes_of_other_tables_are_not_seen() -> None:
    body = bytearray(render_guest_route(ADDRESS, 7).body)
    body[4] = 255  # the local table
    assert parse_route(bytes(body)) is None


def test_truncated_datagram_is_refused() -> None:
    header = struct.pack("=IHHII", 64, 24, 0, 1, 0)
    with pytest.raises(ValueError, match="64 bytes"):
        list(parse_messages(header + bytes(8)))


@given(st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=37)), unique_by=lambda pair: pair[0]))
def test_attributes_survive_the_round_trip(pairs: list[tuple[int, bytes]]) -> None:
    raw = b"".join(render_attribute(kind, value) for kind, value in pairs)
    assert parse_attributes(raw) == dict(pairs)
    assert len(raw) % 4 == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    for parse in (parse_attributes, lambda data: list(parse_messages(data))):
        try:
            parse(raw)
        except ValueError:
            continue


def test_module_needs_only_the_standard_library() -> None:
    """The watchdog imports it."""
    import subprocess
    import sys

    script = "import sys, gemel.engines.iproute.withdraw; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"
    assert netlink.__doc__
