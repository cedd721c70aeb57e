"""Does everything that is named exist, and may what is named change? Pure."""

import difflib
from collections.abc import Iterator

from gemel.catalog.manifest import Problem
from gemel.catalog.observed import images_of
from gemel.catalog.shape import Sound
from gemel.catalog.world import World
from gemel.compute.kinds import HostSpec, ImageSpec, VirtualMachineSpec
from gemel.continuity.kinds import ApplicationSpec


def check_references(sound: Sound, existing: World, world: World) -> Iterator[Problem]:
    spec = sound.resource.spec
    if isinstance(spec, HostSpec):
        yield from _exists(sound, world, "Site", spec.site, "spec.site")
    elif isinstance(spec, ImageSpec):
        yield from _bootable(sound, spec)
    elif isinstance(spec, VirtualMachineSpec):
        yield from _machine(sound, world, spec)
    elif isinstance(spec, ApplicationSpec):
        yield from _exists(sound, world, "Site", spec.preferred_site, "spec.preferredSite")
        if spec.protection is not None:
            yield from _exists(sound, world, "ProtectionPolicy", spec.protection, "spec.protection")


def _exists(sound: Sound, world: World, kind: str, name: str, path: str) -> Iterator[Problem]:
    if not world.exists(kind, name):
        known = world.names(kind)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if near:
            expected = f"did you mean {near[0]}?"
        elif known:
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            expected = f"one of {shown}, or declare {kind} {name}"
        else:
            expected = f"declare {kind} {name} before, or in the same apply"
        yield sound.problem(path, f"there is no {kind} {name}", expected)


def _bootable(sound: Sound, spec: ImageSpec) -> Iterator[Problem]:
    for field, path in (("kernel", spec.kernel), ("initrd", spec.initrd), ("disk", spec.disk)):
        if path is not None and ".." in path.split("/"):
            yield sound.problem(f"spec.{field}", f"{path} leaves the image directory", "a path without ..")
    if spec.kernel is None and spec.disk is None:
        yield sound.problem("spec", "has neither a kernel nor a disk: nothing could boot from it", "kernel or disk")
    if spec.initrd is not None and spec.kernel is None:
        yield sound.problem("spec.initrd", "an initrd needs a kernel beside it", "spec.kernel")
    if spec.disk is not None and spec.disk_size is None:
        yield sound.problem("spec.diskSize", "is missing: a disk has a size", "the disk's virtual size, such as 2Gi")
    if spec.disk is None and spec.disk_size is not None:
        yield sound.problem("spec.diskSize", "there is no disk that it could be the size of", "spec.disk as well")


def _machine(sound: Sound, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    yield from _exists(sound, world, "Image", spec.boot.image, "spec.boot.image")
    for at, disk in enumerate(spec.disks):
        path = f"spec.disks[{at}]"
        if disk.name in [earlier.name for earlier in spec.disks[:at]]:
            yield sound.problem(f"{path}.name", f"two disks are called {disk.name}", "another name")
        if disk.image is None:
            continue
        yield from _exists(sound, world, "Image", disk.image, f"{path}.image")
        image = world.images.get(disk.image)
        if image is not None and image.spec.disk is None:
            yield sound.problem(f"{path}.image", f"Image {disk.image} has no disk to clone", "an image with spec.disk")
    yield from _boots(sound, world, spec)
    yield from _placement(sound, world, spec)
    for key in spec.config:
        if not _is_variable(key):
            yield sound.problem(
                f"spec.config.{key}", f"{key!r} cannot be a variable", "capital letters, digits and _, such as ROLE"
            )


def _boots(sound: Sound, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    image = world.images.get(spec.boot.image)
    if image is None or image.spec.kernel is not None:
        return
    if not spec.disks or spec.disks[0].image is None:
        yield sound.problem(
            "spec.boot.image",
            f"Image {spec.boot.image} has no kernel, and the first disk is no image's: nothing could boot",
            "an image with a kernel, or a first disk with an image",
        )


def _placement(sound: Sound, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    site = spec.placement.site
    if site is not None:
        yield from _exists(sound, world, "Site", site, "spec.placement.site")
    for at, name in enumerate(spec.placement.hosts):
        path = f"spec.placement.hosts[{at}]"
        yield from _exists(sound, world, "Host", name, path)
        host = world.hosts.get(name)
        if host is not None and site is not None and host.spec.site != site:
            yield sound.problem(path, f"Host {name} is at {host.spec.site}, not at {site}", f"a host of {site}")


def _is_variable(key: str) -> bool:
    return key.isascii() and key.replace("_", "A").isalnum() and key.upper() == key and not key[0].isdigit()


def check_immutable(sound: Sound, existing: World, world: World) -> Iterator[Problem]:
    before = existing.resources.get(sound.place)
    if before is None:
        return
    old, new = before.spec, sound.resource.spec
    if isinstance(old, HostSpec) and isinstance(new, HostSpec):
        if old.site != new.site:
            yield sound.problem(
                "spec.site",
                f"cannot change: {sound.name} is a host of {old.site}",
                f"{old.site}, or a host of a new name",
            )
    elif isinstance(old, ImageSpec) and isinstance(new, ImageSpec):
        yield from _same_image(sound, existing, old, new)
    elif isinstance(old, VirtualMachineSpec) and isinstance(new, VirtualMachineSpec):
        yield from _same_disks(sound, old, new)


def _same_image(sound: Sound, existing: World, old: ImageSpec, new: ImageSpec) -> Iterator[Problem]:
    """Volumes are clones of it on both sites: another content under the same name would mix two disks."""
    users = sorted(name for name, each in existing.machines.items() if sound.name in images_of(each))
    if not users:
        return
    changes = (("disk", old.disk, new.disk), ("diskSize", old.disk_size, new.disk_size))
    for field, was, now in (*changes, ("digest", old.digest, new.digest)):
        if was is not None and was != now:
            yield sound.problem(
                f"spec.{field}", f"cannot change while {', '.join(users[:3])} use the image", "an Image of a new name"
            )


def _same_disks(sound: Sound, old: VirtualMachineSpec, new: VirtualMachineSpec) -> Iterator[Problem]:
    was = {disk.name: disk for disk in old.disks}
    for at, disk in enumerate(new.disks):
        before = was.get(disk.name)
        if before is not None and before.image != disk.image:
            yield sound.problem(
                f"spec.disks[{at}].image",
                f"cannot change: disk {disk.name} was made from {before.image or 'nothing'}",
                f"{before.image or 'no image'}, or a disk of a new name",
            )
