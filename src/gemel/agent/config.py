"""What an agent is told: ``/etc/gemel/agent.yaml``, written by ``gemel host join``."""

from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from gemel.continuity.authority import LeaseTerms
from gemel.core.identity import Name
from gemel.core.outcome import Permanent
from gemel.core.resource import Model
from gemel.store.access import StoreAccess


class LeaseConfig(Model):
    """Seconds."""

    ttl: float = 10.0
    margin: float = 3.5
    renew_every: float = 1.0
    watchdog_grace: float = 1.0

    def terms(self) -> LeaseTerms:
        return LeaseTerms(
            ttl=self.ttl, margin=self.margin, renew_every=self.renew_every, watchdog_grace=self.watchdog_grace
        ).checked()


class CephConfig(Model):
    conf: Path
    host_user: str = "gemel-host"
    host_keyring: Path
    steward_user: str = "gemel-steward"
    steward_keyring: Path | None = None
    """Absent on hosts that may never be steward."""


class LibvirtConfig(Model):
    uri: str = "qemu:///system"
    domain_type: str = Field(default="kvm", pattern="^(kvm|qemu)$")


class AgentConfig(Model):
    region: str = "gemel"
    host: Name
    site: Name
    address: IPv4Address
    store: StoreAccess
    lease: LeaseConfig = LeaseConfig()
    image_dir: Path = Path("/var/lib/gemel/images")
    ceph: CephConfig | None = None
    libvirt: LibvirtConfig = LibvirtConfig()
    run_dir: Path = Path("/run/gemel")
    state_dir: Path = Path("/var/lib/gemel")
    console_port: int = 7444
    transfer_port: int = 7445


def load(path: Path) -> AgentConfig:
    """Raises Permanent that names the file and the field."""
    try:
        return AgentConfig.model_validate(YAML(typ="safe").load(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Permanent(f"{path}: {where}: {first['msg']}") from error
