"""The region store on etcd: the store port over gRPC with mutual TLS.

The JSON gateway of etcd cannot take a user from a client certificate, hence gRPC.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemel.core.outcome import OutcomeUnknown, Permanent, Present, Unknown
from gemel.core.store import (
    Batch,
    Committed,
    Compare,
    KeyValue,
    Lease,
    LeaseLost,
    Listing,
    StoreUnavailable,
    Write,
)
from gemel.store.etcd import wire
from gemel.store.etcd.members import Credentials, Member, MemberFailed, Ring
from gemel.store.etcd.renewal import renew
from gemel.store.etcd.translate import Verdict, parse_failure, parse_item, render_range, render_transaction
from gemel.store.etcd.watching import follow
from gemel.store.etcd.wire import Method, message


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """``follows``: it knows of a leader. ``size``: bytes of its database, to hold against its quota."""

    version: str
    leads: bool
    follows: bool
    term: int
    size: int


class EtcdStore:
    """``core.store.Store`` over the members of one etcd. Make it with ``connect``."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._ttls: dict[int, float] = {}
        self._closed = asyncio.Event()

    @classmethod
    async def connect(
        cls,
        endpoints: Sequence[str],
        ca: Path,
        cert: Path,
        key: Path,
        call_timeout: float = 1.0,
        budget: float = 5.0,
    ) -> "EtcdStore":
        """A client for ``endpoints`` (``10.0.0.1:2379``, with or without ``https://``), in the order in which
        they are to be tried: the nearest first. Does not wait for any of them. ``call_timeout`` bounds one
        try at one member, ``budget`` a whole call. Raises Permanent when a file cannot be read."""
        if not 0 < call_timeout <= budget:
            raise Permanent(f"etcd call timeout {call_timeout:g} s must be above 0 and within {budget:g} s")
        try:
            pems = [await asyncio.to_thread(path.read_bytes) for path in (ca, cert, key)]
        except OSError as error:
            raise Permanent(f"cannot read the store client's certificate: {error}; issue it anew") from error
        credentials = Credentials(*pems)
        members = [Member(endpoint, credentials) for endpoint in endpoints]
        return cls(Ring(members, call_timeout, budget))

    # -- reads ---------------------------------------------------------------------------------------------

    async def get(self, key: str) -> KeyValue | None:
        answer = await self._read(f"read {key}", wire.RANGE, message("RangeRequest", key=key.encode()))
        return parse_item(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str) -> Listing:
        request = message("RangeRequest", **render_range(prefix))
        answer = await self._read(f"list {prefix}", wire.RANGE, request)
        return Listing(answer.header.revision, tuple(parse_item(item) for item in answer.kvs))

    async def _read(self, what: str, method: Method, request: Any) -> Any:
        """What may be asked again without harm, at another member if need be."""

        async def once(member: Member, timeout: float) -> Any:
            await member.ready(timeout)
            answer = await member.call(method, request, timeout)
            member.proved()
            return answer

        self._check_open(what)
        return await self._ring.ask(what, once)

    # -- writes --------------------------------------------------------------------------------------------

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        request = render_transaction(compares, writes)
        keys = ", ".join(write.key for write in writes[:3]) + (" ..." if len(writes) > 3 else "")
        if writes:
            answer = await self._write(f"commit {keys}", wire.TXN, request)
        else:
            answer = await self._read("check a condition", wire.TXN, request)
        return Committed(answer.succeeded, answer.header.revision)

    async def _write(self, what: str, method: Method, request: Any) -> Any:
        """Sent once. Members are changed before the request is sent, or after one surely did nothing."""

        async def once(member: Member, timeout: float) -> Any:
            await member.ready(timeout)
            if not member.proven:
                await member.prove(timeout)
            try:
                answer = await member.call(method, request, timeout)
            except MemberFailed as error:
                if parse_failure(error.code, error.details) is not Verdict.UNKNOWN:
                    raise
                self._ring.leave(member)
                raise OutcomeUnknown(
                    f"{what}: the answer of {error} was lost; read again before repeating it"
                ) from error
            member.proved()
            return answer

        self._check_open(what)
        return await self._ring.ask(what, once)

    async def compact(self, revision: int) -> None:
        """Forget history up to ``revision``; etcd also does it by itself."""
        await self._read(f"compact at {revision}", wire.COMPACT, message("CompactionRequest", revision=revision))

    # -- watches -------------------------------------------------------------------------------------------

    def watch(self, prefix: str, after: int) -> AsyncIterator[Batch]:
        """See the port. An empty Batch tells, about once a second of silence, that a quorum was in reach and
        the watch alive; its revision is that of the last event."""
        return follow(self._ring, prefix, after, self._closed)

    # -- leases --------------------------------------------------------------------------------------------

    async def grant(self, ttl: float) -> Lease:
        """Whole seconds, rounded up; etcd raises what is below 1.5 election timeouts. ``Lease.ttl`` tells."""
        what = f"grant a lease of {ttl:g} s"
        answer = await self._read(what, wire.GRANT, message("LeaseGrantRequest", TTL=math.ceil(ttl)))
        if answer.error:
            raise StoreUnavailable(f"cannot {what}: {answer.error}")
        self._ttls[answer.ID] = float(answer.TTL)
        return Lease(answer.ID, float(answer.TTL))

    async def keep_alive(self, lease_id: int) -> float:
        """See the port and ``renewal``: an answer also proves that a quorum knew of no newer leader after the
        call was made, so ``time of the call + ttl`` is before the store can forget the lease."""
        self._check_open(f"renew lease {lease_id:x}")
        try:
            ttl = await renew(self._ring, lease_id, self._ttls.get(lease_id))
        except LeaseLost:
            self._ttls.pop(lease_id, None)
            raise
        self._ttls[lease_id] = ttl
        return ttl

    async def revoke(self, lease_id: int) -> None:
        what = f"revoke lease {lease_id:x}"
        try:
            await self._read(what, wire.REVOKE, message("LeaseRevokeRequest", ID=lease_id))
        except LeaseLost:
            pass  # gone is what was asked for
        except StoreUnavailable as error:
            raise OutcomeUnknown(f"{error}; it ends by itself when its time is over") from error
        self._ttls.pop(lease_id, None)

    # -- the client itself ---------------------------------------------------------------------------------

    async def call(self, what: str, method: Method, /, **fields: Any) -> Any:
        """A call outside the port that may be repeated without harm (roles, status)."""
        return await self._read(what, method, message(method.request, **fields))

    async def observe_members(self) -> dict[str, Present[MemberStatus] | Unknown]:
        """What each member says of itself, by endpoint; silence is Unknown."""
        members = self._ring.members
        answers = await asyncio.gather(*(self._status(member) for member in members))
        return {member.endpoint: answer for member, answer in zip(members, answers, strict=True)}

    async def _status(self, member: Member) -> Present[MemberStatus] | Unknown:
        timeout = self._ring.call_timeout
        try:
            await member.ready(timeout)
            answer = await member.call(wire.STATUS, message("StatusRequest"), timeout)
        except MemberFailed as error:
            return Unknown(str(error))
        leads = answer.leader == answer.header.member_id
        return Present(MemberStatus(answer.version, leads, answer.leader != 0, answer.raftTerm, answer.dbSize))

    def _check_open(self, what: str) -> None:
        if self._closed.is_set():
            raise StoreUnavailable(f"cannot {what}: this store client is closed")

    async def close(self) -> None:
        self._closed.set()
        await self._ring.close()
