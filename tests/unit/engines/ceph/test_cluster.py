import base64
import configparser
from pathlib import Path

import pytest

from gemel.engines.ceph import cluster
from gemel.engines.ceph.cluster import HOST_CLIENT, STEWARD_CLIENT, ceph_plan

HOSTS = [("par1-1", "ns-1", "10.1.0.1"), ("par1-2", "ns-2", "10.1.0.2"), ("par1-3", "ns-3", "10.1.0.3")]
PLAN = ceph_plan("par1", HOSTS, Path("/lab/par1"))


def conf(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text.replace("\t", ""))
    return parser


def test_the_same_arguments_address_the_same_cluster() -> None:
    assert ceph_plan("par1", HOSTS, Path("/lab/par1")) == PLAN
    assert ceph_plan("gra1", HOSTS, Path("/lab/par1")).fsid != PLAN.fsid
    assert len({PLAN.osd_uuid(host) for host in PLAN.hosts}) == 3


def test_every_host_has_its_daemons_and_its_place_in_crush() -> None:
    found = conf(cluster.render_conf(PLAN))
    for number, (name, _, address) in enumerate(HOSTS):
        assert found[f"mon.{name}"]["public_addr"] == address
        assert found[f"osd.{number}"]["crush_location"] == f"root=default host={name}"
    names = [[name for name, _ in cluster.daemons(PLAN, host)] for host in PLAN.hosts]
    assert names == [["ceph-mon", "ceph-osd"], ["ceph-mon", "ceph-osd", "ceph-mgr"], ["ceph-mon", "ceph-osd"]]


def test_copies_survive_a_host() -> None:
    found = conf(cluster.render_conf(PLAN))["global"]
    assert (found["osd_pool_default_size"], found["osd_pool_default_min_size"]) == ("2", "1")
    assert found["osd_crush_chooseleaf_type"] == "1"


def test_hosts_write_guests_alone() -> None:
    caps = cluster.capabilities(PLAN)
    assert "profile rbd pool=guests" in caps[HOST_CLIENT]["osd"]
    for pool in ("images", "replicas"):
        assert f"profile rbd-read-only pool={pool}" in caps[HOST_CLIENT]["osd"]
        assert f"profile rbd pool={pool}" not in caps[HOST_CLIENT]["osd"]
        assert f"profile rbd pool={pool}" in caps[STEWARD_CLIENT]["osd"]
    assert "allow *" not in caps[HOST_CLIENT].values() and "allow *" not in caps[STEWARD_CLIENT].values()


def test_a_clients_conf_names_its_keyring_and_every_monitor() -> None:
    found = conf(cluster.render_client_conf(PLAN, Path("/etc/gemel/ceph")))
    assert found["client"]["keyring"] == "/etc/gemel/ceph/$name.keyring"
    assert found["global"]["mon_host"].count("v2:") == 3


def test_a_secret_is_as_ceph_wants_it() -> None:
    secret = base64.b64decode(cluster.render_secret(b"0123456789abcdef", 1_700_000_000))
    assert len(secret) == 28 and secret[:2] == b"\x01\x00" and secret[-16:] == b"0123456789abcdef"
    with pytest.raises(ValueError, match="16"):
        cluster.render_secret(b"short", 0)


def test_a_keyring_carries_caps_only_where_asked() -> None:
    text = cluster.render_keyring({HOST_CLIENT: "KEY="}, cluster.capabilities(PLAN))
    assert text.startswith(f"[{HOST_CLIENT}]\n\tkey = KEY=\n") and 'caps mon = "profile rbd"' in text
    assert "caps" not in cluster.render_keyring({HOST_CLIENT: "KEY="})
