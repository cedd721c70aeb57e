"""A guest's plan as libvirt's domain XML. Pure.

Choices that are not obvious:

* ``cache='writeback'`` on RBD is safe against a crash: the guest sees a disk with a volatile write cache
  and flushes it when it wants durability (journal commits, fsync), and librbd completes a flush only when
  the OSDs have acknowledged every write before it. librbd writes through until the first flush arrives.
* ``error_policy='stop'``: a fenced guest pauses instead of telling its file system of an I/O error, so that
  it neither corrupts what it has nor goes on answering from memory.
* No device that a guest does not need: each costs boot time and memory, and must be migrated.
* Transient domains only: after a host's restart nothing starts by itself, without a grant.
"""

import base64
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from gemel.compute.ports import CephAccess, GuestPlan, RbdDisk

NAMESPACE = "urn:gemel:guest:1"
CONSOLE_DIR = Path("/var/log/gemel/console")
_CONFIG_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_NOT_XML = re.compile(r"[^\t\n\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


class Accelerator(StrEnum):
    """libvirt's domain types: the processor's virtualisation, or QEMU's emulation. The host's
    configuration says which; nothing probes."""

    KVM = "kvm"
    TCG = "qemu"


@dataclass(frozen=True, slots=True)
class HostDevices:
    """What a host gives to all of its guests alike. ``machine`` must be the same on hosts between which
    guests migrate."""

    accelerator: Accelerator = Accelerator.KVM
    machine: str = "pc"
    console_dir: Path = CONSOLE_DIR


def render_domain(plan: GuestPlan, devices: HostDevices) -> str:
    """Raises ValueError when the plan holds something that cannot be expressed, naming it."""
    ElementTree.register_namespace("gemel", NAMESPACE)
    domain = Element("domain", type=devices.accelerator.value)
    _text(domain, "name", plan.name)
    _text(domain, "uuid", plan.uuid)
    metadata = SubElement(domain, "metadata")
    SubElement(metadata, f"{{{NAMESPACE}}}guest", epoch=str(plan.epoch), generation=str(plan.generation))
    _text(domain, "memory", str(plan.memory), unit="b")
    _text(domain, "vcpu", str(plan.cpu))
    _add_sysinfo(domain, plan)
    _add_boot(domain, plan, devices)
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    if devices.accelerator is Accelerator.KVM:
        SubElement(domain, "cpu", mode="host-model")
    SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    _add_devices(domain, plan, devices)
    return ElementTree.tostring(domain, encoding="unicode")


def render_config(config: dict[str, str]) -> str:
    """``KEY='value'`` lines that a POSIX shell reads back exactly, in key order."""
    lines = []
    for key, value in sorted(config.items()):
        if not _CONFIG_KEY.match(key):
            raise ValueError(f"config key {key!r}: write letters, digits and underscores, such as BANK_HOST")
        quoted = value.replace("'", "'\\''")
        lines.append(f"{key}='{quoted}'\n")
    return "".join(lines)


def render_secret(uuid: str, user: str) -> str:
    """The place for a Ceph key in libvirt; the key itself is set apart from it and never in XML. Neither
    is written to disk: the agent defines it again after a restart of libvirt."""
    secret = Element("secret", ephemeral="yes", private="yes")
    _text(secret, "uuid", uuid)
    usage = SubElement(secret, "usage", type="ceph")
    _text(usage, "name", f"client.{user} of gemel")
    return ElementTree.tostring(secret, encoding="unicode")


def console_log(name: str, devices: HostDevices) -> Path:
    return devices.console_dir / f"{name}.log"


def _text(parent: Element, tag: str, text: str, **attributes: str) -> Element:
    forbidden = _NOT_XML.search(text)
    if forbidden:
        raise ValueError(f"{tag} holds the control character {forbidden[0]!r}, which cannot be passed on")
    child = SubElement(parent, tag, dict(attributes))
    child.text = text
    return child


def _add_sysinfo(domain: Element, plan: GuestPlan) -> None:
    """The configuration travels in base64: libvirt 9.0 hands an entry to QEMU with its quotes turned into
    XML entities and its commas bare, which end the value. A file instead of a value would have to exist on
    the target before each migration."""
    sysinfo = SubElement(domain, "sysinfo", type="fwcfg")
    entries = {
        "hostname": plan.name,
        "addresses": " ".join(str(address) for address in plan.addresses),
        "config.b64": base64.b64encode(render_config(dict(plan.config)).encode()).decode(),
    }
    for name, value in entries.items():
        if value:  # QEMU refuses empty entries
            _text(sysinfo, "entry", value, name=f"opt/gemel/{name}")


def _add_boot(domain: Element, plan: GuestPlan, devices: HostDevices) -> None:
    os = SubElement(domain, "os")
    _text(os, "type", "hvm", arch="x86_64", machine=devices.machine)
    if plan.kernel is None:
        SubElement(os, "boot", dev="hd")
        return
    _text(os, "kernel", str(plan.kernel))
    if plan.initrd is not None:
        _text(os, "initrd", str(plan.initrd))
    if plan.command_line:
        _text(os, "cmdline", plan.command_line)


def _add_devices(domain: Element, plan: GuestPlan, hosts: HostDevices) -> None:
    devices = SubElement(domain, "devices")
    for index, disk in enumerate(plan.disks):
        _add_disk(devices, disk, plan.ceph, index)
    if plan.tap:
        interface = SubElement(devices, "interface", type="ethernet")
        SubElement(interface, "mac", address=plan.mac)
        SubElement(interface, "target", dev=plan.tap)
        SubElement(interface, "model", type="virtio")
    serial = SubElement(devices, "serial", type="pty")
    SubElement(serial, "log", file=str(console_log(plan.name, hosts)), append="on")
    SubElement(serial, "target", port="0")
    if plan.guest_agent:
        channel = SubElement(devices, "channel", type="unix")
        SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    rng = SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "memballoon", model="none")


def _add_disk(devices: Element, disk: RbdDisk, ceph: CephAccess | None, index: int) -> None:
    if ceph is None:
        raise ValueError(f"volume {disk.volume} cannot be attached: nothing says how to reach Ceph")
    element = SubElement(devices, "disk", type="network", device="disk")
    SubElement(
        element,
        "driver",
        {"name": "qemu", "type": "raw", "cache": "writeback", "discard": "unmap",
         "error_policy": "stop", "rerror_policy": "stop"},
    )  # fmt: skip
    auth = SubElement(element, "auth", username=ceph.user)
    SubElement(auth, "secret", type="ceph", uuid=ceph.secret_uuid)
    source = SubElement(element, "source", protocol="rbd", name=f"{disk.pool}/{disk.image}")
    for monitor in ceph.monitors:
        host, _, port = monitor.rpartition(":")
        SubElement(source, "host", {"name": host, "port": port} if host else {"name": monitor})
    SubElement(source, "config", file=str(ceph.conf))
    SubElement(element, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
