"""A member of the region store as a command line. Pure; works for etcd 3.4 and 3.5.

Everything speaks mutual TLS. Peers must hold a certificate of the name ``MEMBER_CN``: without that any
certificate of the region, an agent's too, could speak the members' own protocol past all roles.

Left out on purpose: lease checkpoints (``--experimental-enable-lease-checkpoint``). They would let a new leader
keep a lease for less than its full ttl, on which the proof in ``renewal`` stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gemel.core.outcome import Permanent

MEMBER_CN = "etcd"
"""Common name of members' certificates (server and client use, the member's address as SAN)."""

HEARTBEAT_MS = 200
ELECTION_MS = 2000
"""A leader is replaced within 2 to 4 s plus one round; between sites some 10 ms apart that is far from noise.
The least lease that etcd grants is 1.5 times this, rounded up: 3 s."""

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member is reached, by clients and by its peers."""

    name: str
    address: str
    client_port: int = 2379
    peer_port: int = 2380

    @property
    def endpoint(self) -> str:
        """For ``EtcdStore.connect``."""
        return f"{self.address}:{self.client_port}"

    @property
    def client_url(self) -> str:
        return f"https://{self.endpoint}"

    @property
    def peer_url(self) -> str:
        return f"https://{self.address}:{self.peer_port}"


@dataclass(frozen=True, slots=True)
class Server:
    """One member. ``members`` are all of the region, this one among them. ``joins``: it is added to a running
    cluster (whose members were told before) instead of forming a new one. ``metrics_port`` serves /health and
    /metrics in the clear on loopback; 0 for none."""

    place: Place
    members: Sequence[Place]
    data: Path
    ca: Path
    cert: Path
    key: Path
    token: str = "gemel"
    joins: bool = False
    quota: int = 2 * GIB
    metrics_port: int = 0


def render_argv(server: Server, program: str = "etcd") -> list[str]:
    """Raises Permanent for settings that cannot form a cluster."""
    _check_members(server)
    place = server.place
    options = {
        "name": place.name,
        "data-dir": str(server.data),
        "listen-client-urls": place.client_url,
        "advertise-client-urls": place.client_url,
        "listen-peer-urls": place.peer_url,
        "initial-advertise-peer-urls": place.peer_url,
        "initial-cluster": ",".join(f"{member.name}={member.peer_url}" for member in server.members),
        "initial-cluster-token": server.token,
        "initial-cluster-state": "existing" if server.joins else "new",
        **_render_security(server),
        **_render_timing(server),
    }
    if server.metrics_port:
        options["listen-metrics-urls"] = f"http://127.0.0.1:{server.metrics_port}"
    return [program, *(f"--{name}={value}" for name, value in options.items())]


def _render_security(server: Server) -> dict[str, str]:
    files = {"cert-file": server.cert, "key-file": server.key, "trusted-ca-file": server.ca}
    return {
        **{name: str(path) for name, path in files.items()},
        **{f"peer-{name}": str(path) for name, path in files.items()},
        "client-cert-auth": "true",
        "peer-client-cert-auth": "true",
        "peer-cert-allowed-cn": MEMBER_CN,
        "enable-grpc-gateway": "false",  # it cannot take a user from a certificate; one face less
    }


def _render_timing(server: Server) -> dict[str, str]:
    return {
        "heartbeat-interval": str(HEARTBEAT_MS),
        "election-timeout": str(ELECTION_MS),
        "pre-vote": "true",  # a member that comes back from a cut does not depose a working leader
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "quota-backend-bytes": str(server.quota),
        "snapshot-count": "10000",
        "max-txn-ops": "1024",
        # Clients look every 2 s whether the connection lives; etcd's default takes more than one in 5 s as abuse.
        "grpc-keepalive-min-time": "1s",
        "grpc-keepalive-interval": "10s",
        "grpc-keepalive-timeout": "5s",
        "logger": "zap",
        "log-outputs": "stderr",
    }


def _check_members(server: Server) -> None:
    names = [member.name for member in server.members]
    if len(set(names)) != len(names):
        raise Permanent(f"etcd members need distinct names, got {', '.join(names)}")
    if server.place not in server.members:
        raise Permanent(f"etcd member {server.place.name} is not among the members {', '.join(names)}: add it")
    if len(names) % 2 == 0:
        raise Permanent(f"{len(names)} etcd members survive no more losses than {len(names) - 1} do: use an odd number")
