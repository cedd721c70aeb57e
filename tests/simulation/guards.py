"""What keeps the region safe, each guard with a switch that takes it away. For tests of the tests: a schedule
that finds nothing when a guard is missing proves nothing while it is there.

``verbs`` are the faults that a schedule draws from, so that few seeds are enough.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gemel.agent.host import HostAgent
from gemel.compute import guards as compute_guards
from gemel.compute import local
from gemel.compute.duty import Self
from gemel.compute.kinds import Assignment
from gemel.compute.ports import Domains
from gemel.continuity import authority
from gemel.continuity import guards as continuity_guards
from gemel.continuity import plan as continuity_plan
from gemel.continuity.authority import Holder, LeaseTerms
from gemel.continuity.lease import HostLeaseKeeper
from gemel.core.election import Leadership
from gemel.core.outcome import Present
from gemel.core.store import Compare, Field, Is
from tests.fakes.hypervisor import FakeHypervisor
from tests.simulation.outside import Daemon
from tests.simulation.region import SimulatedHost

Patch = pytest.MonkeyPatch
ROOMY = LeaseTerms()
TIGHT = LeaseTerms(margin=2.55)
"""As little margin as the inequality allows: nothing is left over that could hide a missing guard."""


@dataclass(frozen=True)
class Guard:
    name: str
    remove: Callable[[Patch], None]
    verbs: tuple[str, ...]
    hosts: tuple[str, ...] = ("par1-1",)
    pauses: tuple[float, ...] = (0.7, 2.0, 6.9, 8.5, 15.0)
    steps: int = 14
    terms: LeaseTerms = ROOMY


def margin(patch: Patch) -> None:
    """The inequality is not checked, and leaves no time to stop in."""
    patch.setattr(LeaseTerms, "checked", lambda self: self)
    patch.setattr(LeaseTerms, "deadline", lambda self, sent: sent + self.ttl)


def watchdog(patch: Patch) -> None:
    patch.setattr(SimulatedHost, "start_watchdog", lambda self: setattr(self, "watchdog", object()))
    patch.setattr(SimulatedHost, "stop_watchdog", lambda self: setattr(self, "watchdog", None))


def deadline_from_the_answer(patch: Patch) -> None:
    """The deadline counts from when the answer came, and every answer counts, however late."""
    lived, hold = HostLeaseKeeper._lived, HostLeaseKeeper._renew

    def from_now(self: HostLeaseKeeper, _sent: float, incarnation: str, lease: int, revision: int) -> Any:
        return lived(self, self._clock.monotonic(), incarnation, lease, revision)

    async def patient(self: HostLeaseKeeper, life: Any, left: float) -> bool:
        return await hold(self, life, 2 * left)

    patch.setattr(HostLeaseKeeper, "_lived", from_now)
    patch.setattr(HostLeaseKeeper, "_renew", patient)


def election_guard(patch: Patch) -> None:
    def holds(self: Leadership) -> Compare:
        return Compare(self.key, Field.VERSION, Is.GREATER, -1)

    patch.setattr(Leadership, "guard", holds)


def proof_of_death(patch: Patch) -> None:
    """A commit that takes a guest from a host does not compare that the host's lease is gone."""
    patch.setattr(compute_guards, "compares_dead", lambda *_: [])
    whole = continuity_guards.transaction
    patch.setattr(continuity_guards, "transaction", lambda step: whole(replace(step, gone=())))


def incarnation(patch: Patch) -> None:
    """A host holds what any earlier life of its lease was granted."""
    may = authority.refuses_to_run

    def any_life(holder: Holder | None, now: float, assignment: Assignment | None, *rest: Any) -> str | None:
        if holder is not None and assignment is not None and assignment.host == holder.host:
            assignment = assignment.model_copy(update={"incarnation": holder.incarnation})
        return may(holder, now, assignment, *rest)

    def by_name(me: Self, assignment: Assignment) -> bool:
        return me.host in (assignment.host, assignment.target)

    patch.setattr("gemel.agent.world.refuses_to_run", any_life)
    patch.setattr("gemel.compute.duty._names", by_name)


def clean_before_a_new_life(patch: Patch) -> None:
    async def at_once(self: HostAgent) -> None:
        return None

    patch.setattr(HostAgent, "_clean", at_once)
    patch.setattr(HostAgent, "fence", lambda self, why: None)


def unknown_is_not_absent(patch: Patch) -> None:
    """libvirt did not answer: so nothing runs."""
    ask = FakeHypervisor.observe

    async def guess(self: Daemon) -> Domains:
        found = await ask(self)
        return found if isinstance(found, Present) else Present({})

    patch.setattr(Daemon, "observe", guess)


def starts_under_way(patch: Patch) -> None:
    """'Stopped' is said of a guest whose start is still under way."""
    patch.setattr(local._Case, "may_appear", property(lambda self: False))


def stopped_before_complete(patch: Patch) -> None:
    """A planned move completes without the hosts' word that the guests have stopped."""

    def anything(scene: Any, granted: Any) -> Any:
        return scene.compute.reports.get((granted.assignment.host, granted.assignment.guest))

    patch.setattr(continuity_plan, "_stopped", anything)


TWO = ("par1-1", "par1-2")
ALL: tuple[str, ...] = ()
GUARDS: tuple[Guard, ...] = (
    Guard("margin before the lease's end", margin, ("cut_host", "slow_engine", "heal_links")),
    Guard("watchdog outside the agent", watchdog, ("agent", "stop_agent")),
    Guard(
        "deadline from the time of sending",
        deadline_from_the_answer,
        ("late_answers", "late_answers", "slow_engine", "cut_host"),
        pauses=(0.7, 2.0),
        terms=TIGHT,
    ),
    Guard(
        "election guard in every commit",
        election_guard,
        ("stop_leader_midway", "drain", "stop_or_start"),
        ALL,
        (2.0, 8.5),
    ),
    Guard("absent lease compared in the commit", proof_of_death, ("undeclare", "late_answers", "migrate")),
    Guard("incarnation in the grant", incarnation, ("power", "leaderless", "late_answers", "drain"), steps=24),
    Guard("clean before a new life", clean_before_a_new_life, ("agent", "cut_host", "heal_links"), TWO, (0.7, 6.9)),
    Guard(
        "unknown is not absent", unknown_is_not_absent, ("hang_libvirt", "stop_or_start", "move"), TWO, (0.7, 2.0, 6.0)
    ),
    Guard(
        "no 'stopped' while a start is under way",
        starts_under_way,
        ("slow_engine", "crash_guest", "move"),
        pauses=(0.7, 2.0, 8.5),
    ),
    Guard("stopped before a planned move completes", stopped_before_complete, ("move",)),
)


def names(guards: Iterable[Guard]) -> list[str]:
    return [guard.name for guard in guards]
