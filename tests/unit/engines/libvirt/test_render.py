"""A plan as XML, against a golden file, and what cannot be expressed."""

import base64
import shutil
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.compute.ports import CephAccess, GuestPlan, RbdDisk
from gemel.core.identity import GuestName, VolumeName
from gemel.engines.libvirt.parse import Grant, parse_grant
from gemel.engines.libvirt.render import (
    Accelerator,
    HostDevices,
    render_config,
    render_domain,
    render_secret,
)

GOLDEN = Path(__file__).with_name("domain.xml")
CEPH = CephAccess(
    conf=Path("/etc/gemel/ceph/ceph.conf"),
    user="host",
    secret_uuid="11111111-2222-4333-8444-555555555555",
    monitors=("10.1.0.1:6789", "mon2"),
)
PLAN = GuestPlan(
    name=GuestName("bank-db"),
    uuid="6d656c67-0000-4000-8000-000000000010",
    epoch=3,
    generation=7,
    cpu=2,
    memory=512 * 2**20,
    kernel=Path("/images/vmlinuz"),
    initrd=Path("/images/initrd"),
    command_line="console=ttyS0 gemel.root=/dev/vda",
    disks=(
        RbdDisk(VolumeName("bank-db.root"), "guests", "bank-db.root.e3"),
        RbdDisk(VolumeName("bank-db.data"), "guests", "bank-db.data.e3"),
    ),
    ceph=CEPH,
    addresses=(IPv4Address("198.51.100.7"), IPv4Address("198.51.100.8")),
    mac="02:67:65:00:00:10",
    tap="g-bank-db",
    config={"ROLE": "postgres", "BANK_PASSWORD": 'it\'s <&> "quoted"'},
    guest_agent=True,
)


def pretty(xml: str) -> str:
    root = ElementTree.fromstring(xml)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def test_a_guest_as_golden_xml() -> None:
    assert pretty(render_domain(PLAN, HostDevices(Accelerator.TCG))) == GOLDEN.read_text()


def test_the_processor_is_used_where_the_configuration_says_so() -> None:
    domain = ElementTree.fromstring(render_domain(PLAN, HostDevices(Accelerator.KVM)))
    assert domain.get("type") == "kvm"
    assert domain.find("cpu[@mode='host-model']") is not None


def test_without_a_kernel_the_first_disk_boots() -> None:
    domain = ElementTree.fromstring(
        render_domain(replace(PLAN, kernel=None, initrd=None), HostDevices(Accelerator.TCG))
    )
    assert domain.find("os/boot[@dev='hd']") is not None
    assert domain.find("os/kernel") is None


def test_a_guest_without_agent_network_or_addresses_has_no_empty_parts() -> None:
    bare = replace(PLAN, guest_agent=False, tap="", disks=(), ceph=None, addresses=(), config={})
    domain = ElementTree.fromstring(render_domain(bare, HostDevices(Accelerator.TCG)))
    assert domain.find("devices/channel") is None
    assert domain.find("devices/interface") is None
    assert [entry.get("name") for entry in domain.findall("sysinfo/entry")] == ["opt/gemel/hostname"]


def test_the_grant_is_read_back() -> None:
    assert parse_grant(render_domain(PLAN, HostDevices())) == Grant(epoch=3, generation=7)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (replace(PLAN, ceph=None), "bank-db.root"),
        (replace(PLAN, config={"a b": "x"}), "'a b'"),
        (replace(PLAN, config={"1A": "x"}), "'1A'"),
        (replace(PLAN, command_line="quiet\x00"), "cmdline"),
    ],
)
def test_what_cannot_be_expressed_is_named(plan: GuestPlan, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        render_domain(plan, HostDevices())


def test_a_secret_is_ephemeral_private_and_holds_no_key() -> None:
    secret = ElementTree.fromstring(render_secret(CEPH.secret_uuid, "host"))
    assert (secret.get("ephemeral"), secret.get("private")) == ("yes", "yes")
    assert secret.findtext("uuid") == CEPH.secret_uuid
    assert secret.findtext("usage/name") == "client.host of gemel"


@settings(max_examples=25, deadline=None)
@given(value=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40))
def test_a_shell_reads_back_every_value(value: str) -> None:
    plan = replace(PLAN, config={"KEY": value, "AFTER": "1"})
    domain = ElementTree.fromstring(render_domain(plan, HostDevices()))
    encoded = domain.findtext("sysinfo/entry[@name='opt/gemel/config.b64']")
    assert encoded is not None
    script = base64.b64decode(encoded).decode() + 'printf "%s|%s" "$KEY" "$AFTER"'
    shell = shutil.which("sh")
    assert shell is not None
    said = subprocess.run([shell], input=script.encode(), capture_output=True, check=True, timeout=10).stdout
    assert said.decode() == f"{value}|1"


def test_config_lines_are_in_key_order() -> None:
    assert render_config({"B": "2", "A": "1"}) == "A='1'\nB='2'\n"
