"""Can a region be built on this machine? Said in one line before anything is touched."""

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path

PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "sysctl": "procps",
    "nft": "nftables",
    "bird": "bird2",
    "birdc": "bird2",
    "etcd": "etcd-server",
    "libvirtd": "libvirt-daemon-system",
    "virtlogd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph-mgr": "ceph-mgr",
    "rbd": "ceph-common",
}
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000


def _find(program: str) -> str | None:
    return shutil.which(program, path=_SEARCH)


def check_machine(
    is_root: bool, find: Callable[[str], str | None] = _find, can_unshare: Callable[[], bool] | None = None
) -> str:
    """What is missing, in one line; empty when the lab can be built here."""
    if not is_root:
        return "the lab needs root: network and mount namespaces cannot be made without it"
    missing = sorted({package for program, package in PROGRAMS.items() if not find(program)})
    if missing:
        return f"the lab needs Debian packages that are not installed: {' '.join(missing)} (make setup installs them)"
    if not (can_unshare or _can_unshare)():
        return "the lab needs network and mount namespaces, and this machine's kernel or container refuses them"
    return ""


def _can_unshare() -> bool:
    """Try it in a child, so that this process stays where it is."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def check_this_machine() -> str:
    if not Path("/proc/self/ns/net").exists():
        return "the lab needs Linux with namespaces"
    return check_machine(os.geteuid() == 0)
