"""What a person asks of guests, applications and hosts."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from gemel.api.errors import responses
from gemel.api.ledger import Plan
from gemel.api.routes.resources import ObjectName, results_of
from gemel.api.services import Here, Services, Who, require
from gemel.api.tokens import Identity, Role
from gemel.api.wire import MigrateWish, MoveWish, ResultsBody
from gemel.catalog.changes import plan_field
from gemel.catalog.moves import plan_migrate, plan_move
from gemel.catalog.registry import APPLICATION, HOST, VIRTUAL_MACHINE

router = APIRouter(prefix="/v1", tags=["verbs"])


async def _run(
    request: Request, here: Services, identity: Identity, about: tuple[str, str, str], plan: Plan
) -> ResultsBody:
    verb, kind, name = about
    await require(request, identity, Role.OPERATOR, verb, kind, name)
    return results_of(await here.ledger.change(identity, plan))


@router.post(
    "/applications/{name}/move", status_code=202, responses=responses(404, 409), response_model_exclude_none=True
)
async def move(name: ObjectName, wish: MoveWish, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Ask for a planned move to the other site, without loss. A controller takes it up."""
    about = ("move", APPLICATION.name, name)
    return await _run(
        request, here, identity, about, lambda records, _: plan_move(records, name, wish.to, identity.user)
    )


@router.post(
    "/virtualmachines/{name}/migrate", status_code=202, responses=responses(404, 409), response_model_exclude_none=True
)
async def migrate(
    name: ObjectName,
    request: Request,
    here: Here,
    identity: Who,
    wish: Annotated[MigrateWish | None, Body()] = None,
) -> ResultsBody:
    """Ask for a live migration to another host of its site; placement chooses when none is named."""
    about, to = ("migrate", VIRTUAL_MACHINE.name, name), wish.to if wish else None
    return await _run(request, here, identity, about, lambda records, _: plan_migrate(records, name, to, identity.user))


@router.post("/virtualmachines/{name}/start", responses=responses(404, 409), response_model_exclude_none=True)
async def start(name: ObjectName, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Set ``spec.running``."""
    about = ("start", VIRTUAL_MACHINE.name, name)
    return await _run(
        request,
        here,
        identity,
        about,
        lambda records, _: plan_field(records, VIRTUAL_MACHINE, name, "start", "running", True),
    )


@router.post("/virtualmachines/{name}/stop", responses=responses(404, 409), response_model_exclude_none=True)
async def stop(name: ObjectName, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Clear ``spec.running``: its host asks the guest to shut down."""
    about = ("stop", VIRTUAL_MACHINE.name, name)
    return await _run(
        request,
        here,
        identity,
        about,
        lambda records, _: plan_field(records, VIRTUAL_MACHINE, name, "stop", "running", False),
    )


@router.post("/hosts/{name}/drain", responses=responses(404, 409), response_model_exclude_none=True)
async def drain(name: ObjectName, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Clear ``spec.schedulable``: nothing new is placed there, and what runs is moved away."""
    about = ("drain", HOST.name, name)
    return await _run(
        request,
        here,
        identity,
        about,
        lambda records, _: plan_field(records, HOST, name, "drain", "schedulable", False),
    )


@router.post("/hosts/{name}/resume", responses=responses(404, 409), response_model_exclude_none=True)
async def resume(name: ObjectName, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Set ``spec.schedulable``."""
    about = ("resume", HOST.name, name)
    return await _run(
        request,
        here,
        identity,
        about,
        lambda records, _: plan_field(records, HOST, name, "resume", "schedulable", True),
    )
