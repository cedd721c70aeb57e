"""Are addresses unique, announced by a site, and free of what the network needs for itself? Pure."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from gemel.catalog.manifest import Problem
from gemel.catalog.shape import Sound
from gemel.catalog.world import World
from gemel.compute.kinds import HostSpec, SiteSpec, VirtualMachineSpec
from gemel.network.ports import GATEWAY


def check_addresses(sound: Sound, existing: World, world: World) -> Iterator[Problem]:
    spec = sound.resource.spec
    if isinstance(spec, SiteSpec):
        yield from _site(sound, world, spec)
    elif isinstance(spec, HostSpec):
        yield from _host(sound, world, spec)
    elif isinstance(spec, VirtualMachineSpec):
        for at, address in enumerate(spec.addresses):
            path = f"spec.addresses[{at}]"
            if address in spec.addresses[:at]:
                yield sound.problem(path, f"{address} is given twice", "each address once")
            yield from _taken(sound, world, address, path)
            yield from _guest(sound, world, address, path)


def _taken(sound: Sound, world: World, address: IPv4Address, path: str) -> Iterator[Problem]:
    others = [place for place in world.owners.get(address, ()) if place != sound.place]
    if others:
        yield sound.problem(path, f"{address} is taken by {' '.join(others[0])}", "an address that nobody has")


def _guest(sound: Sound, world: World, address: IPv4Address, path: str) -> Iterator[Problem]:
    if address == GATEWAY:
        yield sound.problem(path, f"{address} is the gateway of every guest", "an address of a site's prefix")
        return
    homes = world.homes(sound.name)
    allowed = {site: prefixes for site, prefixes in world.prefixes.items() if site in homes}
    inside = [prefix for prefixes in allowed.values() for prefix in prefixes if address in prefix]
    if not inside:
        known = ", ".join(f"{prefix} ({site})" for site, prefixes in allowed.items() for prefix in prefixes)
        expected = f"an address in {known}" if known else "prefixes in the spec of its Site"
        yield sound.problem(path, f"{address} is outside the prefixes of {_or(homes)}", expected)
    for prefix in inside:
        if prefix.prefixlen < 31 and address in (prefix.network_address, prefix.broadcast_address):
            what = "network" if address == prefix.network_address else "broadcast"
            first, last = prefix.network_address + 1, prefix.broadcast_address - 1
            yield sound.problem(path, f"{address} is the {what} address of {prefix}", f"from {first} to {last}")


def _host(sound: Sound, world: World, spec: HostSpec) -> Iterator[Problem]:
    yield from _taken(sound, world, spec.address, "spec.address")
    for site, prefixes in world.prefixes.items():
        for prefix in prefixes:
            if spec.address in prefix:
                yield sound.problem(
                    "spec.address",
                    f"{spec.address} lies in {prefix}, from which guests of {site} get theirs",
                    "an address outside the guests' prefixes",
                )
    unusable = spec.address.is_multicast or spec.address.is_unspecified or spec.address.is_loopback
    if unusable or spec.address == IPv4Address("255.255.255.255"):
        yield sound.problem("spec.address", f"{spec.address} is no address of a machine", "the host's own address")


def _site(sound: Sound, world: World, spec: SiteSpec) -> Iterator[Problem]:
    for at, prefix in enumerate(spec.prefixes):
        path = f"spec.prefixes[{at}]"
        for site, prefixes in world.prefixes.items():
            others = spec.prefixes[:at] if site == sound.name else prefixes
            clash = next((other for other in others if prefix.overlaps(other)), None)
            if clash is not None:
                yield sound.problem(path, f"{prefix} overlaps {clash} of {site}", "prefixes that share no address")
        if prefix.overlaps(IPv4Network("169.254.0.0/16")) or prefix.is_multicast or prefix.is_loopback:
            yield sound.problem(path, f"{prefix} is not for guests", "a prefix of unicast addresses that you own")
        for name, host in sorted(world.hosts.items()):
            if host.spec.address in prefix:
                yield sound.problem(path, f"{prefix} contains the address of Host {name}", "a prefix without hosts")
    yield from _left_outside(sound, world)


def _left_outside(sound: Sound, world: World) -> Iterator[Problem]:
    """Guests whose address this site's new prefixes do not cover any more, nor anybody else's."""
    everywhere = [prefix for prefixes in world.prefixes.values() for prefix in prefixes]
    for name, machine in sorted(world.machines.items()):
        if sound.name not in world.homes(name):
            continue
        for address in machine.spec.addresses:
            if not any(address in prefix for prefix in everywhere):
                yield sound.problem(
                    "spec.prefixes",
                    f"VirtualMachine {name} has {address}, which would lie outside",
                    f"a prefix with {address}",
                )


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(names) if names else "any site"
