"""Tickets: first issue, planned moves, forced moves; each from what it needs, and refused without."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.compute.scenes import GRA, NOW, PAR, granted, host, lost, report
from tests.unit.continuity.scenes import GRA_HOSTS, PAR_HOSTS, application, cut, held, plan, replica, scene, volume

from gemel.compute.kinds import GuestState
from gemel.continuity.kinds import TicketPhase
from gemel.continuity.plan import Plan, Scene, Step, Verb, check_plan
from gemel.core.identity import Epoch
from gemel.storage.kinds import CutPhase

GONE = [lost(name) for name in PAR_HOSTS]


def step(of: Scene, verb: Verb) -> Step:
    found = plan(of)
    assert [each.verb for each in found.steps] == [verb], found
    return found.steps[0]


def alarm(of: Scene) -> str:
    found = plan(of)
    assert not found.steps, found
    return found.alarms[0].message


def quiet(of: Scene) -> bool:
    found = plan(of)
    return not found.steps and not found.alarms


class TestIssue:
    def test_at_the_preferred_site(self) -> None:
        done = step(scene(), Verb.ISSUE)
        assert done.after is not None
        assert (done.after.site, done.after.epoch, done.after.phase) == (PAR, 1, TicketPhase.ACTIVE)
        assert done.before is None

    def test_waits_for_a_host_there(self) -> None:
        assert "no host of par1" in alarm(scene(hosts=GONE))

    def test_a_ticket_that_stands_is_left_alone(self) -> None:
        assert quiet(scene(ticket=held()))


class TestDrain:
    def wished(self, to: Any = GRA, **changes: Any) -> Scene:
        fields = {"ticket": held(), "volumes": [volume()], "replicas": [replica()], "wish": to}
        return scene(**{**fields, **changes})

    def test_begun(self) -> None:
        done = step(self.wished(), Verb.DRAIN)
        assert done.after is not None
        assert (done.after.phase, done.after.to, done.after.epoch) == (TicketPhase.DRAINING, GRA, 1)
        assert done.settles
        assert not done.deletes

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"to": PAR}, "there already"),
            ({"app": application(protected=False)}, "not protected"),
            ({"hosts": [lost(name) for name in GRA_HOSTS]}, "holds a lease"),
            ({"replicas": []}, "no complete replica"),
            ({"replicas": [replica(sequences=())]}, "no complete replica"),
            ({"replicas": [replica(site=PAR)]}, "no complete replica"),
            ({"volumes": [volume(GRA, 1)]}, "not been promoted"),
            ({"ticket": held(epoch=2), "volumes": [volume(epoch=1)]}, "not been promoted"),
            ({"ticket": held(epoch=2), "volumes": [volume(epoch=2)]}, "does not follow epoch 2"),
        ],
    )
    def test_refused_and_settled_with_the_reason(self, changes: dict[str, Any], says: str) -> None:
        done = step(self.wished(**changes), Verb.REFUSE)
        assert done.after is None
        assert done.settles
        assert says in done.reasons[0]


STILL = granted("db", "par1-1", running=False, generation=2)
WORD = report("db", "par1-1", GuestState.STOPPED, generation=2, revision=77)


class TestComplete:
    def drained(self, **changes: Any) -> Scene:
        fields: dict[str, Any] = {
            "ticket": held(to=GRA),
            "grants": [STILL],
            "reports": [WORD],
            "volumes": [volume()],
            "replicas": [replica(sequences=(7, 8), final=8)],
            "cuts": [cut()],
        }
        return scene(**{**fields, **changes})

    def test_when_all_is_there(self) -> None:
        done = step(self.drained(), Verb.COMPLETE)
        assert done.after is not None
        assert (done.after.site, done.after.epoch, done.after.phase) == (GRA, 2, TicketPhase.ACTIVE)
        assert done.deletes == (STILL,)
        assert done.reports == (("par1-1", "db", 77),)

    def test_without_volumes_the_stop_is_enough(self) -> None:
        assert step(self.drained(volumes=[], replicas=[], cuts=[]), Verb.COMPLETE)

    def test_when_nothing_was_granted(self) -> None:
        assert step(self.drained(grants=[], reports=[]), Verb.COMPLETE)

    @pytest.mark.parametrize(
        "changes",
        [
            {"cuts": []},
            {"cuts": [cut(final=False)]},
            {"cuts": [cut(phase=CutPhase.FREEZING)]},
            {"cuts": [cut(epoch=Epoch(2))]},
            {"cuts": [cut(ticket_revision=29)]},
            {"cuts": [cut(ticket_revision=None)]},
            {"cuts": [cut(volumes=())]},
            {"replicas": []},
            {"replicas": [replica(sequences=(7,))]},
            {"replicas": [replica(sequences=(7, 8))]},
            {"replicas": [replica(sequences=(6, 7), final=7)]},
            {"replicas": [replica(site=PAR, sequences=(8,), final=8)]},
            {"replicas": [replica(epoch=2, sequences=(8,), final=8)]},
        ],
        ids=[
            "no cut",
            "not final",
            "not taken yet",
            "of another epoch",
            "of an earlier draining",
            "of no draining",
            "without the volume",
            "no replica",
            "not there yet",
            "there and not marked final",
            "an earlier final one",
            "complete at the wrong site",
            "of another writer",
        ],
    )
    def test_only_with_the_final_cut_of_this_very_draining(self, changes: dict[str, Any]) -> None:
        assert quiet(self.drained(**changes))

    @pytest.mark.parametrize(
        "changes",
        [
            {"reports": []},
            {"reports": [report("db", "par1-1", GuestState.STOPPED, generation=1)]},
            {"reports": [report("db", "par1-1", GuestState.STOPPED, generation=2, number=2)]},
            {"reports": [report("db", "par1-1", GuestState.STOPPING, generation=2)]},
            {"reports": [report("db", "par1-1", GuestState.UNKNOWN, generation=2)]},
            {"reports": [report("db", "par1-2", GuestState.STOPPED, generation=2)]},
            {"grants": [granted("db", "par1-1", generation=2)]},
            {"grants": [granted("db", "par1-1", to="par1-2", running=False, generation=2)]},
        ],
        ids=[
            "nothing said",
            "of an older grant",
            "of another life",
            "stopping",
            "unknown",
            "of another host",
            "not asked to stop",
            "under migration",
        ],
    )
    def test_only_on_the_host_s_own_word(self, changes: dict[str, Any]) -> None:
        assert quiet(self.drained(**changes))

    def test_called_off_by_the_wish_to_stay_even_when_all_is_there(self) -> None:
        done = step(self.drained(wish=PAR), Verb.CANCEL)
        assert done.after is not None and done.settles
        assert (done.after.site, done.after.epoch, done.after.phase) == (PAR, 1, TicketPhase.ACTIVE)
        assert not done.deletes

    def test_the_same_wish_again_is_settled_without_a_change(self) -> None:
        again = step(self.drained(wish=GRA), Verb.REFUSE)
        assert again.settles and again.after is None

    def test_cancelled_when_nobody_is_there_to_take_over(self) -> None:
        done = step(self.drained(hosts=[lost(name) for name in GRA_HOSTS]), Verb.CANCEL)
        assert done.after is not None
        assert (done.after.site, done.after.epoch, done.after.phase) == (PAR, 1, TicketPhase.ACTIVE)
        assert not done.deletes


class TestForce:
    def fallen(self, **changes: Any) -> Scene:
        fields: dict[str, Any] = {
            "ticket": held(),
            "hosts": GONE,
            "settled": PAR_HOSTS,
            "grants": [granted("db", "par1-1")],
            "volumes": [volume()],
            "replicas": [replica()],
        }
        return scene(**{**fields, **changes})

    def test_when_every_lease_of_the_site_is_gone(self) -> None:
        done = step(self.fallen(), Verb.FORCE)
        assert done.after is not None
        assert (done.after.site, done.after.epoch) == (GRA, 2)
        assert done.gone == PAR_HOSTS
        assert [each.assignment.guest for each in done.deletes] == ["db"]

    def test_out_of_a_draining(self) -> None:
        assert step(self.fallen(ticket=held(to=GRA)), Verb.FORCE).after is not None

    def test_not_while_one_host_lives(self) -> None:
        assert quiet(self.fallen(hosts=GONE[:2]))

    def test_not_before_all_have_settled(self) -> None:
        assert quiet(self.fallen(settled=PAR_HOSTS[:2]))

    def test_a_site_without_hosts_is_not_a_lost_site(self) -> None:
        empty = self.fallen()
        hosts = {name: each for name, each in empty.compute.hosts.items() if each.site == GRA}
        assert quiet(replace(empty, compute=replace(empty.compute, hosts=hosts)))

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"app": application(protected=False)}, "not protected"),
            ({"app": application(automatic=False)}, "failover: manual"),
            ({"replicas": []}, "no complete replica of db.data"),
            ({"replicas": [replica(sequences=())]}, "no complete replica of db.data"),
            ({"hosts": [*GONE, *(lost(name) for name in GRA_HOSTS)]}, "no host there holds a lease"),
        ],
    )
    def test_where_it_cannot_be_a_person_is_told_why(self, changes: dict[str, Any], says: str) -> None:
        assert says in alarm(self.fallen(**changes))

    def test_under_a_manual_policy_a_person_s_move_decides_it(self) -> None:
        done = step(self.fallen(app=application(automatic=False), wish=GRA), Verb.FORCE)
        assert done.settles
        assert "no other site" in alarm(self.fallen(app=application(automatic=False), wish=PAR))

    def test_an_image_that_was_never_left_there_needs_no_replica(self) -> None:
        """The promotion elsewhere did not finish before that site was lost too."""
        assert step(self.fallen(ticket=held(epoch=2), volumes=[volume(GRA, 1)], replicas=[]), Verb.FORCE)

    def test_hosts_with_grants_count_whatever_is_declared_of_them(self) -> None:
        """The record of par1-3 was deleted: its lease is still compared."""
        of = self.fallen(grants=[granted("db", "par1-9")])
        assert "par1-9" in step(of, Verb.FORCE).gone

    def test_a_living_host_with_a_grant_holds_the_move_back(self) -> None:
        """Someone declared it at another site while it ran the guest."""
        moved = host("par1-9", site=GRA)
        assert "may run guests" in alarm(self.fallen(hosts=[*GONE, moved], grants=[granted("db", "par1-9")]))


class TestCheck:
    def force(self, **changes: Any) -> tuple[Scene, Plan]:
        of = TestForce().fallen()
        good = plan(of)
        return of, Plan((replace(good.steps[0], **changes),), ())

    def test_a_move_that_leaves_a_grant(self) -> None:
        of, bad = self.force(deletes=())
        with pytest.raises(AssertionError, match="leaves db granted"):
            check_plan(of, bad)

    def test_a_move_without_proof(self) -> None:
        of, bad = self.force(gone=())
        with pytest.raises(AssertionError, match="nothing proves"):
            check_plan(of, bad)

    def test_an_epoch_that_does_not_follow(self) -> None:
        of, bad = self.force(after=held(GRA, 1).ticket)
        with pytest.raises(AssertionError, match="change together"):
            check_plan(of, bad)
        of, bad = self.force(after=held(PAR, 2).ticket)
        with pytest.raises(AssertionError, match="change together"):
            check_plan(of, bad)


def test_the_time_is_written_down_and_decides_nothing() -> None:
    done = step(TestForce().fallen(), Verb.FORCE)
    assert done.after is not None
    assert done.after.since == NOW
