"""A host's libvirt configuration."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gemel.engines.libvirt.config import LibvirtSettings, migration_uri, render_files, render_pki_links

SETTINGS = LibvirtSettings("6d656c67-0000-4000-8000-0000000000aa", IPv4Address("10.1.0.1"))


def test_only_tls_listens_and_only_on_the_host_s_address() -> None:
    lines = render_files(SETTINGS)["libvirtd.conf"].splitlines()
    assert "listen_tcp = 0" in lines
    assert "listen_tls = 1" in lines
    assert 'listen_addr = "10.1.0.1"' in lines
    assert 'host_uuid = "6d656c67-0000-4000-8000-0000000000aa"' in lines
    assert not any("tls_no_verify" in line for line in lines)


def test_names_that_may_migrate_here() -> None:
    text = render_files(replace(SETTINGS, allowed_names=("*O=agent*", "CN=x")))["libvirtd.conf"]
    assert 'tls_allowed_dn_list = ["*O=agent*", "CN=x"]' in text
    assert "tls_allowed_dn_list" not in render_files(SETTINGS)["libvirtd.conf"]


def test_confinement_is_the_system_s_unless_told_otherwise() -> None:
    assert "security_driver" not in render_files(SETTINGS)["qemu.conf"]
    loose = render_files(replace(SETTINGS, confined=False))["qemu.conf"]
    assert 'security_driver = "none"' in loose
    assert "cgroup_controllers = []" in loose


def test_a_quote_cannot_end_a_string() -> None:
    with pytest.raises(ValueError, match="quotes"):
        render_files(replace(SETTINGS, host_uuid='x"\nauth_tls = "none'))


def test_every_name_that_libvirt_and_qemu_look_for_has_a_link() -> None:
    links = render_pki_links(Path("/t"))
    assert {"cacert.pem", "servercert.pem", "serverkey.pem", "clientcert.pem", "clientkey.pem"} <= set(links)
    assert {"ca-cert.pem", "server-cert.pem", "server-key.pem", "client-cert.pem", "client-key.pem"} <= set(links)
    assert {path.suffix for name, path in links.items() if "key" in name} == {".key"}


def test_migration_uri() -> None:
    assert migration_uri(IPv4Address("10.1.0.2"), Path("/p")) == "qemu+tls://10.1.0.2/system?pkipath=/p"
