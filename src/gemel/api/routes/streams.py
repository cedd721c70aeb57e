"""Answers that go on: watches and consoles."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from gemel.api.errors import ApiError, stream_responses
from gemel.api.reading import read_records
from gemel.api.routes.resources import REVISION, ObjectName, Plural
from gemel.api.services import Here, Who, kind_of
from gemel.api.watching import Watch
from gemel.core import layout

router = APIRouter(prefix="/v1", tags=["streams"])

Seconds = Annotated[float | None, Query(alias="timeoutSeconds", gt=0, le=86400, allow_inf_nan=False)]


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


class ConsoleStream(StreamingResponse):
    media_type = "application/octet-stream"


_FIELDS = {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}}
_EVENT = {"schema": {"type": "object", "properties": _FIELDS, "description": "data: JSON of type, object, revision"}}


@router.get(
    "/watch/{plural}",
    response_class=EventStream,
    responses={
        200: {"content": {"text/event-stream": _EVENT}, "description": "Changes, one JSON object an event."},
        **stream_responses(404, 410),
    },
)
async def watch(
    plural: Plural,
    here: Here,
    identity: Who,
    after: Annotated[int | None, Query(ge=0, le=REVISION)] = None,
    within: Seconds = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> EventStream:
    """Changes after a list's revision as ``{type: ADDED|MODIFIED|DELETED|PROGRESS|ERROR, object, revision}``;
    without one, all there is comes first. 410, or ERROR with code 410: list again."""
    kind = kind_of(plural)
    start = int(last_event_id) if last_event_id is not None else after
    limits = [limit for limit in (within, here.watch_limit) if limit is not None]
    lines = await Watch(here.store, kind, start, here.clock, min(limits, default=None)).open()
    return EventStream(lines, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


@router.get(
    "/virtualmachines/{name}/console",
    response_class=ConsoleStream,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "description": "What the guest wrote to its serial console.",
        },
        **stream_responses(404, 409),
    },
)
async def console(name: ObjectName, here: Here, identity: Who, follow: bool = False) -> ConsoleStream:
    """The serial console, read from the host that runs the guest."""
    records = await read_records(
        here.store, (layout.resource("VirtualMachine", name), layout.assignment(name), layout.resource("Host", ""))
    )
    if name not in records.machines:
        raise ApiError(404, "NotFound", f"there is no VirtualMachine {name}", "gemel get virtualmachines")
    assignment = records.assignments.get(name)
    host = records.hosts.get(assignment.host) if assignment else None
    if host is None:
        raise ApiError(
            409, "NotRunning", f"{name} is assigned to no host: it has no console", f"gemel describe vm {name}"
        )
    if here.consoles is None:
        raise ApiError(409, "NoConsoles", "this API has no certificate for its hosts", "ask the other site's API")
    parts = await here.consoles.open(str(host.spec.address), name, follow)
    return ConsoleStream(parts, headers={"Cache-Control": "no-store"})
