"""Wishes to move an application or a guest: may they be, as far as is known now? Pure.

The controllers decide when they take a wish up; what is refused here is what can only be a mistake.
"""

from dataclasses import replace

from gemel.catalog.changes import NotFound, Proposal, Refused, request_of
from gemel.catalog.records import Records
from gemel.compute.requests import MIGRATE, MigrateRequest
from gemel.continuity.kinds import MoveRequest
from gemel.core import layout
from gemel.core.identity import GuestName, HostName, SiteName
from gemel.core.store import Compare, unchanged

MOVE = "move"


def plan_move(records: Records, application: str, to: str, user: str) -> Proposal:
    """A planned move to the other site, without loss. While it drains, the site that it leaves calls the move off."""
    declared = records.applications.get(application)
    if declared is None:
        raise NotFound(f"there is no Application {application}")
    if to not in records.sites:
        raise Refused(f"there is no Site {to}: the sites are {', '.join(sorted(records.sites)) or 'not declared yet'}")
    if declared.spec.protection is None:
        raise Refused(
            f"{application} has no protection: its volumes exist on one site only. Give it a ProtectionPolicy"
        )
    ticket = records.tickets.get(application)
    if ticket is None:
        raise Refused(f"{application} has no ticket yet: a controller must have seen it first")
    if ticket.to is not None and to not in (ticket.to, ticket.site):
        raise Refused(f"{application} is on its way to {ticket.to}: wait for the end of that move")
    if ticket.site == to and ticket.to is None:
        raise Refused(f"{application} is at {to} already")
    wish = MoveRequest(application=application, to=SiteName(to), requested_by=user)
    proposal = request_of(MOVE, "Application", application, wish.to_json(), f"to {to}", records)
    return replace(proposal, compares=(*proposal.compares, _as_seen(records, layout.ticket(application))))


def plan_migrate(records: Records, guest: str, to: str | None, user: str) -> Proposal:
    """A live migration inside the guest's site."""
    machine, assignment = records.machines.get(guest), records.assignments.get(guest)
    if machine is None:
        raise NotFound(f"there is no VirtualMachine {guest}")
    if assignment is None or not machine.spec.running:
        raise Refused(f"{guest} does not run: there is nothing to migrate. Start it, and placement finds it a host")
    if assignment.target is not None:
        raise Refused(
            f"{guest} is being migrated from {assignment.host} to {assignment.target}: wait for the end of that"
        )
    if to is not None:
        _check_target(records, guest, assignment.host, to)
    wish = MigrateRequest(guest=GuestName(guest), to=HostName(to) if to else None, requested_by=user)
    detail = f"to {to}" if to else "to any host"
    proposal = request_of(MIGRATE, "VirtualMachine", guest, wish.to_json(), detail, records)
    return replace(proposal, compares=(*proposal.compares, _as_seen(records, layout.assignment(guest))))


def _check_target(records: Records, guest: str, source: str, to: str) -> None:
    host, here = records.hosts.get(to), records.hosts.get(source)
    if host is None:
        raise Refused(f"there is no Host {to}: the hosts are {', '.join(sorted(records.hosts))}")
    if to == source:
        raise Refused(f"{guest} runs on {to} already")
    if here is not None and host.spec.site != here.spec.site:
        raise Refused(
            f"{to} is at {host.spec.site}, {guest} at {here.spec.site}: between sites an application is moved as one"
        )
    if not host.spec.schedulable:
        raise Refused(f"{to} is drained: resume it first, or name another host")
    if to not in records.leases:
        raise Refused(f"{to} holds no lease: it cannot run anything now. Name another host")


def _as_seen(records: Records, key: str) -> Compare:
    item = records.items.get(key)
    return unchanged(key, item.mod_revision if item else 0)
