"""Guests' addresses through the lab's real routers: announced, handed over, lost and found again."""

import asyncio
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from gemel.core.outcome import Present
from gemel.engines.bird.parse import parse_protocols, parse_routes
from gemel.lab.faults import Cut, FaultBench
from gemel.lab.hosts import hosts_without_lease
from gemel.lab.process import run
from gemel.lab.region import Region
from gemel.lab.topology import PREFIX
from tests.lab.standin import Keeper, Prober, StandIns, kernel_routes, now
from tests.waiting import eventually

pytestmark = pytest.mark.lab

ADDRESS = "198.19.1.240"
HOSTS = ("par1-1", "par1-2", "par1-3", "gra1-1")


async def birdc(region: Region, node: str, *words: str) -> str:
    return (await region.spawner.execute(node, ["birdc", "-r", *words])).check().stdout


async def routed(node: str) -> bool:
    return IPv4Address(ADDRESS) in await kernel_routes(node)


async def unrouted(node: str) -> bool:
    return not await routed(node)


async def established(region: Region) -> bool:
    for node, count in (("par1-rtr", 5), ("gra1-rtr", 5), ("out", 2)):
        sessions = parse_protocols(await birdc(region, node, "show", "protocols"))
        if sum(session.established for session in sessions if session.kind == "BGP") != count:
            return False
    return True


@pytest.fixture(scope="module")
def unattended(region: Region) -> Iterator[Region]:
    """Hosts whose agents and watchdogs stand still: they would withdraw a stand-in's address as no guest's,
    and rightly. Their leases run out meanwhile, and are waited for afterwards."""
    bench = FaultBench(region.topology, region.folder)
    known = region.state.read().processes
    paused = [(host, name) for host in HOSTS for name in ("agent", "watchdog") if f"{host}/{name}" in known]
    for host, name in paused:
        bench.pause(host, name)
    yield region
    for host, name in paused:
        bench.resume(host, name)
    if paused:
        asyncio.run(_until_leases(region))


async def _until_leases(region: Region) -> None:
    async def all_alive() -> bool:
        return not await hosts_without_lease(region.topology, region.folder)

    await eventually(all_alive, within=60, every=0.5, what="the leases of hosts whose agents were paused")


@pytest.fixture
async def routers(unattended: Region, bench: FaultBench) -> Region:
    await eventually(lambda: established(unattended), within=20, what="all BGP sessions")
    return unattended


async def test_announcement_reaches_the_outside_and_goes_again(routers: Region) -> None:
    async with StandIns(routers, ADDRESS, ["par1-1"]) as guests, Keeper(routers, "par1-1") as keeper:
        tap = guests.tap("par1-1")
        await keeper.do("prepare", ADDRESS, tap)
        assert await unrouted("out"), "a guest that is only prepared must not be announced"
        await keeper.do("began", ADDRESS, tap)
        for node in ("par1-rtr", "gra1-rtr", "out", "par1-2", "gra1-1"):
            await eventually(lambda node=node: routed(node), within=5, what=f"the route on {node}")
        routes = parse_routes(await birdc(routers, "par1-rtr", "show", "route"))
        best = [r for r in routes if r.network.network_address == IPv4Address(ADDRESS) and r.best]
        assert [route.via for route in best] == [routers.topology.address("par1-1")]
        await keeper.do("ended", ADDRESS, tap)
        for node in ("out", "par1-2", "gra1-1"):
            await eventually(lambda node=node: unrouted(node), within=5, what=f"no route on {node}")


@pytest.mark.parametrize("target", ["par1-2", "gra1-1"], ids=["within a site", "between sites"])
async def test_hand_over_loses_little(routers: Region, target: str) -> None:
    async with (
        StandIns(routers, ADDRESS, ["par1-1", target]) as guests,
        Keeper(routers, "par1-1") as source,
        Keeper(routers, target) as destination,
    ):
        await source.do("prepare", ADDRESS, guests.tap("par1-1"))
        await destination.do("prepare", ADDRESS, guests.tap(target))
        await source.do("began", ADDRESS, guests.tap("par1-1"))
        await eventually(lambda: routed("out"), within=5)
        async with Prober(ADDRESS, 3.0) as prober:
            await asyncio.sleep(0.5)  # a span of undisturbed answers before the hand-over
            began = await source.do("ended", ADDRESS, guests.tap("par1-1"))
            done = await destination.do("began", ADDRESS, guests.tap(target))
            answers = await prober.answers()
        first = answers.first(target)
        print(f"hand-over to {target}: kernel {1000 * (done - began):.1f} ms, outside {1000 * (first - began):.1f} ms")
        assert first - done < 2.0, "the new place is reached by routing, not by a timer of seconds"
        late = [who for sent, _, who in answers.heard if sent > first]
        assert set(late) == {target}, "after the first answer from the new place none comes from the old"
        await destination.do("ended", ADDRESS, guests.tap(target))


async def test_cut_site_is_noticed_by_bfd_and_comes_back(routers: Region, bench: FaultBench) -> None:
    async with StandIns(routers, ADDRESS, ["par1-1"]) as guests, Keeper(routers, "par1-1") as keeper:
        await keeper.do("prepare", ADDRESS, guests.tap("par1-1"))
        await keeper.do("began", ADDRESS, guests.tap("par1-1"))
        await eventually(lambda: routed("out"), within=5)
        entry = await bench.cut(Cut("site", "par1"))
        await eventually(lambda: unrouted("out"), within=3, every=0.01, what="BFD to notice the cut")
        print(f"cut noticed after {1000 * (now() - entry.ended):.0f} ms")
        assert await routed("par1-2"), "inside the cut-off site the guest stays reachable"
        await bench.heal()
        began = now()
        await eventually(lambda: routed("out"), within=15, what="the route after the heal")
        print(f"back after {now() - began:.1f} s")
        await keeper.do("ended", ADDRESS, guests.tap("par1-1"))


async def test_guests_find_a_way_around_a_cut_between_sites(routers: Region, bench: FaultBench) -> None:
    async with StandIns(routers, ADDRESS, ["par1-1"]) as guests, Keeper(routers, "par1-1") as keeper:
        await keeper.do("prepare", ADDRESS, guests.tap("par1-1"))
        await keeper.do("began", ADDRESS, guests.tap("par1-1"))
        await eventually(lambda: routed("gra1-1"), within=5)
        await bench.cut(Cut("link", "par1", "gra1"))

        async def goes_around() -> bool:
            routes = parse_routes(await birdc(routers, "gra1-rtr", "show", "route", ADDRESS + "/32"))
            return any(route.best and route.interface == "to-out" for route in routes)

        await eventually(goes_around, within=5, what="the guest's route through out")
        await keeper.do("ended", ADDRESS, guests.tap("par1-1"))


async def test_infrastructure_finds_no_way_around(routers: Region, bench: FaultBench) -> None:
    target = str(routers.topology.address("gra1-2"))
    probe = ["python3", "-c", _CONNECT, target, "9"]
    before = await routers.spawner.execute("par1-2", probe)
    assert before.stdout.strip() == "refused", "par1-2 and gra1-2 must hear each other at first"
    await bench.cut(Cut("link", "par1", "gra1"))
    assert (await routers.spawner.execute("par1-2", probe)).stdout.strip() == "silence"
    witness = ["python3", "-c", _CONNECT, str(routers.topology.witness.address), "9"]
    assert (await routers.spawner.execute("par1-2", witness)).stdout.strip() == "refused"


async def test_one_way_cut_is_one_way(routers: Region, bench: FaultBench) -> None:
    await bench.cut(Cut("link", "par1", "wit", one_way=True))
    counters = await _counters("wit")
    await routers.spawner.execute("par1-2", ["python3", "-c", _CONNECT, "198.18.3.11", "9"])
    assert await _counters("wit") > counters, "what par1 sends is dropped at the witness"
    tables = (await run(["nsenter", f"--net=/run/netns/{PREFIX}par1-rtr", "--", "nft", "list", "tables"])).check()
    assert "gemel_lab" not in tables.stdout, "what the witness sends arrives"


async def test_routes_outside_the_guests_prefixes_are_refused(routers: Region) -> None:
    async with StandIns(routers, ADDRESS, ["par1-3"]) as guests, Keeper(routers, "par1-3") as keeper:
        stranger = "198.51.100.7"
        await keeper.do("began", stranger, guests.tap("par1-3"))
        await keeper.do("began", ADDRESS, guests.tap("par1-3"))
        await eventually(lambda: routed("out"), within=5)
        assert IPv4Address(stranger) not in await kernel_routes("par1-rtr")
        for address in (stranger, ADDRESS):
            await keeper.do("ended", address, guests.tap("par1-3"))


async def test_bird_answers_through_its_engine(routers: Region) -> None:
    from gemel.engines.bird.engine import Bird

    bird = Bird(routers.host_path("par1-rtr", "/run/bird/bird.ctl"))
    sessions = await bird.sessions()
    assert isinstance(sessions, Present)
    assert {s.name for s in sessions.value if s.established} >= {"to_par1_1", "to_gra1_rtr", "to_out"}


_CONNECT = """
import socket, sys
s = socket.socket()
s.settimeout(1.0)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silence")
"""


async def _counters(node: str) -> int:
    argv = ["nsenter", f"--net=/run/netns/{PREFIX}{node}", "--", "nft", "list", "table", "netdev", "gemel_lab"]
    words = (await run(argv)).check().stdout.split()
    return sum(int(words[i + 1]) for i, word in enumerate(words) if word == "packets")
