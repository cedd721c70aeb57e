"""One leader's turn over a store: what it commits, what it leaves alone, and what it never lets stop the rest."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.simulation.virtual import VirtualClock, run
from tests.unit.compute.scenes import granted, life

from gemel.compute import plan as compute_plan
from gemel.compute.kinds import HostLease, HostSpec, ImageSpec, SiteSpec, VirtualMachineSpec
from gemel.compute.plan import Step
from gemel.control.leader import Leader
from gemel.core import layout
from gemel.core.election import Leadership
from gemel.core.events import Recorder
from gemel.core.resource import Metadata, Model, Resource
from gemel.core.store import Put
from gemel.core.view import View
from gemel.store.memory import MemoryStore, Region


class Desk:
    """A region of one site, two hosts with leases and two guests of no application, and its leader."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock, Region(self.clock))
        self.view = View(self.store, (layout.ROOT,), self.clock)
        self.term: Leadership | None = None

    async def begin(self) -> None:
        await self.declare("Site", "par1", SiteSpec())
        await self.declare("Image", "tiny", ImageSpec(os="tiny", kernel="k", initrd="i"))
        for number in (1, 2):
            name, address = f"par1-{number}", f"198.18.1.{number}"
            spec = {"site": "par1", "cpu": 4, "memory": "4Gi", "address": address}
            await self.declare("Host", name, HostSpec.model_validate(spec))
            lease = {"host": name, "site": "par1", "incarnation": life(name), "address": address, "ttl": 10}
            await self.store.commit([], [Put(layout.lease(name), HostLease.model_validate(lease).to_json())])
        for name in ("db", "web"):
            await self.declare(
                "VirtualMachine",
                name,
                VirtualMachineSpec.model_validate({"memory": "256Mi", "boot": {"image": "tiny"}}),
            )
        done = await self.store.commit([], [Put(layout.CONTROLLERS, b"me")])
        self.term = Leadership(layout.CONTROLLERS, done.revision, 0)

    async def declare(self, kind: str, name: str, spec: Model) -> None:
        found = Resource(api_version="gemel/v1", kind=kind, metadata=Metadata(name=name), spec=spec)
        await self.store.commit([], [Put(layout.resource(kind, name), found.to_json())])

    def leader(self) -> Leader:
        recorder = Recorder(self.store, "controller me", self.clock)
        return Leader(self.store, self.view, self.clock, recorder, lambda: self.term)

    async def turns(self, leader: Leader, number: int = 3) -> None:
        assert self.term is not None
        for _ in range(number):
            await leader.turn(self.term)
            await self.clock.sleep(0.01)  # the view follows

    async def keys(self, prefix: str) -> list[str]:
        return [layout.leaf(item.key) for item in (await self.store.list(prefix)).items]

    async def said(self) -> str:
        return " ".join(item.value.decode() for item in (await self.store.list(layout.EVENTS)).items)


def at_desk(scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def main() -> None:
        desk = Desk()
        await desk.begin()
        async with desk.view:
            await desk.view.ready()
            await scenario(desk)

    run(main())


def test_it_issues_tickets_and_places_guests() -> None:
    async def scenario(desk: Desk) -> None:
        await desk.turns(desk.leader())
        assert await desk.keys(layout.TICKETS) == ["vm.db", "vm.web"]
        assert await desk.keys(layout.ASSIGNMENTS) == ["db", "web"]

    at_desk(scenario)


def test_at_rest_it_writes_nothing() -> None:
    async def scenario(desk: Desk) -> None:
        leader = desk.leader()
        await desk.turns(leader, 5)
        before = (await desk.store.list(layout.ROOT)).revision
        await desk.turns(leader, 20)
        assert (await desk.store.list(layout.ROOT)).revision == before

    at_desk(scenario)


def test_a_leader_whose_term_is_over_commits_nothing() -> None:
    async def scenario(desk: Desk) -> None:
        leader = desk.leader()
        await desk.store.commit([], [Put(layout.CONTROLLERS, b"me")])  # the same key of the same creation: it leads
        assert desk.term is not None
        desk.term = Leadership(desk.term.key, desk.term.create_revision - 1, 0)
        await desk.turns(leader)
        for prefix in (layout.TICKETS, layout.ASSIGNMENTS, layout.STATUS):
            assert await desk.keys(prefix) == []

    at_desk(scenario)


@pytest.mark.parametrize("value", [b"", b"{", b"{}", b"\xff"])
def test_a_record_that_cannot_be_read_is_left_alone_and_said(value: bytes) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.store.commit([], [Put(layout.assignment("db"), value)])
        await desk.clock.sleep(0.01)
        await desk.turns(desk.leader(), 4)
        found = await desk.store.get(layout.assignment("db"))
        assert found is not None
        assert found.value == value
        assert "web" in await desk.keys(layout.ASSIGNMENTS)
        assert "Unreadable" in await desk.said()

    at_desk(scenario)


def test_a_step_that_the_check_refuses_is_dropped_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_guests = compute_plan.plan_guests

    def strange(scene: Any) -> Any:
        """A planner that places ``db`` under an epoch that no ticket has."""
        plan = plan_guests(scene)
        bad = granted("db", "par1-1", epoch=9, application="vm.db").assignment
        steps = [step for step in plan.steps if step.guest != "db"]
        wrong = Step(compute_plan.Verb.PLACE, bad.guest, None, bad, "vm.db", 1)
        return compute_plan.Plan((wrong, *steps), plan.unplaced)

    async def scenario(desk: Desk) -> None:
        monkeypatch.setattr(compute_plan, "plan_guests", strange)
        await desk.turns(desk.leader(), 4)
        assert await desk.keys(layout.ASSIGNMENTS) == ["web"]
        assert (await desk.said()).count("PlanRefused") == 2  # without a ticket, then beside it: each said once

    at_desk(scenario)
