"""From what is declared and granted to what the hypervisor is asked for. Pure."""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

from gemel.compute.kinds import Assignment, ImageSpec, VirtualMachineSpec
from gemel.compute.ports import CephAccess, GuestPlan, RbdDisk

_NAMESPACE = uuid.UUID("6f4f2a58-5f0e-5f0a-9d43-67656d656c01")


def tap_name(guest: str) -> str:
    """At most 15 characters, as the kernel wants it."""
    return f"gt{hashlib.sha256(guest.encode()).hexdigest()[:10]}"


def plan_guest(
    assignment: Assignment,
    machine: VirtualMachineSpec,
    image: ImageSpec,
    images: Path,
    disks: Sequence[RbdDisk],
    ceph: CephAccess | None,
) -> GuestPlan:
    """Identities (UUID, MAC, tap) follow from the guest's name alone, so they are the same on every host."""
    digest = hashlib.sha256(assignment.guest.encode()).hexdigest()
    return GuestPlan(
        name=assignment.guest,
        uuid=str(uuid.uuid5(_NAMESPACE, assignment.guest)),
        epoch=assignment.epoch,
        generation=assignment.generation,
        cpu=machine.cpu,
        memory=machine.memory,
        kernel=images / image.kernel if image.kernel else None,
        initrd=images / image.initrd if image.initrd else None,
        command_line=image.command_line,
        disks=tuple(disks),
        ceph=ceph if disks else None,
        addresses=machine.addresses,
        mac="02:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2)),
        tap=tap_name(assignment.guest),
        config=machine.config,
        guest_agent=image.guest_agent,
    )
