"""Where a guest goes, and the reasons that ``describe`` shows."""

import pytest
from tests.unit.compute.scenes import GIB, GRA, PAR, guest, host, lost

from gemel.compute.placement import HostFacts, Load, NoPlace, Placed, plan_placement
from gemel.core.identity import HostName

HOSTS = [host(f"par1-{n}") for n in (1, 2, 3)]


def load(**taken: Load) -> dict[HostName, Load]:
    return {HostName(name.replace("_", "-")): each for name, each in taken.items()}


def test_the_least_of_its_tier_then_the_most_memory_then_the_name() -> None:
    busy = load(par1_1=Load(groups={"bank/all": 1}), par1_2=Load(memory=GIB))
    placed = plan_placement(guest("db"), PAR, HOSTS, busy)
    assert isinstance(placed, Placed)
    assert placed.host.name == "par1-3"
    again = plan_placement(guest("db"), PAR, HOSTS[:2], busy)
    assert isinstance(again, Placed)
    assert again.host.name == "par1-2"
    assert plan_placement(guest("db"), PAR, HOSTS, {}) == plan_placement(guest("db"), PAR, HOSTS[::-1], {})


def test_the_reasons_say_why_here_and_why_not_there() -> None:
    placed = plan_placement(guest("db"), PAR, [HOSTS[0], lost("par1-2"), HOSTS[2]], load(par1_3=Load(memory=GIB)))
    assert isinstance(placed, Placed)
    assert placed.reasons == (
        "par1-1: 8 GiB of memory free, 0 of bank/all there",
        "not par1-3: 7 GiB of memory free, 0 of bank/all there",
        "par1-2: no lease",
    )


@pytest.mark.parametrize(
    ("only", "changes", "taken", "says"),
    [
        (lost("par1-1"), {}, Load(), "no lease"),
        (host("par1-1", schedulable=False), {}, Load(), "drained"),
        (host("par1-1"), {"hosts": ("par1-2",)}, Load(), "not among placement.hosts"),
        (host("par1-1"), {"memory": 9 * GIB}, Load(), "memory: 8 GiB free, 9 GiB needed"),
        (host("par1-1"), {}, Load(memory=8 * GIB), "memory: 0 B free"),
        (host("par1-1"), {"cpu": 2}, Load(cpu=15), "cpu: 15 of 16"),
    ],
)
def test_why_not(only: HostFacts, changes: dict[str, object], taken: Load, says: str) -> None:
    placed = plan_placement(guest("db", **changes), PAR, [only], load(par1_1=taken))
    assert isinstance(placed, NoPlace)
    assert says in placed.reasons[0]


def test_what_is_to_be_left_is_avoided() -> None:
    placed = plan_placement(guest("db"), PAR, HOSTS[:1], {}, frozenset({HostName("par1-1")}))
    assert isinstance(placed, NoPlace)
    assert placed.reasons == ("par1-1: to be left",)


def test_a_site_without_hosts() -> None:
    assert plan_placement(guest("db"), GRA, HOSTS, {}) == NoPlace(("site gra1 has no host",))


def test_the_last_byte_of_memory_and_the_last_cpu_are_used() -> None:
    exact = plan_placement(guest("db", memory=8 * GIB, cpu=16), PAR, HOSTS[:1], {})
    assert isinstance(exact, Placed)
