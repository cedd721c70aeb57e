"""Commits proposals: read, plan, compare, write, with the audit record in the same transaction."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from gemel.api import audit
from gemel.api.errors import ApiError
from gemel.api.reading import read_records
from gemel.api.tokens import Identity
from gemel.catalog.changes import Action, Change, Moment, Proposal
from gemel.catalog.records import Records
from gemel.core import layout, logs
from gemel.core.clock import Clock
from gemel.core.outcome import Conflict, GemelError, OutcomeUnknown
from gemel.core.store import Compare, Put, Store

log = logs.get("gemel.api.audit")

READ = (layout.RESOURCES, layout.REQUESTS, layout.TICKETS, layout.ASSIGNMENTS, layout.LEASES)
"""All that changes are validated against."""
TRIES = 5
MAX_BYTES = 1_000_000
"""Of one transaction: etcd refuses requests above 1.5 MiB."""

Plan = Callable[[Records, Moment], Proposal]


@dataclass(frozen=True, slots=True)
class Kept:
    """``revision``: of the transaction; None when nothing had to be written."""

    proposal: Proposal
    revision: int | None


class Ledger:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def change(self, identity: Identity, plan: Plan, documents: int = 1, dry_run: bool = False) -> Kept:
        """Plan on what is, and commit if it still is. Someone else's change in between is planned anew, a few
        times. Raises what the plan raises, Conflict, and the store's errors."""
        for _ in range(TRIES):
            head = await self._store.get(audit.HEAD)  # first: what is read after it is covered by it
            records = await read_records(self._store, READ)
            uids = [uuid.uuid4() for _ in range(documents)]
            proposal = plan(records, Moment(self._clock.wall(), uids, identity.user))
            if dry_run or not proposal.writes:
                return Kept(proposal, None)
            _check_size(proposal)
            done = tuple(change for change in proposal.changes if change.action is not Action.UNCHANGED)
            previous = head.value.decode() if head else ""
            record = audit.record_of(identity, done, self._clock.wall(), audit.Outcome.DONE, previous)
            key, guard, puts = audit.chain(head, record)
            revision = await self._commit(key, proposal, guard, puts)
            if revision is not None:
                for each in done:
                    log.info("changed", user=identity.user, **_words(each), revision=revision)
                return Kept(proposal, revision)
        raise Conflict("others change the region all the time: nothing was changed. Try again in a moment")

    async def _commit(self, key: str, proposal: Proposal, guard: Compare, puts: tuple[Put, Put]) -> int | None:
        """The revision, or None when a comparison failed."""
        try:
            done = await self._store.commit([guard, *proposal.compares], [*proposal.writes, *puts])
        except OutcomeUnknown:
            # The audit record tells: it is written with the change or not at all.
            found = await self._store.get(key)
            if found is None:
                raise
            return found.mod_revision
        return done.revision if done.succeeded else None

    async def deny(self, identity: Identity, change: Change) -> None:
        """Best effort: that it cannot be kept does not change the answer."""
        log.warning("denied", user=identity.user, role=identity.role.word, **_words(change))
        try:
            await audit.keep_denied(self._store, identity, change, self._clock.wall())
        except GemelError as error:
            log.warning("denial not kept", error=str(error))


def _words(change: Change) -> dict[str, str | int | None]:
    return {"verb": change.verb, "about": f"{change.kind}/{change.name}", "before": change.before}


def _check_size(proposal: Proposal) -> None:
    size = sum(len(write.value) for write in proposal.writes if isinstance(write, Put))
    if size > MAX_BYTES:
        message = f"these documents make a transaction of {size} bytes; the store takes {MAX_BYTES}"
        raise ApiError(413, "TooLarge", message, "apply them in several steps")
