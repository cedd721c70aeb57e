"""Does each guest belong to one application and one tier, and can tiers be started in an order? Pure."""

import difflib
from collections.abc import Iterator

from gemel.catalog.manifest import Problem
from gemel.catalog.shape import Sound
from gemel.catalog.world import World
from gemel.compute.kinds import ImageSpec, VirtualMachineSpec
from gemel.continuity.kinds import ApplicationSpec, TierSpec

MAX_TIERS = 64


def check_groups(sound: Sound, existing: World, world: World) -> Iterator[Problem]:
    spec = sound.resource.spec
    if isinstance(spec, VirtualMachineSpec):
        yield from _machine(sound, world, spec)
    elif isinstance(spec, ApplicationSpec):
        yield from _application(sound, world, spec)
        yield from _tiers(sound, spec.tiers)
    elif isinstance(spec, ImageSpec) and spec.disk is not None and spec.digest is None:
        for guest, machine in sorted(world.machines.items()):
            if _protected(world, guest) and sound.name in [disk.image for disk in machine.spec.disks]:
                yield sound.problem("spec.digest", *_digest_words(sound.name, guest))


def _machine(sound: Sound, world: World, spec: VirtualMachineSpec) -> Iterator[Problem]:
    claims = world.claims[sound.name]
    if len(claims) > 1:
        yield sound.problem(
            "metadata.labels", f"the applications {' and '.join(claims)} both select it", "labels that one selects"
        )
    for name in claims:
        tiers = world.tiers_of(world.applications[name], world.machines[sound.name])
        if len(tiers) > 1:
            both = " and ".join(tier.name for tier in tiers)
            yield sound.problem(
                "metadata.labels", f"the tiers {both} of {name} both select it", "labels that one selects"
            )
    if _protected(world, sound.name):
        for at, disk in enumerate(spec.disks):
            image = world.images.get(disk.image) if disk.image else None
            if disk.image and image is not None and image.spec.digest is None:
                yield sound.problem(f"spec.disks[{at}].image", *_digest_words(disk.image, sound.name))


def _application(sound: Sound, world: World, spec: ApplicationSpec) -> Iterator[Problem]:
    for guest in world.members(sound.name):
        others = [name for name in world.claims[guest] if name != sound.name]
        if others:
            yield sound.problem(
                "spec.selector",
                f"VirtualMachine {guest} is selected by {others[0]} already",
                "a selector that shares no guest with another application's",
            )
        tiers = world.tiers_of(world.applications[sound.name], world.machines[guest])
        if len(tiers) > 1:
            second = spec.tiers.index(tiers[1])
            yield sound.problem(
                f"spec.tiers[{second}].selector",
                f"VirtualMachine {guest} is in the tiers {tiers[0].name} and {tiers[1].name}",
                "selectors that share no guest",
            )
        if spec.protection is not None:
            yield from _digests(sound, world, guest)
    if spec.protection is not None and len(world.names("Site")) == 1:
        yield sound.problem(
            "spec.protection", "the region has one site: there is nowhere to keep a copy", "a second Site"
        )


def _digests(sound: Sound, world: World, guest: str) -> Iterator[Problem]:
    for disk in world.machines[guest].spec.disks:
        image = world.images.get(disk.image) if disk.image else None
        if disk.image and image is not None and image.spec.digest is None:
            yield sound.problem("spec.protection", *_digest_words(disk.image, guest))


def _digest_words(image: str, guest: str) -> tuple[str, str]:
    message = f"Image {image}, from which the protected {guest} starts, has no digest: the sites cannot compare theirs"
    return message, "spec.digest in the Image"


def _protected(world: World, guest: str) -> bool:
    application = world.application_of(guest)
    return application is not None and application.spec.protection is not None


def _tiers(sound: Sound, tiers: tuple[TierSpec, ...]) -> Iterator[Problem]:
    if len(tiers) > MAX_TIERS:
        yield sound.problem("spec.tiers", f"has {len(tiers)} tiers", f"at most {MAX_TIERS}")
        return
    known = [tier.name for tier in tiers]
    dangling = False
    for at, tier in enumerate(tiers):
        path = f"spec.tiers[{at}]"
        if tier.name in known[:at]:
            yield sound.problem(f"{path}.name", f"two tiers are called {tier.name}", "another name")
        for position, after in enumerate(tier.after):
            if after not in known:
                dangling = True
                near = difflib.get_close_matches(after, known, n=1, cutoff=0.6)
                expected = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
                yield sound.problem(f"{path}.after[{position}]", f"there is no tier {after}", expected)
    cycle = () if dangling else _cycle(tiers)
    if cycle:
        at = known.index(cycle[0])
        path = f"spec.tiers[{at}].after"
        yield sound.problem(path, f"tiers wait for each other: {' -> '.join(cycle)}", "an order without a circle")


def _cycle(tiers: tuple[TierSpec, ...]) -> tuple[str, ...]:
    """A circle of names, the first repeated at its end; empty when there is none."""
    after = {tier.name: tier.after for tier in tiers}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> tuple[str, ...]:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        if name in done:
            return ()
        for before in after[name]:
            if found := walk(before, (*trail, name)):
                return found
        done.add(name)
        return ()

    return next((found for name in after if (found := walk(name, ()))), ())
