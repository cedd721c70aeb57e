"""The region at one glance, what happened in it, and who changed it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from gemel.api.audit import HEAD, AuditRecord
from gemel.api.errors import responses
from gemel.api.reading import read_records
from gemel.api.services import Here, Services, Who, kind_of, require
from gemel.api.tokens import Role
from gemel.api.wire import AuditBody, AuditChangeBody, AuditsBody, EventBody, EventsBody
from gemel.catalog.records import SOURCES, decode
from gemel.catalog.region import MemberFacts, RegionStatus, describe_region
from gemel.core import layout
from gemel.core.events import Event

router = APIRouter(prefix="/v1", tags=["region"])

MEMBERS_WITHIN = 2.0
About = Annotated[str, Query(max_length=300, pattern=r"^([A-Za-z]+(/[a-z0-9.-]+)?)?$", examples=["vm/bank-db"])]
After = Annotated[str, Query(max_length=64, examples=["20260102T030405.000006Z-1f2e3d4c"])]
Limit = Annotated[int, Query(ge=1, le=10_000)]


@router.get("/status", responses=responses(), response_model_exclude_none=True)
async def status(here: Here, identity: Who) -> RegionStatus:
    """Sites, applications, replicas, quarantine, the store, and what is wrong with any of them."""
    records, members = await asyncio.gather(read_records(here.store, SOURCES), _members(here))
    return describe_region(records, here.region, here.clock.wall(), members)


async def _members(here: Services) -> tuple[MemberFacts, ...]:
    if here.members is None:
        return ()
    try:
        return await asyncio.wait_for(here.members(), MEMBERS_WITHIN)
    except TimeoutError:
        return ()


@router.get("/events", responses=responses(404), response_model_exclude_none=True)
async def events(here: Here, identity: Who, about: About = "", after: After = "", limit: Limit = 1000) -> EventsBody:
    """What happened in the last hour, oldest first; after an event's id, and at most the last ``limit``."""
    kind, name = _about(about)
    listing = await here.store.list(layout.EVENTS)
    found = []
    for item in listing.items:
        identifier = layout.leaf(item.key)
        event = decode(Event, item.value) if identifier > after else None
        if (
            event is not None
            and event.about.kind == (kind or event.about.kind)
            and event.about.name == (name or event.about.name)
        ):
            found.append(_event(identifier, event))
    return EventsBody(items=found[-limit:], revision=listing.revision)


def _about(text: str) -> tuple[str, str]:
    """``vm/bank-db`` or ``vm`` as kind and name; a word that is no kind is taken as it is (Region, Record)."""
    word, _, name = text.partition("/")
    if not word:
        return "", ""
    return (word if word in ("Region", "Record", "Member") else kind_of(word).name), name


def _event(identifier: str, event: Event) -> EventBody:
    return EventBody(
        id=identifier,
        at=event.at,
        type=event.type.value,
        reason=event.reason,
        about={"kind": event.about.kind, "name": event.about.name},
        epoch=event.epoch,
        message=event.message,
        source=event.source,
    )


@router.get("/audit", responses=responses(404), response_model_exclude_none=True)
async def audit_trail(
    request: Request, here: Here, identity: Who, about: About = "", after: After = "", limit: Limit = 1000
) -> AuditsBody:
    """Who changed what, and who was denied it; oldest first. For admins."""
    await require(request, identity, Role.ADMIN, "read", "audit trail", "")
    kind, name = _about(about)
    listing = await here.store.list(layout.AUDIT)
    found = []
    for item in listing.items:
        identifier = layout.leaf(item.key)
        record = decode(AuditRecord, item.value) if item.key != HEAD and identifier > after else None
        if record is None:
            continue
        about_it = [c for c in record.changes if c.kind == (kind or c.kind) and c.name == (name or c.name)]
        if about_it:
            found.append(_audit(identifier, record, item.mod_revision))
    return AuditsBody(items=found[-limit:], revision=listing.revision)


def _audit(identifier: str, record: AuditRecord, revision: int) -> AuditBody:
    changes = [
        AuditChangeBody(
            verb=change.verb,
            kind=change.kind,
            name=change.name,
            action=change.action,
            before=change.before,
            after=revision if change.action in ("created", "configured") else None,
            detail=change.detail,
        )
        for change in record.changes
    ]
    return AuditBody(
        id=identifier, at=record.at, user=record.user, role=record.role, outcome=record.outcome.value, changes=changes
    )
