"""Every verb of the compute plan, each from the case that asks for it, and from those that must not."""

import pytest
from tests.unit.compute.scenes import GIB, GRA, granted, guest, host, life, lost, report, right, scene

from gemel.compute.kinds import GuestState
from gemel.compute.plan import Scene, Step, Unplaced, Verb, check_plan, plan_guests
from gemel.core.identity import HostName

RUNNING, STOPPED, FAILED = GuestState.RUNNING, GuestState.STOPPED, GuestState.FAILED


def one(planned: Scene) -> Step | Unplaced | None:
    """What is planned, after the check that every plan must pass."""
    plan = plan_guests(planned)
    check_plan(planned, plan.steps)
    found = (*plan.steps, *plan.unplaced)
    assert len(found) <= 1, found
    return found[0] if found else None


def step(planned: Scene, verb: Verb) -> Step:
    found = one(planned)
    assert isinstance(found, Step), found
    assert found.verb is verb, found
    return found


def unplaced(planned: Scene) -> str:
    found = one(planned)
    assert isinstance(found, Unplaced), found
    return "; ".join(found.reasons)


class TestPlace:
    def test_at_the_ticket_s_site_under_its_epoch(self) -> None:
        done = step(scene(guests=[guest("db")], rights={"bank": right(GRA, epoch=4)}), Verb.PLACE)
        assert done.after is not None
        assert (done.after.host, done.after.epoch, done.after.incarnation) == ("gra1-1", 4, life("gra1-1"))
        assert done.ticket_revision == 30
        assert done.needs == (("gra1-1", life("gra1-1")),)
        assert done.before is None

    def test_with_a_generation_that_no_report_tells_of(self) -> None:
        """Else the old word that it stopped would be taken for the next one."""
        old = report("db", "par1-1", STOPPED, generation=2)
        done = step(scene(guests=[guest("db")], reports=[old]), Verb.PLACE)
        assert done.after is not None
        assert done.after.generation == 3

    def test_not_without_ticket(self) -> None:
        assert "no ticket" in unplaced(scene(guests=[guest("db")], rights={}))

    def test_not_while_the_ticket_drains(self) -> None:
        assert one(scene(guests=[guest("db")], rights={"bank": right(open=False)})) is None

    def test_not_when_it_is_not_to_run(self) -> None:
        assert one(scene(guests=[guest("db", running=False)])) is None

    def test_after_the_tiers_that_come_first(self) -> None:
        first, second = guest("db"), guest("web", after=("db",))
        waiting = plan_guests(scene(guests=[first, second]))
        assert [each.guest for each in waiting.steps] == ["db"]
        assert [each.reasons for each in waiting.unplaced] == [("waits for db",)]
        here = granted("db", "par1-1")
        told = report("db", "par1-1", RUNNING)
        assert step(scene(guests=[first, second], grants=[here], reports=[told]), Verb.PLACE).guest == "web"

    def test_two_guests_that_fit_only_once_do_not_share_the_memory(self) -> None:
        small = [host(f"par1-{n}", memory=GIB) for n in (1, 2, 3)]
        many = [guest(f"g{n}") for n in range(4)]
        plan = plan_guests(scene(guests=many, hosts=small))
        assert len({each.after.host for each in plan.steps if each.after}) == 3
        assert [each.guest for each in plan.unplaced] == ["g3"]


class TestLostHost:
    def test_restart_beside_when_settled(self) -> None:
        gone = scene(guests=[guest("db")], hosts=[lost("par1-1")], grants=[granted("db", "par1-1")], settled=["par1-1"])
        done = step(gone, Verb.RESTART)
        assert done.after is not None
        assert done.after.host in ("par1-2", "par1-3")
        assert done.after.generation == 2
        assert done.dead == (("par1-1", life("par1-1")),)

    def test_wait_until_settled(self) -> None:
        assert one(scene(guests=[guest("db")], hosts=[lost("par1-1")], grants=[granted("db", "par1-1")])) is None

    def test_a_host_that_came_back_with_another_life_needs_no_settling(self) -> None:
        back = host("par1-1", incarnation=life("par1-1", 2))
        done = step(scene(guests=[guest("db")], hosts=[back], grants=[granted("db", "par1-1")]), Verb.RESTART)
        assert done.dead == (("par1-1", life("par1-1")),)

    @pytest.mark.parametrize(
        ("running", "is_open"), [(False, True), (True, False)], ids=["not to run", "the ticket drains"]
    )
    def test_forgotten_when_it_is_not_to_start(self, running: bool, is_open: bool) -> None:
        gone = scene(
            guests=[guest("db", running=running)],
            hosts=[lost("par1-1")],
            grants=[granted("db", "par1-1")],
            rights={"bank": right(open=is_open)},
            settled=["par1-1"],
        )
        done = step(gone, Verb.FORGET)
        assert done.after is None
        assert done.dead == (("par1-1", life("par1-1")),)

    def test_nowhere_to_go_says_why_host_by_host(self) -> None:
        gone = [lost(f"par1-{n}") for n in (1, 2, 3)]
        names = [each.name for each in gone]
        said = unplaced(scene(guests=[guest("db")], hosts=gone, grants=[granted("db", "par1-1")], settled=names))
        assert "par1-2: no lease" in said

    def test_an_undeclared_host_is_not_taken_for_dead_without_the_commit_s_proof(self) -> None:
        """Its lease is not in the scene; the step compares in the store that there is none."""
        done = step(scene(guests=[guest("db")], grants=[granted("db", "elsewhere")]), Verb.RESTART)
        assert done.dead == (("elsewhere", life("elsewhere")),)


class TestStopAndStart:
    @pytest.mark.parametrize(
        ("running", "is_open", "why"), [(False, True, "declared not running"), (True, False, "the ticket drains")]
    )
    def test_stop(self, running: bool, is_open: bool, why: str) -> None:
        here = scene(
            guests=[guest("db", running=running)],
            grants=[granted("db", "par1-1")],
            rights={"bank": right(open=is_open)},
        )
        done = step(here, Verb.STOP)
        assert done.after is not None
        assert (done.after.running, done.after.host, done.after.generation) == (False, "par1-1", 2)
        assert done.reasons == (why,)

    def test_stopped_and_to_run_again_is_forgotten_on_the_host_s_word(self) -> None:
        still = granted("db", "par1-1", running=False, generation=3)
        word = report("db", "par1-1", STOPPED, generation=3, revision=77)
        done = step(scene(guests=[guest("db")], grants=[still], reports=[word]), Verb.FORGET)
        assert done.reports == (("par1-1", 77),)

    @pytest.mark.parametrize(
        ("state", "generation", "number"),
        [(GuestState.STOPPING, 3, 1), (STOPPED, 2, 1), (STOPPED, 3, 9), (FAILED, 3, 1), (GuestState.UNKNOWN, 3, 1)],
        ids=["stopping", "an older grant's word", "an earlier life's word", "failed", "unknown"],
    )
    def test_not_on_anything_less(self, state: GuestState, generation: int, number: int) -> None:
        still = granted("db", "par1-1", running=False, generation=3)
        word = report("db", "par1-1", state, generation=generation, number=number)
        assert one(scene(guests=[guest("db")], grants=[still], reports=[word])) is None

    def test_a_stopped_guest_rests(self) -> None:
        still = granted("db", "par1-1", running=False)
        word = report("db", "par1-1", STOPPED)
        assert one(scene(guests=[guest("db", running=False)], grants=[still], reports=[word])) is None


class TestMigrate:
    def asked(self, state: GuestState = RUNNING, to: str | None = None, **changes: object) -> Scene:
        return scene(
            guests=[guest("db")],
            grants=[granted("db", "par1-1")],
            reports=[report("db", "par1-1", state)],
            wishes={"db": to},
            **changes,  # type: ignore[arg-type]
        )

    def test_on_request(self) -> None:
        done = step(self.asked(), Verb.MIGRATE)
        assert done.after is not None
        assert done.after.host == "par1-1"
        assert done.after.target in ("par1-2", "par1-3")
        assert done.after.target_incarnation == life(str(done.after.target))
        assert {name for name, _ in done.needs} == {"par1-1", done.after.target}

    def test_to_the_host_that_was_named(self) -> None:
        done = step(self.asked(to="par1-3"), Verb.MIGRATE)
        assert done.after is not None
        assert done.after.target == "par1-3"

    @pytest.mark.parametrize("to", ["par1-1", "par1-2"], ids=["where it is", "a host without lease"])
    def test_refused_at_once(self, to: str) -> None:
        assert "cannot be migrated" in unplaced(self.asked(to=to, hosts=[lost("par1-2")]))

    def test_never_to_the_other_site(self) -> None:
        assert "cannot be migrated" in unplaced(self.asked(to="gra1-1"))

    @pytest.mark.parametrize("state", [state for state in GuestState if state is not RUNNING])
    def test_only_what_runs(self, state: GuestState) -> None:
        assert one(self.asked(state)) is None

    def test_a_drained_host_is_left(self) -> None:
        drained = host("par1-1", schedulable=False)
        here = scene(
            guests=[guest("db")],
            hosts=[drained],
            grants=[granted("db", "par1-1")],
            reports=[report("db", "par1-1", RUNNING)],
        )
        done = step(here, Verb.MIGRATE)
        assert "par1-1 is drained" in done.reasons


class TestUnderWay:
    """A live migration from par1-1 to par1-2: what ends it, and what does not."""

    def moving(self, *reports: object, hosts: object = (), settled: object = (), running: bool = True) -> Scene:
        return scene(
            guests=[guest("db", running=running)],
            hosts=hosts,  # type: ignore[arg-type]
            grants=[granted("db", "par1-1", to="par1-2", generation=2)],
            reports=reports,  # type: ignore[arg-type]
            settled=settled,  # type: ignore[arg-type]
        )

    def test_silence_decides_nothing(self) -> None:
        assert one(self.moving()) is None

    @pytest.mark.parametrize("state", [state for state in GuestState if state not in (STOPPED, FAILED)])
    def test_the_source_s_other_words_decide_nothing(self, state: GuestState) -> None:
        assert one(self.moving(report("db", "par1-1", state, generation=2))) is None

    def test_words_about_the_grant_before_decide_nothing(self) -> None:
        assert one(self.moving(report("db", "par1-1", STOPPED), report("db", "par1-2", RUNNING))) is None

    def test_the_target_runs_it(self) -> None:
        done = step(self.moving(report("db", "par1-2", RUNNING, generation=2, revision=81)), Verb.ARRIVED)
        assert done.after is not None
        assert (done.after.host, done.after.target, done.after.generation) == ("par1-2", None, 3)
        assert done.reports == (("par1-2", 81),)

    def test_the_source_says_it_left(self) -> None:
        done = step(self.moving(report("db", "par1-1", STOPPED, generation=2)), Verb.ARRIVED)
        assert done.after is not None
        assert done.after.host == "par1-2"
        assert done.needs == (("par1-2", life("par1-2")),)

    def test_the_source_says_it_failed(self) -> None:
        done = step(self.moving(report("db", "par1-1", FAILED, generation=2)), Verb.STAY)
        assert done.after is not None
        assert (done.after.host, done.after.target) == ("par1-1", None)
        assert done.reports == (("par1-1", 70),)

    def test_the_source_was_lost(self) -> None:
        """It ended there with its lease: the target adopts what arrived, or starts it."""
        done = step(self.moving(hosts=[lost("par1-1")]), Verb.RESTART)
        assert done.after is not None
        assert (done.after.host, done.after.target) == ("par1-2", None)
        assert done.dead == (("par1-1", life("par1-1")),)
        assert done.needs == (("par1-2", life("par1-2")),)

    def test_the_target_was_lost_and_the_source_says_nothing(self) -> None:
        """It may still run at the source: nothing is started anywhere."""
        assert one(self.moving(hosts=[lost("par1-2")], settled=["par1-2"])) is None

    def test_the_target_was_lost_and_the_source_failed(self) -> None:
        failed = report("db", "par1-1", FAILED, generation=2)
        done = step(self.moving(failed, hosts=[lost("par1-2")]), Verb.STAY)
        assert done.after is not None
        assert done.after.host == "par1-1"

    def test_the_target_was_lost_just_after_it_arrived(self) -> None:
        left = report("db", "par1-1", STOPPED, generation=2)
        done = step(self.moving(left, hosts=[lost("par1-2")], settled=["par1-2"]), Verb.FORGET)
        assert done.dead == (("par1-2", life("par1-2")),)
        assert done.reports == (("par1-1", 70),)

    def test_a_report_of_a_lost_target_is_not_an_arrival(self) -> None:
        ran = report("db", "par1-2", RUNNING, generation=2)
        assert one(self.moving(ran, hosts=[lost("par1-2")])) is None

    def test_both_lost(self) -> None:
        both = self.moving(hosts=[lost("par1-1"), lost("par1-2")], settled=["par1-1", "par1-2"])
        done = step(both, Verb.RESTART)
        assert done.after is not None
        assert done.after.host == "par1-3"
        assert set(done.dead) == {("par1-1", life("par1-1")), ("par1-2", life("par1-2"))}

    def test_it_is_not_stopped_before_it_is_known_where_it_is(self) -> None:
        assert one(self.moving(running=False)) is None


class TestRemoved:
    """The guest is no longer declared."""

    def test_stopped_first(self) -> None:
        done = step(scene(grants=[granted("db", "par1-1")]), Verb.STOP)
        assert done.after is not None
        assert not done.after.running

    def test_then_forgotten(self) -> None:
        still = granted("db", "par1-1", running=False)
        done = step(scene(grants=[still], reports=[report("db", "par1-1", STOPPED)]), Verb.FORGET)
        assert done.reports == (("par1-1", 70),)

    def test_not_before_its_host_has_said_so(self) -> None:
        assert one(scene(grants=[granted("db", "par1-1", running=False)])) is None

    def test_forgotten_with_its_host(self) -> None:
        done = step(scene(hosts=[lost("par1-1")], grants=[granted("db", "par1-1")]), Verb.FORGET)
        assert done.dead == (("par1-1", life("par1-1")),)

    def test_in_the_middle_of_a_migration_the_migration_ends_first(self) -> None:
        """A stop that dropped the target would leave a run behind that nobody was asked to end."""
        moving = granted("db", "par1-1", to="par1-2", generation=2)
        assert one(scene(grants=[moving])) is None
        arrived = report("db", "par1-2", RUNNING, generation=2)
        assert step(scene(grants=[moving], reports=[arrived]), Verb.ARRIVED)

    def test_in_the_middle_of_a_migration_whose_source_is_lost(self) -> None:
        moving = granted("db", "par1-1", to="par1-2", generation=2)
        done = step(scene(hosts=[lost("par1-1")], grants=[moving]), Verb.ARRIVED)
        assert done.after is not None
        assert done.after.host == "par1-2"
        assert done.dead == (("par1-1", life("par1-1")),)


class TestRegrouped:
    """The guest's labels put it into another application than the one whose ticket it runs under."""

    def changed(self, **changes: object) -> Scene:
        rights = {"bank": right(), "shop": right(GRA, revision=31)}
        mover = guest("db", application="shop", running=changes.pop("running", True))
        return scene(guests=[mover], rights=rights, **changes)  # type: ignore[arg-type]

    def test_it_runs_on_under_the_old_ticket(self) -> None:
        assert "stop it once" in unplaced(self.changed(grants=[granted("db", "par1-1")]))

    def test_stopping_it_ends_the_old_grant(self) -> None:
        done = step(self.changed(grants=[granted("db", "par1-1")], running=False), Verb.STOP)
        assert done.ticket_revision is None

    def test_then_it_is_forgotten_and_placed_under_the_new(self) -> None:
        still = granted("db", "par1-1", running=False)
        assert step(self.changed(grants=[still], reports=[report("db", "par1-1", STOPPED)]), Verb.FORGET)
        done = step(self.changed(), Verb.PLACE)
        assert done.after is not None
        assert (done.after.application, done.after.host) == ("shop", "gra1-1")

    def test_a_drained_host_does_not_send_it_to_the_other_site(self) -> None:
        drained = host("par1-1", schedulable=False)
        told = report("db", "par1-1", RUNNING)
        moved = self.changed(hosts=[drained], grants=[granted("db", "par1-1")], reports=[told])
        assert "stop it once" in unplaced(moved)


def test_an_assignment_of_another_epoch_is_said_and_left_alone() -> None:
    old = scene(guests=[guest("db")], grants=[granted("db", "par1-1", epoch=1)], rights={"bank": right(epoch=2)})
    assert "epoch 1 under ticket 2" in unplaced(old)


class TestCheck:
    """The check refuses what the planner never makes."""

    def test_a_grant_taken_without_proof(self) -> None:
        here = scene(guests=[guest("db")], grants=[granted("db", "par1-1")])
        before = here.granted[next(iter(here.granted))]
        with pytest.raises(AssertionError, match="without proof"):
            check_plan(here, [Step(Verb.FORGET, before.assignment.guest, before, None, "bank", 30)])

    def test_a_living_host_called_dead(self) -> None:
        here = scene(guests=[guest("db")], grants=[granted("db", "par1-1")])
        before = here.granted[next(iter(here.granted))]
        dead = ((HostName("par1-1"), life("par1-1")),)
        with pytest.raises(AssertionError, match="is alive"):
            check_plan(here, [Step(Verb.FORGET, before.assignment.guest, before, None, "bank", 30, dead=dead)])

    def test_two_steps_for_one_guest(self) -> None:
        empty = scene(guests=[guest("db")])
        placed = plan_guests(empty).steps[0]
        with pytest.raises(AssertionError, match="two steps"):
            check_plan(empty, [placed, placed])

    @pytest.mark.parametrize(
        ("where", "epoch", "says"),
        [("gra1-1", 1, "wrong site"), ("par1-1", 2, "epoch 2"), ("par1-2", 1, "has no lease")],
    )
    def test_a_grant_beside_the_ticket(self, where: str, epoch: int, says: str) -> None:
        empty = scene(guests=[guest("db")], hosts=[lost("par1-2")])
        after = granted("db", where, epoch=epoch).assignment
        with pytest.raises(AssertionError, match=says):
            check_plan(empty, [Step(Verb.PLACE, after.guest, None, after, "bank", 30)])

    def test_an_arrival_where_it_was_not_granted(self) -> None:
        moving = scene(guests=[guest("db")], grants=[granted("db", "par1-1", to="par1-2")])
        before = moving.granted[next(iter(moving.granted))]
        after = granted("db", "par1-3").assignment
        with pytest.raises(AssertionError, match="not granted"):
            check_plan(moving, [Step(Verb.ARRIVED, after.guest, before, after, "bank", 30)])
