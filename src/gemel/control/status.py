"""What ``get`` and ``describe`` say of guests, applications and hosts: derived, never decided from. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from gemel.compute import plan as compute
from gemel.compute.kinds import Assignment, GuestState
from gemel.compute.plan import Reported, alive
from gemel.continuity.plan import Plan as TicketPlan
from gemel.continuity.plan import Scene
from gemel.core import layout
from gemel.core.identity import GuestName


def render_status(scene: Scene, guests: compute.Plan, tickets: TicketPlan) -> Mapping[str, bytes]:
    """Status key to JSON, for every guest, application and host of the scene."""
    unplaced = {each.guest: each.reasons for each in guests.unplaced}
    machines = {name: _guest(scene, name, unplaced.get(name, ())) for name in scene.compute.guests}
    alarms = {alarm.application: alarm.message for alarm in tickets.alarms}
    found = {layout.status("VirtualMachine", name): machines[name] for name in machines}
    for name in scene.applications:
        if name.startswith("vm."):
            continue
        found[layout.status("Application", name)] = _application(scene, name, machines, alarms.get(name))
    for name in scene.compute.hosts:
        found[layout.status("Host", name)] = _host(scene, name, machines)
    return {key: json.dumps(value, sort_keys=True).encode() for key, value in found.items()}


def _guest(scene: Scene, name: GuestName, unplaced: tuple[str, ...]) -> dict[str, Any]:
    granted = scene.compute.granted.get(name)
    facts = scene.compute.guests[name]
    if granted is None:
        phase = "Pending" if facts.running else "Stopped"
        return {"phase": phase, "reasons": list(unplaced)}
    assignment = granted.assignment
    status: dict[str, Any] = {
        "host": assignment.host,
        "epoch": assignment.epoch,
        "generation": assignment.generation,
        "reasons": list(unplaced or assignment.reasons),
    }
    right = scene.compute.rights.get(assignment.application)
    if right is not None:
        status["site"] = right.site
    if assignment.target:
        status["migratingTo"] = assignment.target
    phase, message = _phase(scene, assignment)
    status["phase"] = phase
    if message:
        status["message"] = message
    return status


def _phase(scene: Scene, assignment: Assignment) -> tuple[str, str]:
    if not alive(scene.compute, assignment.host, assignment.incarnation):
        return GuestState.UNKNOWN, f"{assignment.host} holds no lease: nothing is known of the guest"
    reported: Reported | None = scene.compute.reports.get((assignment.host, assignment.guest))
    if reported is None or reported.report.incarnation != assignment.incarnation:
        return GuestState.PENDING, f"{assignment.host} has not said anything yet"
    return reported.report.state, reported.report.message


def _application(
    scene: Scene, name: str, machines: Mapping[GuestName, dict[str, Any]], alarm: str | None
) -> dict[str, Any]:
    app = scene.applications[name]
    running = sum(machines[guest]["phase"] in ("Running", "Migrating") for guest in app.guests)
    status: dict[str, Any] = {"guests": len(app.guests), "running": running}
    held = scene.tickets.get(name)
    if held is not None:
        ticket = held.ticket
        status |= {"site": ticket.site, "epoch": ticket.epoch, "ticket": ticket.phase, "reasons": list(ticket.reasons)}
        if ticket.to:
            status["movingTo"] = ticket.to
    status["phase"] = "Running" if running == len(app.guests) else "Degraded" if running else "Down"
    if alarm:
        status["alarm"] = alarm
    return status


def _host(scene: Scene, name: str, machines: Mapping[GuestName, dict[str, Any]]) -> dict[str, Any]:
    host = next(each for each in scene.compute.hosts.values() if each.name == name)
    here = sorted(guest for guest, status in machines.items() if status.get("host") == name)
    taken = sum(scene.compute.guests[guest].memory for guest in here)
    return {
        "phase": "Ready" if host.incarnation else "Lost",
        "schedulable": host.schedulable,
        "guests": here,
        "memoryTaken": taken,
        "incarnation": host.incarnation or "",
    }
