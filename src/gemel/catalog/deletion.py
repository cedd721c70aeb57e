"""May a resource be deleted? Not while something still names it. Pure."""

from collections.abc import Iterator

from gemel.catalog.observed import images_of
from gemel.catalog.records import Records


def check_deletion(kind: str, name: str, records: Records) -> tuple[str, ...]:
    """What still needs it, in words; empty when it may go."""
    found = {"Site": _site, "Host": _host, "Image": _image, "ProtectionPolicy": _policy}.get(kind)
    return tuple(found(name, records)) if found else ()


def _site(name: str, records: Records) -> Iterator[str]:
    for host, declared in records.hosts.items():
        if declared.spec.site == name:
            yield f"Host {host} is there"
    for application, app in records.applications.items():
        if app.spec.preferred_site == name:
            yield f"Application {application} prefers it"
    for guest, machine in records.machines.items():
        if machine.spec.placement.site == name:
            yield f"VirtualMachine {guest} is placed there"
    for application, ticket in records.tickets.items():
        if name in (ticket.site, ticket.to):
            yield f"the ticket of {application} is there"


def _host(name: str, records: Records) -> Iterator[str]:
    for guest, given in records.assignments.items():
        if name in (given.host, given.target):
            yield f"VirtualMachine {guest} is assigned to it (drain it first)"
    for guest, machine in records.machines.items():
        if name in machine.spec.placement.hosts:
            yield f"VirtualMachine {guest} names it in placement.hosts"
    if name in records.leases:
        yield "it is alive (stop its agent first)"


def _image(name: str, records: Records) -> Iterator[str]:
    for guest, machine in records.machines.items():
        if name in images_of(machine):
            yield f"VirtualMachine {guest} uses it"


def _policy(name: str, records: Records) -> Iterator[str]:
    for application, app in records.applications.items():
        if app.spec.protection == name:
            yield f"Application {application} is protected by it"
