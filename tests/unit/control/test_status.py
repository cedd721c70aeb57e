"""What is shown of guests, applications and hosts."""

import json
from dataclasses import replace
from typing import Any

from tests.unit.compute.scenes import NOW, granted, guest, lost, report
from tests.unit.continuity import scenes

from gemel.compute.kinds import GuestState
from gemel.compute.plan import plan_guests
from gemel.continuity.plan import Scene, plan_tickets
from gemel.control.status import render_status
from gemel.core import layout
from gemel.core.identity import GuestName


def shown(scene: Scene, kind: str, name: str) -> dict[str, Any]:
    rights = {held.ticket.application: scenes.compute.right() for held in scene.tickets.values()}
    whole = replace(scene, compute=replace(scene.compute, rights=rights))
    status = render_status(whole, plan_guests(whole.compute), plan_tickets(whole, NOW))
    found: dict[str, Any] = json.loads(status[layout.status(kind, name)])
    return found


HERE = granted("db", "par1-1")


def test_a_running_guest() -> None:
    told = report("db", "par1-1", GuestState.RUNNING)
    scene = scenes.scene(ticket=scenes.held(), grants=[HERE], reports=[told])
    assert shown(scene, "VirtualMachine", "db") | {"reasons": []} == {
        "phase": "Running", "host": "par1-1", "site": "par1", "epoch": 1, "generation": 1, "reasons": [],
    }  # fmt: skip
    bank = shown(scene, "Application", "bank")
    assert (bank["phase"], bank["running"], bank["guests"], bank["site"]) == ("Running", 1, 1, "par1")
    assert shown(scene, "Host", "par1-1")["guests"] == ["db"]


def test_nothing_is_known_of_a_guest_whose_host_holds_no_lease() -> None:
    told = report("db", "par1-1", GuestState.RUNNING)
    scene = scenes.scene(ticket=scenes.held(), grants=[HERE], reports=[told], hosts=[lost("par1-1")])
    status = shown(scene, "VirtualMachine", "db")
    assert status["phase"] == "Unknown"
    assert "holds no lease" in status["message"]
    assert shown(scene, "Application", "bank")["phase"] == "Down"
    assert shown(scene, "Host", "par1-1")["phase"] == "Lost"


def test_a_report_of_an_earlier_life_is_not_shown_as_now() -> None:
    told = report("db", "par1-1", GuestState.RUNNING, number=7)
    scene = scenes.scene(ticket=scenes.held(), grants=[HERE], reports=[told])
    assert shown(scene, "VirtualMachine", "db")["phase"] == "Pending"


def test_a_guest_that_cannot_be_placed_says_why() -> None:
    scene = scenes.scene(ticket=scenes.held(), hosts=[lost(name) for name in scenes.PAR_HOSTS])
    status = shown(scene, "VirtualMachine", "db")
    assert status["phase"] == "Pending"
    assert "par1-1: no lease" in status["reasons"]


def test_a_migration_and_a_move_are_shown() -> None:
    moving = granted("db", "par1-1", to="par1-2")
    assert shown(scenes.scene(ticket=scenes.held(), grants=[moving]), "VirtualMachine", "db")["migratingTo"] == "par1-2"
    draining = scenes.scene(ticket=scenes.held(to=scenes.GRA))
    assert shown(draining, "Application", "bank")["movingTo"] == "gra1"


def test_an_alarm_is_shown_at_its_application() -> None:
    gone = [lost(name) for name in scenes.PAR_HOSTS]
    scene = scenes.scene(ticket=scenes.held(), hosts=gone, settled=scenes.PAR_HOSTS, volumes=[scenes.volume()])
    assert "no complete replica" in shown(scene, "Application", "bank")["alarm"]


def test_a_guest_of_no_application_has_no_application_to_show() -> None:
    scene = scenes.scene(ticket=scenes.held())
    alone = scenes.ApplicationFacts("vm.db", (GuestName("db"),), scenes.PAR, False, False)
    compute = replace(scene.compute, guests={GuestName("db"): guest("db", application="vm.db")})
    status = render_status(
        replace(scene, applications={"vm.db": alone}, compute=compute), plan_guests(compute), plan_tickets(scene, NOW)
    )
    assert not any(key.startswith(layout.status("Application", "")) for key in status)
