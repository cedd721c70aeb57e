"""What ``gemel api`` is told: ``/etc/gemel/api.yaml``.

    region: paris
    listen: {address: 198.18.1.11, port: 7443}
    tls: {ca: tls/ca.crt, certificate: tls/api.crt, key: tls/api.key}
    store: {endpoints: [198.18.1.11:2379, ...], ca: tls/ca.crt, certificate: tls/api.crt, key: tls/api.key}
    tokens: tokens.yaml
    authority: authority          # folder of ca.crt and ca.key; without it hosts cannot join through this API
    endpoints: [https://198.18.1.11:7443, https://198.18.2.11:7443]
    lease: {ttl: 10s, margin: 3500ms}

Relative paths start at the file's folder.
"""

from pathlib import Path

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gemel.core.outcome import Permanent
from gemel.core.resource import Model
from gemel.core.units import Seconds
from gemel.store.access import StoreAccess


class Listen(Model):
    address: str = "0.0.0.0"
    port: int = Field(default=7443, gt=0, le=65535)


class Tls(Model):
    """The API's certificate: it serves with it, and calls agents with it."""

    ca: Path
    certificate: Path
    key: Path


class LeaseTerms(Model):
    """What joining hosts are told of their lease."""

    ttl: Seconds = 10.0
    margin: Seconds = 3.5


class ApiConfig(Model):
    region: str = "gemel"
    listen: Listen = Listen()
    tls: Tls
    store: StoreAccess
    tokens: Path
    authority: Path | None = None
    endpoints: tuple[str, ...] = ()
    """Of all APIs of the region, for joining hosts."""
    lease: LeaseTerms = LeaseTerms()
    agent_port: int = Field(default=7444, gt=0, le=65535)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")


def load_config(path: Path) -> ApiConfig:
    """Raises Permanent that names the file and the field."""
    try:
        found = ApiConfig.model_validate(YAML(typ="safe", pure=True).load(path.read_text()))
    except (OSError, YAMLError) as error:
        raise Permanent(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Permanent(f"{path}: {where}: {first['msg']}") from error
    if found.lease.margin >= found.lease.ttl:
        raise Permanent(f"{path}: lease.margin must be less than lease.ttl, or no host could ever hold a lease")
    return _rooted(found, path.resolve().parent)


def _rooted(config: ApiConfig, folder: Path) -> ApiConfig:
    def at(path: Path) -> Path:
        return folder / path  # an absolute path stays what it is

    tls = Tls(ca=at(config.tls.ca), certificate=at(config.tls.certificate), key=at(config.tls.key))
    files = {"ca": at(config.store.ca), "certificate": at(config.store.certificate), "key": at(config.store.key)}
    return config.model_copy(
        update={
            "tls": tls,
            "store": config.store.model_copy(update=files),
            "tokens": at(config.tokens),
            "authority": at(config.authority) if config.authority else None,
        }
    )
