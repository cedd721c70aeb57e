"""Could this ever run, and does its data fit? Pure."""

from collections.abc import Iterator

from gemel.catalog.manifest import Problem
from gemel.catalog.shape import Sound
from gemel.catalog.world import World
from gemel.compute.kinds import HostSpec, VirtualMachineSpec
from gemel.core.units import render_size


def check_sizes(sound: Sound, existing: World, world: World) -> Iterator[Problem]:
    spec = sound.resource.spec
    if not isinstance(spec, VirtualMachineSpec):
        return
    yield from _disks(sound, existing, world, spec)
    hosts = _eligible(sound.name, world, spec)
    if not hosts:
        return  # a region without hosts yet: what is placed waits for them
    for field, wanted, most in (
        ("cpu", spec.cpu, max(host.cpu for host in hosts)),
        ("memory", spec.memory, max(host.memory for host in hosts)),
    ):
        if wanted > most:
            shown = (str(wanted), str(most)) if field == "cpu" else (render_size(wanted), render_size(most))
            yield sound.problem(f"spec.{field}", f"{shown[0]} is more than any host has", f"at most {shown[1]}")
            return
    if not any(spec.cpu <= host.cpu and spec.memory <= host.memory for host in hosts):
        yield sound.problem("spec", "no single host has both that many cpu and that much memory", "less of either")
    yield from _every_home(sound, world, spec)


def _every_home(sound: Sound, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    """A protected guest must fit on the other site as well: that is found out now, not in the night."""
    application = world.application_of(sound.name)
    if application is None or application.spec.protection is None:
        return
    for site in world.homes(sound.name):
        hosts = [host.spec for host in world.hosts.values() if host.spec.site == site]
        if hosts and not any(spec.cpu <= host.cpu and spec.memory <= host.memory for host in hosts):
            yield sound.problem(
                "spec", f"fits on no host of {site}, where it would be after a failover", "a smaller size"
            )


def _eligible(name: str, world: World, spec: VirtualMachineSpec) -> list[HostSpec]:
    if spec.placement.hosts:
        return [world.hosts[host].spec for host in spec.placement.hosts if host in world.hosts]
    homes = world.homes(name)
    return [host.spec for host in world.hosts.values() if host.spec.site in homes]


def _disks(sound: Sound, existing: World, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    before = existing.machines.get(sound.name)
    was = {disk.name: disk.size for disk in before.spec.disks} if before else {}
    for at, disk in enumerate(spec.disks):
        path = f"spec.disks[{at}].size"
        image = world.images.get(disk.image) if disk.image else None
        least = image.spec.disk_size if image else None
        if least is not None and disk.size < least:
            yield sound.problem(
                path, f"{render_size(disk.size)} is smaller than Image {disk.image}", f"at least {render_size(least)}"
            )
        if disk.size < was.get(disk.name, 0):
            yield sound.problem(
                path,
                f"disk {disk.name} cannot shrink to {render_size(disk.size)}",
                f"at least {render_size(was[disk.name])}",
            )
