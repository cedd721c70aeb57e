"""bird.conf against golden files, and against BIRD's own parser."""

import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from gemel.engines.bird.render import Peer, Speaker, render_bird

GOLDEN = Path(__file__).parent / "golden"
PREFIXES = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24"))
HOST = Speaker(
    IPv4Address("192.0.2.11"),
    65101,
    PREFIXES,
    (Peer("site_router", IPv4Address("192.0.2.1"), 65101, IPv4Address("192.0.2.11")),),
    learns=True,
)
ROUTER = Speaker(
    IPv4Address("192.0.2.1"),
    65101,
    PREFIXES,
    (
        Peer("par1-1", IPv4Address("192.0.2.11"), 65101, IPv4Address("192.0.2.1"), client=True),
        Peer("out", IPv4Address("192.0.2.130"), 65100, IPv4Address("192.0.2.129")),
    ),
)
OUTSIDE = Speaker(
    IPv4Address("192.0.2.130"),
    65100,
    PREFIXES,
    (Peer("par1-rtr", IPv4Address("192.0.2.129"), 65101, IPv4Address("192.0.2.130")),),
)
SPEAKERS = {"host": HOST, "router": ROUTER, "outside": OUTSIDE}


@pytest.mark.parametrize("name", SPEAKERS)
def test_golden(name: str) -> None:
    assert render_bird(SPEAKERS[name]) == (GOLDEN / f"bird-{name}.conf").read_text()


@pytest.mark.parametrize("name", SPEAKERS)
def test_bird_itself_accepts_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bird.conf"
    path.write_text(render_bird(SPEAKERS[name]))
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", str(path)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


def test_host_announces_only_what_it_learned_from_its_kernel() -> None:
    text = render_bird(HOST)
    assert "export where source = RTS_INHERIT && net ~ GUESTS;" in text
    assert "krt_source = 103" in text


def test_router_takes_from_a_host_only_what_the_host_originated() -> None:
    host_part = render_bird(ROUTER).split("protocol bgp to_par1_1")[1].split("protocol bgp")[0]
    assert "import filter guests_of_host" in host_part
    assert "rr client" in host_part


def test_only_host_routes_of_guests_prefixes_pass() -> None:
    assert "define GUESTS = [ 198.51.100.0/24{32,32}, 203.0.113.0/24{32,32} ];" in render_bird(HOST)


def test_speaker_without_prefixes_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        render_bird(Speaker(IPv4Address("192.0.2.1"), 65101, (), ()))
