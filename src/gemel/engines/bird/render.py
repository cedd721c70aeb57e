"""bird.conf for a host, a site's router and an outside router. Pure text; golden-tested.

How routes travel: a host's BIRD learns the kernel's guest routes (those of gemel's own protocol number) and
tells its site's router by iBGP. The router reflects them to the site's other hosts and tells the other
routers by eBGP. BFD notices a silent loss in about 300 ms. Only /32 routes within the guests' prefixes
pass any filter, and from a host only those that it originated itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

GEMEL_PROTOCOL = 103
"""rtm_protocol of guest routes; the same number as engines.iproute.netlink.PROTOCOL_GEMEL (a test holds it)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A neighbour on a shared link. ``client`` makes it a host of ours: same AS, routes are reflected."""

    name: str
    address: IPv4Address
    asn: int
    local: IPv4Address
    client: bool = False


@dataclass(frozen=True, slots=True)
class Speaker:
    """A BGP speaker. ``learns``: it is a host, whose kernel has guest routes to announce."""

    router_id: IPv4Address
    asn: int
    guest_prefixes: tuple[IPv4Network, ...]
    peers: tuple[Peer, ...]
    learns: bool = False
    bfd_interval_ms: int = 100
    bfd_multiplier: int = 3
    import_limit: int = 20000


def render_bird(speaker: Speaker) -> str:
    """The whole bird.conf. Raises ValueError for a speaker that no filter could guard."""
    if not speaker.guest_prefixes:
        raise ValueError("a BGP speaker without guests' prefixes would accept nothing: give at least one")
    parts = [_head(speaker), _filters(speaker), _kernel(speaker), _bfd(speaker)]
    parts += [_peer(speaker, peer) for peer in speaker.peers]
    return "\n".join(parts)


def _prefixes(prefixes: Iterable[IPv4Network]) -> str:
    return ", ".join(f"{prefix}{{32,32}}" for prefix in sorted(prefixes))


def _head(speaker: Speaker) -> str:
    return f"""\
# Written by gemel; changes are overwritten.
log stderr all;
router id {speaker.router_id};
timeformat protocol iso long ms;
define GUESTS = [ {_prefixes(speaker.guest_prefixes)} ];

protocol device {{ scan time 10; }}
"""


def _filters(speaker: Speaker) -> str:
    return f"""\
filter guests_here {{
  # Ours by its protocol number. A guest that runs here is nearer than any announcement of it (100).
  if net ~ GUESTS && krt_source = {GEMEL_PROTOCOL} then {{ preference = 200; accept; }}
  reject;
}}

filter guests_of_host {{
  # A host speaks for its own guests only: a path or another originator means that it passes routes on.
  if net ~ GUESTS && bgp_path.len = 0 && !defined(bgp_originator_id) then accept;
  reject;
}}

filter guests_of_region {{
  if net ~ GUESTS then accept;
  reject;
}}
"""


def _kernel(speaker: Speaker) -> str:
    learning = "learn;\n  " if speaker.learns else ""
    imports = "filter guests_here" if speaker.learns else "none"
    kernel = f"""\
protocol kernel kernel4 {{
  {learning}scan time 10;
  ipv4 {{ import {imports}; export where source = RTS_BGP || source = RTS_STATIC; }};
}}
"""
    if speaker.learns:  # the agent keeps a host's blackholes, with or without BIRD
        return kernel
    blackholes = "\n".join(f"  route {prefix} blackhole;" for prefix in sorted(speaker.guest_prefixes))
    return (
        kernel
        + f"""
# Between a withdrawal and the next announcement packets are dropped, not refused: clients try again.
protocol static unclaimed {{
  ipv4;
{blackholes}
}}
"""
    )


def _bfd(speaker: Speaker) -> str:
    return f"""\
protocol bfd {{
  interface "*" {{ interval {speaker.bfd_interval_ms} ms; multiplier {speaker.bfd_multiplier}; }};
}}
"""


def _peer(speaker: Speaker, peer: Peer) -> str:
    internal = peer.asn == speaker.asn
    accepted = "guests_of_host" if peer.client else "guests_of_region"
    announced = "source = RTS_INHERIT && net ~ GUESTS" if speaker.learns else "source = RTS_BGP && net ~ GUESTS"
    session = ["direct;", "rr client;"] if internal and peer.client else ["direct;"]
    # A reflected route keeps its host as next hop; what came from outside is reached through us.
    next_hop = "next hop self ebgp; " if peer.client else "next hop self; "
    return f"""\
protocol bgp to_{peer.name.replace("-", "_")} {{
  local {peer.local} as {speaker.asn};
  neighbor {peer.address} as {peer.asn};
  {" ".join(session)}
  bfd on;
  hold time 9; keepalive time 3;
  connect delay time 1; connect retry time 1; error wait time 1, 3; error forget time 30;
  ipv4 {{
    {next_hop}import filter {accepted};
    import limit {speaker.import_limit} action block;
    export where {announced};
  }};
}}
"""
