"""How a machine becomes a host: an admin invites it, and with the invitation's token it gets a certificate.

A token serves one key: the first request that shows it binds the token to its key, and only that request
may come again (its answer may have been lost). It ends with its lease, after ``INVITATION_LIFE``.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from gemel.api import audit
from gemel.api.errors import ApiError
from gemel.api.reading import read_records
from gemel.api.tokens import Identity, Role, digest_of, new_token
from gemel.catalog.changes import Action, Change, NotFound, Refused
from gemel.catalog.records import Records, decode
from gemel.core import layout
from gemel.core.clock import Clock
from gemel.core.outcome import Conflict
from gemel.core.resource import Model
from gemel.core.store import KeyValue, Put, Store, unchanged
from gemel.engines.pki import Purpose, Subject, load_authority, sign_request

JOIN = "join"
"""Invitations stand under ``layout.request(JOIN, host)``; controllers leave them alone."""
INVITATION_LIFE = 3600.0
AGENT = "agent"
"""The common name of every host's certificate: the region store's role for agents."""


class Invitation(Model):
    host: str
    token_sha256: str
    invited_by: str
    expires: datetime
    csr_sha256: str = ""
    """Of the request that used the token."""


@dataclass(frozen=True, slots=True)
class JoinTerms:
    """What a joining host is told of the region. ``ttl`` and ``margin``: seconds, of its lease."""

    region: str
    api: tuple[str, ...]
    store: tuple[str, ...]
    ttl: float
    margin: float


class Signer(Protocol):
    """The region's authority, as far as joining needs it. Blocking."""

    def ca(self) -> str: ...

    def sign(self, csr: bytes, host: str, address: str) -> str: ...


class FolderSigner:
    """The authority whose files are in a folder of this API's host."""

    def __init__(self, folder: Path) -> None:
        self._authority = load_authority(folder)

    def ca(self) -> str:
        return self._authority.pem.decode()

    def sign(self, csr: bytes, host: str, address: str) -> str:
        subject = Subject(cn=AGENT, unit=host, dns=(host,), ips=(address,), purpose=Purpose.PEER)
        return sign_request(self._authority, csr, subject).decode()


@dataclass(frozen=True, slots=True)
class Joined:
    host: str
    site: str
    address: str
    certificate: str
    ca: str


class Joining:
    def __init__(self, store: Store, clock: Clock, signer: Signer | None, terms: JoinTerms) -> None:
        self._store = store
        self._clock = clock
        self._signer = signer
        self.terms = terms

    def _ready_signer(self) -> Signer:
        if self._signer is None:
            hint = "set authority: to the folder of ca.crt and ca.key in api.yaml, or ask the other site's API"
            raise ApiError(409, "NoAuthority", "this API has no certificate authority: it cannot let hosts join", hint)
        return self._signer

    async def invite(self, identity: Identity, host: str) -> tuple[Invitation, str, str, str]:
        """A fresh invitation, its token, the host's site and the CA. An older one is void."""
        ca = self._ready_signer().ca()
        key, token = layout.request(JOIN, host), new_token()
        head = await self._store.get(audit.HEAD)
        records = await read_records(self._store, (layout.RESOURCES, key))
        declared = records.hosts.get(host)
        if declared is None:
            raise NotFound(f"there is no Host {host}: declare it first, then invite it")
        now = self._clock.wall()
        invitation = Invitation(
            host=host,
            token_sha256=digest_of(token),
            invited_by=identity.user,
            expires=now + timedelta(seconds=INVITATION_LIFE),
        )
        lease = await self._store.grant(INVITATION_LIFE)
        before = records.items.get(key)
        change = Change("invite", "Host", host, Action.REQUESTED)
        record = audit.record_of(identity, (change,), now, audit.Outcome.DONE, head.value.decode() if head else "")
        _, guard, puts = audit.chain(head, record)
        compares = [guard, unchanged(key, before.mod_revision if before else 0)]
        done = await self._store.commit(compares, [Put(key, invitation.to_json(), lease.id), *puts])
        if not done.succeeded:
            raise Conflict(f"the region changed while {host} was invited: invite it again")
        return invitation, token, declared.spec.site, ca

    async def join(self, host: str, token: str, csr: str) -> Joined:
        """Raises ApiError 403 for a wrong, used or expired token, without telling which."""
        signer = self._ready_signer()
        key = layout.request(JOIN, host)
        head = await self._store.get(audit.HEAD)
        records = await read_records(self._store, (layout.RESOURCES, key))
        invitation = self._invited(records, key, token)
        declared = records.hosts.get(host)
        if declared is None:
            raise Refused(f"Host {host} was deleted since it was invited")
        digest = hashlib.sha256(csr.encode()).hexdigest()
        if invitation.csr_sha256 not in ("", digest):
            raise _not_invited(host)
        address = str(declared.spec.address)
        # Signed before the token is bound: a request that cannot be signed does not use it up.
        certificate = signer.sign(csr.encode(), host, address)
        if not invitation.csr_sha256:
            await self._bind(records, invitation, digest, head)
        return Joined(host, declared.spec.site, address, certificate, signer.ca())

    def _invited(self, records: Records, key: str, token: str) -> Invitation:
        item = records.items.get(key)
        found = decode(Invitation, item.value) if item else None
        expected = found.token_sha256 if found else digest_of("")
        if not hmac.compare_digest(expected, digest_of(token)) or found is None:
            raise _not_invited(layout.leaf(key))
        return found

    async def _bind(self, records: Records, invitation: Invitation, digest: str, head: KeyValue | None) -> None:
        host, key = invitation.host, layout.request(JOIN, invitation.host)
        item, previous = records.items[key], head.value.decode() if head else ""
        bound = invitation.model_copy(update={"csr_sha256": digest})
        joiner = Identity(f"host {host}", Role.VIEWER)
        change = Change("join", "Host", host, Action.CONFIGURED, None, f"invited by {invitation.invited_by}")
        record = audit.record_of(joiner, (change,), self._clock.wall(), audit.Outcome.DONE, previous)
        _, guard, puts = audit.chain(head, record)
        compares = [guard, unchanged(key, item.mod_revision)]
        done = await self._store.commit(compares, [Put(key, bound.to_json(), item.lease), *puts])
        if not done.succeeded:
            raise Conflict(f"the region changed while {host} joined: send the same request again")


def _not_invited(host: str) -> ApiError:
    hint = f"an admin can invite it anew: gemel host invite {host}"
    return ApiError(403, "NotInvited", f"{host} is not invited with this token, or the token was used", hint)
