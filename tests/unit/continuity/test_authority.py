"""The rule of who may run, over every combination; and the inequality that makes it safe."""

from dataclasses import replace
from itertools import product
from math import inf, nan

import pytest
from tests.unit.compute.scenes import NOW, granted

from gemel.compute.kinds import Assignment
from gemel.continuity.authority import Holder, LeaseTerms, refuses_site, refuses_to_run
from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.core.identity import Epoch, GuestName, HostName, Incarnation, SiteName, VolumeName
from gemel.core.outcome import Permanent
from gemel.storage.kinds import VolumeRecord

ME, PAR, GRA = HostName("par1-1"), SiteName("par1"), SiteName("gra1")
HOLDER = Holder(ME, PAR, Incarnation("par1-1#1"), deadline=100.0)


def ticket(site: SiteName = PAR, epoch: int = 1, phase: TicketPhase = TicketPhase.ACTIVE) -> Ticket:
    to = GRA if phase is TicketPhase.DRAINING else None
    return Ticket(application="bank", site=site, epoch=Epoch(epoch), phase=phase, to=to, since=NOW)


def volume(site: SiteName = PAR, epoch: int = 1) -> VolumeRecord:
    return VolumeRecord(
        volume=VolumeName("db.data"),
        guest=GuestName("db"),
        application="bank",
        size=2**30,
        site=site,
        epoch=Epoch(epoch),
        image=f"db.data.e{epoch}",
        origin_snapshot=f"e{epoch}-0",
    )


HOLDERS = {
    "no lease": None,
    "lease": HOLDER,
    "another life": replace(HOLDER, incarnation=Incarnation("par1-1#2")),
    "at the other site": replace(HOLDER, site=GRA),
}
TIMES = {"before the deadline": 99.999, "at the deadline": 100.0, "after": 1e9}
ASSIGNMENTS: dict[str, Assignment | None] = {
    "none": None,
    "to me": granted("db", "par1-1").assignment,
    "to me as target": granted("db", "par1-2", to="par1-1").assignment,
    "to another": granted("db", "par1-2").assignment,
    "to me, to be stopped": granted("db", "par1-1", running=False).assignment,
}
TICKETS = {
    "none": None,
    "mine": ticket(),
    "draining": ticket(phase=TicketPhase.DRAINING),
    "newer": ticket(epoch=2),
    "elsewhere": ticket(site=GRA),
    "elsewhere and newer": ticket(site=GRA, epoch=2),
}
VOLUMES: dict[str, tuple[VolumeRecord | None, ...]] = {
    "none": (),
    "mine": (volume(),),
    "one is missing": (volume(), None),
    "older epoch": (volume(epoch=0),),
    "at the other site": (volume(GRA),),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("held", TICKETS)
def test_every_combination_has_an_answer_and_only_the_right_ones_run(holder: str, assignment: str, held: str) -> None:
    for now, volumes in product(TIMES, VOLUMES):
        refusal = refuses_to_run(HOLDERS[holder], TIMES[now], ASSIGNMENTS[assignment], TICKETS[held], VOLUMES[volumes])
        at_home = holder == "lease" and held in ("mine", "draining") and volumes in ("none", "mine")
        abroad = holder == "at the other site" and held == "elsewhere" and volumes in ("none", "at the other site")
        may = now == "before the deadline" and assignment.startswith("to me") and (at_home or abroad)
        assert (refusal is None) == may, (holder, now, assignment, held, volumes, refusal)
        assert refusal is None or refusal.strip()


def test_the_reason_names_what_is_missing() -> None:
    mine = ASSIGNMENTS["to me"]
    reasons = [
        (refuses_to_run(None, 0, mine, ticket()), "holds no lease"),
        (refuses_to_run(HOLDER, 102, mine, ticket()), "2.0 s ago"),
        (refuses_to_run(HOLDER, 0, None, ticket()), "not assigned"),
        (refuses_to_run(HOLDER, 0, ASSIGNMENTS["to another"], ticket()), "par1-2"),
        (refuses_to_run(HOLDERS["another life"], 0, mine, ticket()), "earlier life"),
        (refuses_to_run(HOLDER, 0, mine, ticket(epoch=7)), "epoch 7"),
        (refuses_to_run(HOLDER, 0, mine, ticket(GRA)), "gra1"),
        (refuses_to_run(HOLDER, 0, mine, ticket(), [None]), "to be created"),
        (refuses_to_run(HOLDER, 0, mine, ticket(), [volume(GRA, 2)]), "db.data"),
    ]
    for said, part in reasons:
        assert said is not None
        assert part in said


def test_volumes_and_addresses_follow_the_same_rule() -> None:
    assert refuses_site(PAR, 1, ticket()) is None
    assert refuses_site(PAR, 1, None) is not None
    assert refuses_site(PAR, 1, ticket(epoch=2)) is not None
    assert refuses_site(PAR, 1, ticket(GRA)) is not None


class TestTerms:
    def test_the_defaults_hold(self) -> None:
        terms = LeaseTerms().checked()
        assert terms.deadline(50.0) == pytest.approx(56.5)
        assert terms.watchdog_deadline(50.0) == pytest.approx(57.5)

    def test_the_last_moment_of_a_guest_is_before_the_first_of_forgetting(self) -> None:
        terms = LeaseTerms().checked()
        assert terms.watchdog_deadline(0.0) + terms.kill_time <= terms.ttl * (1 - terms.drift)

    @pytest.mark.parametrize(
        "changes",
        [
            {"margin": 0.5},
            {"watchdog_grace": 3.0},
            {"kill_time": 4.0},
            {"drift": 0.2},
            {"margin": 2.5},  # equal but for the drift
        ],
    )
    def test_what_breaks_the_inequality_is_refused_with_what_to_do(self, changes: dict[str, float]) -> None:
        with pytest.raises(Permanent, match=r"raise margin by \d"):
            replace(LeaseTerms(), **changes).checked()

    def test_raising_the_margin_as_told_is_enough(self) -> None:
        bad = replace(LeaseTerms(), kill_time=3.0)
        with pytest.raises(Permanent) as told:
            bad.checked()
        by = float(str(told.value).rsplit("by ", 1)[1].split()[0])
        replace(bad, margin=bad.margin + by + 1e-3).checked()

    @pytest.mark.parametrize("changes", [{"margin": 9.0}, {"renew_every": 4.0}, {"call_timeout": 6.0}])
    def test_no_room_for_two_renewals(self, changes: dict[str, float]) -> None:
        with pytest.raises(Permanent, match="no room"):
            replace(LeaseTerms(), **changes).checked()

    @pytest.mark.parametrize("name", ["ttl", "margin", "renew_every", "call_timeout", "watchdog_grace", "kill_time"])
    @pytest.mark.parametrize("value", [nan, inf, -inf, 0.0, -1.0])
    def test_what_is_not_a_positive_number(self, name: str, value: float) -> None:
        with pytest.raises(Permanent, match=name):
            replace(LeaseTerms(), **{name: value}).checked()

    @pytest.mark.parametrize("drift", [nan, -0.1, 1.0])
    def test_what_is_not_a_drift(self, drift: float) -> None:
        with pytest.raises(Permanent, match="drift"):
            replace(LeaseTerms(), drift=drift).checked()
