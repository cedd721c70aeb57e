"""``gemel host join``: this machine becomes a host of a region, by a one-time token and a key made here.

    JOINFILE  --POST /v1/join {host, token, csr}-->  certificate  -->  /etc/gemel/{agent.yaml,tls/*}

The private key never leaves the machine. Repeating is safe: a joined host is left as it is, and a join
that was interrupted goes on with the same key.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemel.cli.client import Api
from gemel.cli.config import Context
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.yamltext import render_yaml

ROLE = "agent"
"""The certificate's common name: what etcd and the other agents know it by."""
CONFIG = Path("etc/gemel/agent.yaml")
LOCAL = Path("etc/gemel/local.yaml")
"""What only this machine knows (where images, Ceph and libvirt are), merged into the agent's configuration."""
TLS = Path("etc/gemel/tls")


@dataclass(frozen=True, slots=True)
class Invitation:
    """``ca`` is the region's certificate authority, PEM: by it the API is known before anything is sent."""

    region: str
    host: str
    endpoints: tuple[str, ...]
    ca: str
    token: str

    def __repr__(self) -> str:
        return f"Invitation({self.host} to {self.region}, token hidden)"


def parse_invitation(document: Any, name: str) -> Invitation:
    """Pure. Raises CommandFailed(USAGE) that names the field."""
    if not isinstance(document, Mapping):
        raise CommandFailed(Exit.USAGE, f"{name} is not a join file", "make one by: gemel host invite NAME -o FILE")

    def text(field: str) -> str:
        value = document.get(field)
        if not isinstance(value, str) or not value:
            raise CommandFailed(Exit.USAGE, f"{name}: {field}: missing", "make a new join file: gemel host invite")
        return value

    endpoints = document.get("api")
    if not isinstance(endpoints, list) or not endpoints or not all(isinstance(each, str) for each in endpoints):
        raise CommandFailed(Exit.USAGE, f"{name}: api: expected a list of the APIs' addresses")
    return Invitation(text("region"), text("host"), tuple(endpoints), text("ca"), text("token"))


def read_invitation(path: Path) -> Invitation:
    return parse_invitation(_load(path), str(path))


def render_invitation(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def write_secret(path: Path, text: str) -> None:
    from gemel.engines.pki.identity import write_private

    try:
        write_private(path, text.encode())
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"cannot write {path}: {error.strerror}") from error


async def join(invitation: Invitation, root: Path) -> str:
    """Returns what was done, in a sentence. Raises CommandFailed: CONFLICT when this machine is another
    region's host, or another host, already."""
    if _is_joined(invitation, root):
        return f"host/{invitation.host} is joined to region {invitation.region} already: nothing to do"
    try:
        answer = await _ask(invitation, root)
        _write(invitation, answer, root)
    except OSError as error:
        raise CommandFailed(
            Exit.USAGE, f"cannot write {error.filename}: {error.strerror}", "joining a region needs root"
        ) from error
    return (
        f"host/{invitation.host} joined region {invitation.region}; "
        "start it: systemctl enable --now gemel-watchdog gemel-agent"
    )


def _is_joined(invitation: Invitation, root: Path) -> bool:
    """True when all of its files are there and of this region. Raises CONFLICT when they are another's."""
    config, authority = root / CONFIG, root / TLS / "ca.crt"
    if authority.exists() and authority.read_text().split() != invitation.ca.split():
        raise _another(invitation, root, f"{authority} is another region's")
    if not config.exists():
        return False
    current = _load(config)
    for field in ("region", "host"):
        have, want = current.get(field), getattr(invitation, field)
        if have != want:
            raise _another(invitation, root, f"it is {field} {have!r}, not {want!r}")
    return (root / TLS / f"{ROLE}.crt").exists() and (root / TLS / f"{ROLE}.key").exists()


def _another(invitation: Invitation, root: Path, why: str) -> CommandFailed:
    return CommandFailed(
        Exit.CONFLICT,
        f"this machine belongs to a region already ({why}); it was left as it is",
        f"to give it to {invitation.region}: drain and delete the old host, then remove {root / CONFIG.parent}",
    )


async def _ask(invitation: Invitation, root: Path) -> Mapping[str, Any]:
    from gemel.engines.pki.identity import make_request, write_private, write_public

    folder = root / TLS
    draft_key, draft_csr, authority = folder / "draft.key", folder / "draft.csr", folder / "ca.crt"
    if not (draft_key.exists() and draft_csr.exists()):
        request = make_request(ROLE, unit=invitation.host)
        write_private(draft_key, request.key)
        write_public(draft_csr, request.csr)
    write_public(authority, invitation.ca.encode())
    async with Api(Context(invitation.region, invitation.endpoints, authority)) as api:
        body = {"host": invitation.host, "token": invitation.token, "csr": draft_csr.read_text()}
        answer = await api.post("/v1/join", body, repeatable=True)  # the token is bound to this request
    if not isinstance(answer, dict):
        answer = {}
    for field in ("certificate", "site", "address", "store"):
        if not answer.get(field):
            raise CommandFailed(Exit.UNAVAILABLE, f"the API's answer lacks {field}", "is it of the same version?")
    return answer


def _write(invitation: Invitation, answer: Mapping[str, Any], root: Path) -> None:
    """The certificate last but one, the configuration last: the agent's unit starts only when that exists."""
    from gemel.engines.pki.identity import write_private, write_public

    folder = root / TLS
    local = _load(root / LOCAL) if (root / LOCAL).exists() else {}
    config = plan_config(invitation, answer, local)
    _check(config, root)
    (folder / "draft.key").replace(folder / f"{ROLE}.key")
    write_public(folder / f"{ROLE}.crt", str(answer["certificate"]).encode())
    write_private(root / CONFIG, render_yaml(config).encode())
    (folder / "draft.csr").unlink(missing_ok=True)


def plan_config(invitation: Invitation, answer: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    """Pure: the agent's configuration. Paths are as the agent will see them, whatever ``--root`` is."""
    lease = {field: answer[field] for field in ("ttl", "margin") if answer.get(field) is not None}
    tls = Path("/") / TLS
    config: dict[str, Any] = {
        "region": invitation.region,
        "host": invitation.host,
        "site": answer["site"],
        "address": answer["address"],
        "store": {
            "endpoints": list(answer["store"]),
            "ca": str(tls / "ca.crt"),
            "certificate": str(tls / f"{ROLE}.crt"),
            "key": str(tls / f"{ROLE}.key"),
        },
    }
    if lease:
        config["lease"] = lease
    for field in local:
        if field in config and field != "lease":
            raise CommandFailed(Exit.USAGE, f"/{LOCAL}: {field}: the region decides this one", "remove it there")
    # ttl and margin are the region's: every host must keep the same promise.
    return config | dict(local) | ({"lease": dict(local.get("lease") or {}) | lease} if lease else {})


def _check(config: dict[str, Any], root: Path) -> None:
    """The agent must be able to read it: found out now, by a person who looks, and not at its start."""
    from gemel.agent.config import load
    from gemel.core.outcome import GemelError
    from gemel.engines.pki.identity import write_private

    draft = root / CONFIG.with_name("agent.draft.yaml")
    write_private(draft, render_yaml(config).encode())
    try:
        load(draft)
    except GemelError as error:
        words = str(error).replace(str(draft), f"the agent's configuration (with /{LOCAL})")
        raise CommandFailed(Exit.USAGE, words, f"correct /{LOCAL}, and join again") from error
    finally:
        draft.unlink(missing_ok=True)


def _load(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(Exit.USAGE, f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error
