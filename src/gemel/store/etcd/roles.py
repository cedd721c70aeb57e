"""Who may write what in the region store: etcd's users are the common names of client certificates.

The table is the one in docs/architecture.md. Everyone of the region may read all of it.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gemel.core import layout
from gemel.core.outcome import Permanent
from gemel.store.etcd import wire
from gemel.store.etcd.client import EtcdStore
from gemel.store.etcd.translate import render_range

_READ, _READ_WRITE = 0, 2
ROOT_USER = "root"


class Role(StrEnum):
    """The common name of a process's store certificate."""

    API = "api"
    CONTROLLER = "controller"
    AGENT = "agent"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A right on a key (``range_end`` empty) or on a range of keys."""

    key: bytes
    range_end: bytes
    kind: int


def _everything_under(prefix: str, kind: int) -> Grant:
    return Grant(**render_range(prefix), kind=kind)


_WRITES: Mapping[Role, tuple[str, ...]] = {
    Role.API: (layout.RESOURCES, layout.REQUESTS, layout.AUDIT, layout.EVENTS),
    Role.CONTROLLER: (
        layout.TICKETS,
        layout.ASSIGNMENTS,
        layout.STATUS,
        layout.REQUESTS,
        layout.EVENTS,
    ),
    Role.AGENT: (
        layout.LEASES,
        layout.REPORTS,
        layout.FROZEN,
        layout.QUARANTINE,
        layout.steward(""),
        layout.VOLUMES,
        layout.CUTS,
        layout.REPLICAS,
        layout.BACKLOG,
        layout.EVENTS,
    ),
    Role.VIEWER: (),
}


def plan_grants(role: Role) -> frozenset[Grant]:
    """All rights of a role."""
    grants = {_everything_under(layout.ROOT, _READ)}
    grants |= {_everything_under(prefix, _READ_WRITE) for prefix in _WRITES[role]}
    if role is Role.CONTROLLER:
        grants.add(Grant(layout.CONTROLLERS.encode(), b"", _READ_WRITE))
    return frozenset(grants)


async def ensure_roles(store: EtcdStore) -> None:
    """Make etcd's users and roles as the table says, and switch its authentication on. ``store`` has the
    certificate of ``root``. May be repeated, also after a crash half-way; rights that the table does not give
    are taken away."""
    roles = (await store.call("list roles", wire.ROLE_LIST)).roles
    users = (await store.call("list users", wire.USER_LIST)).users
    for name in (ROOT_USER, *Role):
        if name not in roles:
            await _once(store.call(f"add role {name}", wire.ROLE_ADD, name=name))
        if name not in users:
            options = {"no_password": True}  # a certificate is the only way in
            await _once(store.call(f"add user {name}", wire.USER_ADD, name=name, options=options))
        held = (await store.call(f"read user {name}", wire.USER_GET, name=name)).roles
        if name not in held:
            await _once(store.call(f"give {name} its role", wire.USER_GRANT, user=name, role=name))
    for role in Role:
        await _ensure_grants(store, role)
    await store.call("switch authentication on", wire.AUTH_ENABLE)


async def _ensure_grants(store: EtcdStore, role: Role) -> None:
    found = (await store.call(f"read role {role}", wire.ROLE_GET, role=role)).perm
    held = {Grant(right.key, right.range_end, right.permType) for right in found}
    wanted = plan_grants(role)
    kept = {(grant.key, grant.range_end) for grant in wanted}
    for grant in sorted(held - wanted):
        if (grant.key, grant.range_end) not in kept:  # else granting anew replaces it
            spot = {"key": grant.key, "range_end": grant.range_end}
            await _once(store.call(f"take a right from {role}", wire.ROLE_REVOKE, role=role, **spot))
    for grant in sorted(wanted - held):
        right = {"permType": grant.kind, "key": grant.key, "range_end": grant.range_end}
        await store.call(f"give {role} a right", wire.ROLE_GRANT, name=role, perm=right)


async def _once(call: Awaitable[Any]) -> None:
    """A call whose answer was lost is repeated, and then finds its own work done."""
    try:
        await call
    except Permanent as error:
        if not any(word in str(error) for word in ("already exist", "already granted", "is not granted")):
            raise
