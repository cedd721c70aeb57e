"""The lab itself: comes up as processes of the real units, takes faults, heals, goes away without a trace."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gemel.core.outcome import Present
from gemel.engines.bird.engine import Bird
from gemel.lab import namespaces
from gemel.lab.faults import Cut, FaultBench
from gemel.lab.hosts import hosts_without_lease
from gemel.lab.process import process_state, run
from gemel.lab.region import STAGES, Region, Stage
from tests.lab.conftest import Rehearsal
from tests.waiting import eventually

pytestmark = pytest.mark.lab


def reached(region: Region, stage: Stage) -> None:
    """Fail, and not skip, when the lab was not brought up far enough (by a developer's own wish)."""
    now = region.status().stage
    assert now and STAGES.index(Stage(now)) >= STAGES.index(stage), f"the lab is up to {now!r} only"


def pids(region: Region, node: str) -> tuple[int, ...]:
    found = namespaces.observe_namespaces()
    return namespaces.observe_processes(found)[region.topology.node(node).namespace]


async def test_everything_that_a_region_has_runs(region: Region) -> None:
    reached(region, Stage.HOSTS)
    status = region.status()
    dead = [process for process in status.processes if process.state != "running"]
    assert dead == []
    names = {(process.node, process.name) for process in status.processes}
    for host in region.topology.hosts():
        for daemon in ("bird", "ceph-mon", "ceph-osd", "virtlogd", "libvirtd", "watchdog", "agent"):
            assert (host.name, daemon) in names
    for node in ("par1-1", "gra1-1"):
        assert {(node, "api"), (node, "controller"), (node, "etcd")} <= names
    assert {("wit", "etcd"), ("wit", "witness")} <= names
    assert {("par1-2", "ceph-mgr"), ("gra1-2", "ceph-mgr")} <= names
    assert await hosts_without_lease(region.topology, region.folder) == ()


async def test_up_again_changes_nothing(region: Region) -> None:
    before = {(p.node, p.name, p.pid) for p in region.status().processes}
    await region.up(Stage(region.status().stage))
    assert {(p.node, p.name, p.pid) for p in region.status().processes} == before


async def test_processes_have_the_priority_of_their_units(region: Region) -> None:
    reached(region, Stage.HOSTS)
    for name, nice in (("watchdog", -10), ("agent", -10), ("etcd", -10)):
        record = region.state.read().process("par1-1", name)
        assert os.getpriority(os.PRIO_PROCESS, record.pid) == nice


async def test_a_node_sees_its_own_files_name_and_devices(region: Region) -> None:
    done = (await region.spawner.execute("gra1-2", ["hostname"])).check()
    assert done.stdout.strip() == "gra1-2"
    devices = (await region.spawner.execute("gra1-2", ["ls", "/sys/class/net"])).check().stdout.split()
    assert {"eth0", "lo"} <= set(devices)
    for path in ("/etc/gemel", "/run", "/var/lib/gemel", "/var/log"):
        (region.host_path("gra1-2", path) / "mark").write_text("gra1-2")
        there = await region.spawner.execute("gra1-2", ["cat", f"{path}/mark"])
        elsewhere = await region.spawner.execute("gra1-3", ["cat", f"{path}/mark"])
        assert (there.stdout, elsewhere.returncode) == ("gra1-2", 1)
        assert (await run(["test", "-e", f"{path}/mark"])).returncode == 1, "the machine's own is untouched"
        (region.host_path("gra1-2", path) / "mark").unlink()


async def test_exec_runs_in_the_node() -> None:
    gemel = str(Path(sys.executable).parent / "gemel")
    done = await run([gemel, "lab", "exec", "wit", "--", "hostname"])
    assert (done.returncode, done.stdout) == (0, "wit\n")
    wrong = await run([gemel, "lab", "exec", "nowhere", "--", "true"])
    assert wrong.returncode == 2
    assert "no node 'nowhere'" in wrong.stderr


async def test_killed_host_is_dark_at_once_and_boots_again(region: Region, bench: FaultBench) -> None:
    reached(region, Stage.ENGINES)
    before = {p.name for p in region.status().processes if p.node == "par1-3"}
    assert pids(region, "par1-3")
    entry = await bench.kill_host("par1-3")
    assert pids(region, "par1-3") == ()
    assert entry.detail["dark"] - entry.began < 2.0, "its links go before its processes"
    router = Bird(region.host_path("par1-rtr", "/run/bird/bird.ctl"))

    async def session(established: bool) -> bool:
        found = await router.sessions()
        assert isinstance(found, Present)
        return [s.established for s in found.value if s.name == "to_par1_3"] == [established]

    await eventually(lambda: session(False), within=3, what="the router to notice")
    with pytest.raises(KeyError):
        bench.kill("par1-3", "bird")
    await region.start_host("par1-3")
    await eventually(lambda: session(True), within=10, what="the host's routes after its boot")
    assert {p.name for p in region.status().processes if p.node == "par1-3"} == before
    with pytest.raises(ValueError, match="is not off"):
        await region.start_host("par1-3")
    if region.status().stage == Stage.HOSTS:

        async def all_alive() -> bool:
            return not await hosts_without_lease(region.topology, region.folder)

        await eventually(all_alive, within=40, every=0.5, what="par1-3's lease after its boot")


async def test_paused_process_stands_still_with_its_children(region: Region, bench: FaultBench) -> None:
    record = region.state.read().process("gra1-3", "bird")
    bench.pause("gra1-3", "bird")
    await eventually(lambda: process_state(record.pid) == "T", within=10)
    assert [p.state for p in region.status().processes if (p.node, p.name) == ("gra1-3", "bird")] == ["stopped"]
    bench.resume("gra1-3", "bird")
    await eventually(lambda: process_state(record.pid) in ("S", "R"), within=10)


async def test_killed_process_can_be_started_again(region: Region, bench: FaultBench) -> None:
    old = region.state.read().process("gra1-3", "bird")
    bench.kill("gra1-3", "bird")
    await eventually(lambda: process_state(old.pid) in ("", "Z"), within=10)
    await region.start_process("gra1-3", "bird")
    new = region.state.read().process("gra1-3", "bird")
    assert new.pid != old.pid and new.argv == old.argv
    await eventually(lambda: os.getpriority(os.PRIO_PROCESS, new.pid) == old.nice, within=10)


async def test_faults_are_in_the_journal(region: Region, bench: FaultBench) -> None:
    entry = await bench.cut(Cut("link", "par1", "wit"))
    assert region.status().cuts == ("link par1 wit",)
    await bench.heal()
    assert region.status().cuts == ()
    written = region.journal.entries()
    assert entry in written
    assert written[-1].what == "heal"
    assert written[-1].began >= entry.ended


async def test_cuts_heal_one_by_one(region: Region, bench: FaultBench) -> None:
    first, second = Cut("link", "par1", "gra1"), Cut("site", "par1")
    await bench.cut(first)
    await bench.cut(second)
    await bench.heal(second)
    assert region.status().cuts == (str(first),)

    async def deaf(node: str) -> set[str]:
        argv = ["nsenter", f"--net=/run/netns/gemel-{node}", "--", "nft", "-j", "list", "chains", "netdev"]
        chains = json.loads((await run(argv)).check().stdout)["nftables"]
        return {item["chain"]["name"] for item in chains if "chain" in item}

    assert await deaf("par1-rtr") == {"in_to_gra1"}
    await bench.heal()
    assert await deaf("par1-rtr") == set()


async def test_recorder_sees_a_qemu_begin_and_end(region: Region) -> None:
    reached(region, Stage.HOSTS)
    argv = ["qemu-system-x86_64", "-name", "guest=recorder-probe", "-machine", "pc,accel=tcg", "-m", "32"]
    region.spawner.spawn("gra1-3", "probe", [*argv, "-S", "-nographic", "-serial", "none", "-monitor", "none"])
    record = region.state.read().process("gra1-3", "probe")

    def seen(what: str) -> bool:
        return any((r.what, r.guest, r.host) == (what, "recorder-probe", "gra1-3") for r in region.records())

    # The watchdog of a host with a lease lets it live; it ends because we end it.
    await eventually(lambda: seen("start"), within=5)
    os.kill(record.pid, signal.SIGKILL)
    await eventually(lambda: seen("end"), within=5)
    region.spawner.forget("gra1-3", "probe")


async def test_down_after_a_crash_in_the_middle_left_nothing(rehearsal: Rehearsal) -> None:
    assert rehearsal.was_under_way, "the crash came while daemons were running"
    assert rehearsal.refused, "a second command waits for its turn"
    assert rehearsal.left == ()
