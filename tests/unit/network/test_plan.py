"""Addresses follow execution: planned from what runs, checked for every combination."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.core.identity import GuestName
from gemel.network.plan import LocalGuest, plan_announcements, plan_routes
from gemel.network.ports import HostRoute

FIRST, SECOND = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")


def guest(
    name: str = "db", *addresses: IPv4Address, executes: bool = True, granted: bool = True, tap: str = ""
) -> LocalGuest:
    return LocalGuest(GuestName(name), addresses or (FIRST,), tap or f"tap-{name}", executes, granted)


def test_running_guest_is_announced_on_its_tap() -> None:
    plan = plan_routes([guest()], frozenset())
    assert [(a.guest, a.address, a.tap) for a in plan.announce] == [("db", FIRST, "tap-db")]
    assert plan.gateways == ("tap-db",)
    assert plan.withdraw == ()
    assert plan.reasons == (f"announce {FIRST}: db executes here on tap-db",)


def test_guest_that_is_migrated_in_gets_its_gateway_and_no_route() -> None:
    plan = plan_routes([guest(executes=False)], frozenset())
    assert (plan.gateways, plan.announce, plan.withdraw) == (("tap-db",), (), ())


def test_guest_that_was_handed_over_is_withdrawn_while_its_qemu_still_exists() -> None:
    plan = plan_routes([guest(executes=False)], frozenset({HostRoute(FIRST, "tap-db")}))
    assert [route.address for route in plan.withdraw] == [FIRST]
    assert plan.reasons == (f"withdraw {FIRST}: db executes elsewhere",)


def test_guest_without_a_grant_is_withdrawn() -> None:
    plan = plan_routes([guest(granted=False)], frozenset({HostRoute(FIRST, "tap-db")}))
    assert [route.address for route in plan.withdraw] == [FIRST]
    assert plan.reasons == (f"withdraw {FIRST}: db has no grant",)


def test_route_of_no_guest_is_withdrawn() -> None:
    plan = plan_routes([], frozenset({HostRoute(SECOND, "tap-old")}))
    assert [route.address for route in plan.withdraw] == [SECOND]


def test_route_through_another_tap_is_replaced_and_not_withdrawn_first() -> None:
    plan = plan_routes([guest(tap="new")], frozenset({HostRoute(FIRST, "old")}))
    assert plan.withdraw == ()
    assert [announcement.tap for announcement in plan.announce] == ["new"]


def test_gateways_that_are_done_are_not_done_again() -> None:
    assert plan_routes([guest()], frozenset(), frozenset({"tap-db"})).gateways == ()


def test_one_address_of_two_guests_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"198\.51\.100\.1 by a, 198\.51\.100\.1 by b"):
        plan_routes([guest("a"), guest("b")], frozenset())


taps = st.sampled_from(["t0", "t1", "t2"])
routes = st.frozensets(
    st.builds(HostRoute, st.integers(1, 6).map(lambda n: IPv4Address(f"198.51.100.{n}")), taps),
    max_size=6,
).filter(lambda found: len({route.address for route in found}) == len(found))
guests = st.lists(
    st.builds(
        lambda n, executes, granted: guest(
            f"g{n}", IPv4Address(f"198.51.100.{n}"), executes=executes, granted=granted, tap=f"t{n}"
        ),
        st.integers(1, 6),
        st.booleans(),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda found: found.guest,
)


@given(guests, routes)
def test_a_plan_carried_out_leaves_exactly_what_executes(local: list[LocalGuest], before: frozenset[HostRoute]) -> None:
    plan = plan_routes(local, before)
    table = {route.address: route.tap for route in before}
    for route in plan.withdraw:
        del table[route.address]
    table.update({item.address: item.tap for item in plan.announce})
    after = frozenset(HostRoute(address, tap) for address, tap in table.items())
    assert after == {item.route for item in plan_announcements(local)}
    assert not plan_routes(local, after).changes_routes
    assert len(plan.reasons) == len(plan.withdraw) + len(plan.announce)


@given(guests, routes)
def test_nothing_is_announced_without_execution_and_grant(
    local: list[LocalGuest], before: frozenset[HostRoute]
) -> None:
    may = {g.guest for g in local if g.executes and g.granted}
    assert {item.guest for item in plan_routes(local, before).announce} <= may
