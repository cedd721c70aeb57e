"""Network, mount and UTS namespaces of the lab's nodes: made from the plan, removed by their prefix."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from gemel.core.outcome import Permanent
from gemel.lab.network import OVERLAY, PRIVATE_FOLDERS, NetworkPlan, render_hosts_file, render_mounts
from gemel.lab.process import NETNS, Spawner, run
from gemel.lab.state import LabFolder
from gemel.lab.topology import OPERATOR_DEVICE, PREFIX, Node, Topology

_RUN_FOLDERS = ("run/bird", "run/gemel", "run/lock", "run/libvirt", "run/ceph")
_KILL_ROUNDS = 100
RECORDER = "gemel.lab.recorder"


async def _batch(lines: Iterable[str], namespace: str | None = None) -> None:
    argv = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    (await run(argv, stdin="\n".join(lines) + "\n")).check()


async def ensure_network(plan: NetworkPlan) -> None:
    """Make every namespace and cable. What an interrupted attempt left must have been removed before."""
    await _batch(f"netns add {name}" for name in plan.namespaces)
    await _batch(plan.links)
    await asyncio.gather(*(_set(node, settings) for node, settings in plan.settings.items()))
    await asyncio.gather(*(_batch(lines, PREFIX + node) for node, lines in plan.nodes.items()))
    await _batch(plan.operator)


async def _set(node: str, settings: dict[str, str]) -> None:
    argv = ["nsenter", f"--net={NETNS / (PREFIX + node)}", "--", "sysctl", "-q", "-w"]
    (await run([*argv, *(f"{key}={value}" for key, value in settings.items())])).check()


async def ensure_systems(topology: Topology, folder: LabFolder, spawner: Spawner) -> None:
    """A private file system and host name for each node that runs daemons."""
    pins = folder.pins()
    pins.mkdir(parents=True, exist_ok=True)
    (await run(["mount", "--bind", str(pins), str(pins)])).check()
    # A mount namespace can be pinned only where its own mounts do not come back: on a private mount.
    (await run(["mount", "--make-private", str(pins)])).check()
    nodes = [node for node in topology.nodes if node.has_system]
    await asyncio.gather(*(_ensure_system(topology, node, folder, spawner) for node in nodes))


async def _ensure_system(topology: Topology, node: Node, folder: LabFolder, spawner: Spawner) -> None:
    root = folder.host(node.name)
    write_private_files(topology, node, root)
    pins = [folder.pins() / f"{node.name}.{kind}" for kind in ("mnt", "uts")]
    for pin in pins:
        pin.touch()
    table = root / "fstab"
    table.write_text(render_mounts(root))
    enter = ["nsenter", f"--net={NETNS / node.namespace}", "--"]
    unshare = ["unshare", f"--mount={pins[0]}", f"--uts={pins[1]}", "--"]
    # A fresh sysfs shows this namespace's network devices.
    (await run([*enter, *unshare, "mount", "-t", "sysfs", "sysfs", "/sys"])).check()
    (await spawner.execute(node.name, ["mount", "-a", "-T", str(table)])).check()
    (await spawner.execute(node.name, ["hostname", node.name])).check()


def write_private_files(topology: Topology, node: Node, root: Path) -> None:
    for name in (*PRIVATE_FOLDERS, *_RUN_FOLDERS):
        (root / name).mkdir(parents=True, exist_ok=True)
    etc = root / OVERLAY / "etc"
    for name in (name for name in PRIVATE_FOLDERS if name.startswith("etc/")):
        (etc.parent / name).mkdir(parents=True, exist_ok=True)  # where the binds go
    (root / OVERLAY / "work").mkdir(exist_ok=True)
    (etc / "hosts").write_text(render_hosts_file(topology))
    (etc / "hostname").write_text(node.name + "\n")
    for name in ("lib/gemel", "lib/libvirt", "cache/libvirt"):
        (Path("/var") / name).mkdir(parents=True, exist_ok=True)  # a bind needs something to lie on


def clear_run(root: Path) -> None:
    """What a boot does to /run: it starts empty. The folder itself is a mount's source and stays."""
    for entry in (root / "run").iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    for name in _RUN_FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)


def observe_namespaces() -> dict[int, str]:
    """Inode of each of the lab's network namespaces, and its name. By prefix, so that no state is needed."""
    found: dict[int, str] = {}
    for path in NETNS.glob(PREFIX + "*") if NETNS.is_dir() else ():
        try:
            found[path.stat().st_ino] = path.name
        except OSError:  # removed since it was listed
            continue
    return found


def observe_processes(namespaces: dict[int, str]) -> dict[str, tuple[int, ...]]:
    """Live processes in these namespaces, by namespace name, from one look at /proc."""
    found: dict[str, list[int]] = {name: [] for name in namespaces.values()}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inode = (entry / "ns/net").stat().st_ino
        except OSError:  # gone, a zombie, or a thread of the kernel
            continue
        if inode in namespaces:
            found[namespaces[inode]].append(int(entry.name))
    return {name: tuple(pids) for name, pids in found.items()}


async def remove_processes(namespaces: dict[int, str]) -> None:
    """SIGKILL to everything in these namespaces until nothing is left. Raises Permanent when something stays."""
    for _ in range(_KILL_ROUNDS):
        pids = [pid for group in observe_processes(namespaces).values() for pid in group]
        if not pids:
            return
        for pid in pids:
            _kill(pid)
        await asyncio.sleep(0.05)
    raise Permanent(f"processes {pids} survive SIGKILL: they hang in the kernel; look at /proc/PID/stack")


def observe_observers(folder: LabFolder) -> tuple[int, ...]:
    """Processes of the lab outside its namespaces, by their command line: they too survive a lost state."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if RECORDER.encode() in words and str(folder.history).encode() in words:
            found.append(int(entry.name))
    return tuple(found)


async def remove_observers(folder: LabFolder) -> None:
    for _ in range(_KILL_ROUNDS):
        pids = observe_observers(folder)
        if not pids:
            return
        for pid in pids:
            _kill(pid)
        await asyncio.sleep(0.02)
    raise Permanent(f"the recorder {pids} survives SIGKILL: look at /proc/PID/stack")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _mounts_under(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounts = [line.split()[1] for line in lines]
    return [mount for mount in reversed(mounts) if mount == str(folder) or mount.startswith(f"{folder}/")]


async def remove_mounts(folder: LabFolder) -> None:
    """Unpin the nodes' mount and UTS namespaces, deepest first."""
    for mount in _mounts_under(folder.path):
        (await run(["umount", "-l", mount])).check()


def _operator_device_exists() -> bool:
    return Path(f"/sys/class/net/{OPERATOR_DEVICE}").exists()


def remove_bind_targets() -> None:
    """Undo what `write_private_files` made on this machine itself, where nothing has moved in since."""
    try:
        Path("/var/lib/gemel").rmdir()
    except OSError:  # absent, or a real host's
        pass


async def remove_network() -> None:
    names = sorted(observe_namespaces().values())
    if _operator_device_exists():
        # Its other end may be gone a moment later by itself, when its namespace is taken apart.
        await run(["ip", "link", "delete", OPERATOR_DEVICE])
    await asyncio.gather(*(run(["ip", "netns", "delete", name]) for name in names))


def observe_leftovers(folder: LabFolder) -> tuple[str, ...]:
    """What `down` must not leave: in words, empty when the machine is clean."""
    namespaces = observe_namespaces()
    left = [f"namespace {name}" for name in sorted(namespaces.values())]
    for name, pids in observe_processes(namespaces).items():
        left += [f"process {pid} in {name}" for pid in pids]
    left += [f"recorder {pid}" for pid in observe_observers(folder)]
    left += [f"mount {mount}" for mount in _mounts_under(folder.path)]
    if _operator_device_exists():
        left.append(f"network device {OPERATOR_DEVICE}")
    if folder.path.exists():
        left.append(f"folder {folder.path}")
    return tuple(left)
