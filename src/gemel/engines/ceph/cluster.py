"""A site's Ceph as files and command lines: pure. Who runs them is the caller's business.

One monitor, one OSD a host (CRUSH host = the host), so that the loss of one host leaves a quorum and one
copy of everything; one mgr on the second host. All keys, with their capabilities, are imported when the
monitors' stores are made: no later `ceph auth` call hands out secrets.
"""

import base64
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemel.storage.kinds import GUESTS_POOL, IMAGES_POOL, REPLICAS_POOL

HOST_CLIENT = "client.gemel-host"
STEWARD_CLIENT = "client.gemel-steward"
ADMIN_CLIENT = "client.admin"
POOLS = (IMAGES_POOL, GUESTS_POOL, REPLICAS_POOL)
PG_NUM = {IMAGES_POOL: 4, GUESTS_POOL: 16, REPLICAS_POOL: 8}
_NAMESPACE = uuid.UUID("6b6f4b1e-2f4e-5f0a-9c39-6765656c0001")


@dataclass(frozen=True, slots=True)
class CephHost:
    """``namespace`` is where the lab runs this host's daemons; production has one machine a host."""

    name: str
    namespace: str
    address: str


@dataclass(frozen=True, slots=True)
class CephPlan:
    """All that the rendering needs. The same arguments give the same plan in another process."""

    site: str
    fsid: uuid.UUID
    hosts: tuple[CephHost, ...]
    folder: Path
    osd_bytes: int = 6 * 2**30

    @property
    def conf(self) -> Path:
        """For daemons and the administrator."""
        return self.folder / "ceph.conf"

    @property
    def monmap(self) -> Path:
        return self.folder / "monmap"

    @property
    def bootstrap_keyring(self) -> Path:
        return self.folder / "bootstrap.keyring"

    @property
    def mgr_host(self) -> CephHost:
        return self.hosts[1] if len(self.hosts) > 1 else self.hosts[0]

    def keyring(self, entity: str) -> Path:
        return self.folder / f"{entity}.keyring"

    def data(self, host: CephHost, what: str) -> Path:
        """``what`` is mon, osd, mgr, run or log."""
        return self.folder / host.name / what

    def osd_id(self, host: CephHost) -> int:
        return self.hosts.index(host)

    def osd_uuid(self, host: CephHost) -> str:
        return str(uuid.uuid5(self.fsid, f"osd.{self.osd_id(host)}"))

    def host(self, name: str) -> CephHost:
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(f"{name} is not a Ceph host of site {self.site}")


def ceph_plan(site: str, hosts: Sequence[tuple[str, str, str]], folder: Path) -> CephPlan:
    """``hosts`` are (name, namespace, address). The cluster's identity follows from site and folder."""
    if not hosts:
        raise ValueError(f"site {site} has no host to run Ceph on")
    fsid = uuid.uuid5(_NAMESPACE, f"{site}:{folder}")
    return CephPlan(site, fsid, tuple(CephHost(*host) for host in hosts), folder)


def render_secret(random: bytes, seconds: int) -> str:
    """A cephx secret: type AES, creation time, 16 random bytes (CryptoKey's encoding, base64)."""
    if len(random) != 16:
        raise ValueError("a cephx secret takes 16 random bytes")
    return base64.b64encode(struct.pack("<HIIH", 1, seconds, 0, 16) + random).decode()


def capabilities(plan: CephPlan) -> dict[str, dict[str, str]]:
    """Entity -> daemon -> capability. Hosts read base images and replicas; they write guests alone."""
    everything = {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
    found: dict[str, dict[str, str]] = {
        "mon.": {"mon": "allow *"},
        ADMIN_CLIENT: everything,
        HOST_CLIENT: {
            "mon": "profile rbd",
            "osd": f"profile rbd pool={GUESTS_POOL}, profile rbd-read-only pool={IMAGES_POOL}, "
            f"profile rbd-read-only pool={REPLICAS_POOL}",
            "mgr": f"profile rbd pool={GUESTS_POOL}",
        },
        STEWARD_CLIENT: {
            "mon": "profile rbd",
            "osd": ", ".join(f"profile rbd pool={pool}" for pool in POOLS),
            "mgr": ", ".join(f"profile rbd pool={pool}" for pool in POOLS),
        },
        f"mgr.{plan.mgr_host.name}": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    }
    for host in plan.hosts:
        found[f"osd.{plan.osd_id(host)}"] = {
            "mon": "allow profile osd",
            "mgr": "allow profile osd",
            "osd": "allow *",
        }
    return found


def render_keyring(secrets: Mapping[str, str], caps: Mapping[str, Mapping[str, str]] | None = None) -> str:
    lines: list[str] = []
    for entity, secret in secrets.items():
        lines += [f"[{entity}]", f"\tkey = {secret}"]
        lines += [f'\tcaps {daemon} = "{cap}"' for daemon, cap in (caps or {}).get(entity, {}).items()]
    return "\n".join(lines) + "\n"


_CLIENT = {
    # A client whose monitor died without a word must notice before guests' I/O is late.
    "mon_client_ping_interval": "2",
    "mon_client_ping_timeout": "6",
    "mon_client_hunt_interval": "1",
    "objecter_tick_interval": "2",
    "objecter_timeout": "4",
    "rbd_default_features": "61",  # layering, exclusive-lock, object-map, fast-diff, deep-flatten
    "rbd_default_clone_format": "2",
    "rbd_cache_writethrough_until_flush": "true",
}
_DAEMON = {
    "ms_async_op_threads": "1",
    "osd_pool_default_size": "2",
    "osd_pool_default_min_size": "1",
    "osd_pool_default_pg_autoscale_mode": "off",
    "osd_crush_chooseleaf_type": "1",
    "osd_heartbeat_interval": "1",
    "osd_heartbeat_grace": "6",
    "mon_osd_min_down_reporters": "1",
    "mon_osd_adjust_heartbeat_grace": "false",
    "mon_osd_adjust_down_out_interval": "false",
    "mon_osd_down_out_interval": "86400",
    "mon_lease": "2",
    "mon_election_timeout": "2",
    "mon_tick_interval": "2",
    "mon_data_avail_warn": "5",
    "mon_data_avail_crit": "2",
    "mon_warn_on_pool_no_redundancy": "false",
    "mon_allow_pool_delete": "true",
    "mon_max_pg_per_osd": "500",
    "mon_cluster_log_to_file": "false",
    "paxos_propose_interval": "0.3",
    "auth_allow_insecure_global_id_reclaim": "false",
    "osd_client_watch_timeout": "10",
    "osd_memory_target": "939524096",
    "osd_op_num_shards": "2",
    "osd_op_num_threads_per_shard": "1",
    "osd_scrub_begin_hour": "2",
    "osd_scrub_end_hour": "4",
    "bluestore_cache_autotune": "false",
    "bluestore_cache_size": "67108864",
    "bluestore_block_create": "true",
    "mgr_initial_modules": "rbd_support",
    "log_to_stderr": "false",
    "err_to_stderr": "true",
    "max_open_files": "65536",
}


def mon_host(plan: CephPlan) -> str:
    return ",".join(f"[v2:{host.address}:3300,v1:{host.address}:6789]" for host in plan.hosts)


def _section(name: str, options: Mapping[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"\t{key} = {value}\n" for key, value in options.items())


def _global(plan: CephPlan) -> dict[str, object]:
    auth = dict.fromkeys(("auth_cluster_required", "auth_service_required", "auth_client_required"), "cephx")
    return {"fsid": plan.fsid, "mon_host": mon_host(plan), **auth, **_CLIENT}


def render_client_conf(plan: CephPlan, keyrings: Path) -> str:
    """``ceph.conf`` of a host. Keyrings lie in ``keyrings`` as ``client.<name>.keyring``, mode 0600."""
    client = {"keyring": keyrings / "$name.keyring", "admin_socket": '""', "log_file": '""'}
    return _section("global", _global(plan)) + _section("client", client)


def render_conf(plan: CephPlan) -> str:
    """``ceph.conf`` of the daemons and of the administrator."""
    initial = ",".join(host.name for host in plan.hosts)
    options = {**_global(plan), **_DAEMON, "bluestore_block_size": plan.osd_bytes, "mon_initial_members": initial}
    text = _section("global", options)
    text += _section("client", {"keyring": plan.folder / "$name.keyring", "admin_socket": '""', "log_file": '""'})
    for host in plan.hosts:
        run, log = plan.data(host, "run"), plan.data(host, "log")
        own = {"run_dir": run, "admin_socket": run / "$name.asok", "pid_file": run / "$name.pid"}
        own["log_file"] = log / "$name.log"
        address = {"public_addr": host.address, "host": host.name}
        mon = plan.data(host, "mon")
        text += _section(f"mon.{host.name}", {**own, **address, "mon_data": mon, "keyring": mon / "keyring"})
        osd = plan.data(host, "osd")
        place = {"crush_location": f"root=default host={host.name}", "cluster_addr": host.address}
        osd_id = f"osd.{plan.osd_id(host)}"
        text += _section(osd_id, {**own, **address, **place, "osd_data": osd, "keyring": osd / "keyring"})
        if host == plan.mgr_host:
            mgr = plan.data(host, "mgr")
            text += _section(f"mgr.{host.name}", {**own, **address, "mgr_data": mgr, "keyring": mgr / "keyring"})
    return text


def monmap_argv(plan: CephPlan) -> list[str]:
    argv = ["monmaptool", "--create", "--clobber", "--fsid", str(plan.fsid), "--enable-all-features"]
    for host in plan.hosts:
        argv += ["--addv", host.name, f"[v2:{host.address}:3300,v1:{host.address}:6789]"]
    return [*argv, str(plan.monmap)]


def mon_mkfs_argv(plan: CephPlan, host: CephHost) -> list[str]:
    argv = ["ceph-mon", "-c", str(plan.conf), "-i", host.name, "--mkfs", "--monmap", str(plan.monmap)]
    return [*argv, "--keyring", str(plan.bootstrap_keyring)]


def osd_mkfs_argv(plan: CephPlan, host: CephHost) -> list[str]:
    argv = ["ceph-osd", "-c", str(plan.conf), "-i", str(plan.osd_id(host)), "--mkfs", "--no-mon-config"]
    return [*argv, "--osd-uuid", plan.osd_uuid(host), "--osd-objectstore", "bluestore"]


def daemons(plan: CephPlan, host: CephHost) -> list[tuple[str, list[str]]]:
    """(name, argv) of what runs on this host, in the foreground, in the order to start it."""
    conf = ["-c", str(plan.conf), "-f"]
    found = [("ceph-mon", ["ceph-mon", *conf, "-i", host.name])]
    found.append(("ceph-osd", ["ceph-osd", *conf, "-i", str(plan.osd_id(host))]))
    if host == plan.mgr_host:
        found.append(("ceph-mgr", ["ceph-mgr", *conf, "-i", host.name]))
    return found


def admin_argv(plan: CephPlan, *words: str) -> list[str]:
    return ["ceph", "-c", str(plan.conf), "--connect-timeout", "5", *words]


def osd_new_commands(plan: CephPlan) -> list[str]:
    """The monitors give each OSD the identity that its store was made with."""
    return [f"osd new {plan.osd_uuid(host)} {plan.osd_id(host)}" for host in plan.hosts]


def pool_commands(plan: CephPlan) -> list[str]:
    commands = ["osd set-require-min-compat-client mimic"]
    for pool in POOLS:
        size = f"--size {min(2, len(plan.hosts))}"
        commands.append(f"osd pool create {pool} {PG_NUM[pool]} {PG_NUM[pool]} replicated {size} --autoscale-mode off")
        commands.append(f"osd pool application enable {pool} rbd")
    return commands
