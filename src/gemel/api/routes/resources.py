"""Kinds, lists, objects, and their changes."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from gemel.api.errors import ApiError, responses
from gemel.api.ledger import Kept
from gemel.api.reading import read_records, sources_of
from gemel.api.services import Here, Services, Who, kind_of, require, role_for
from gemel.api.tokens import Role
from gemel.api.wire import (
    ApplyWish,
    KindBody,
    KindsBody,
    ListBody,
    ObjectBody,
    ResultBody,
    ResultsBody,
)
from gemel.catalog.changes import Action, Change, Invalid, plan_apply, plan_delete, plan_replace
from gemel.catalog.kind import Kind
from gemel.catalog.manifest import Document, Problem
from gemel.catalog.objects import object_of, objects
from gemel.catalog.registry import KINDS, kind_named
from gemel.catalog.selection import BadSelector, parse_selector, selected
from gemel.catalog.shape import claimed

router = APIRouter(prefix="/v1", tags=["resources"])

Plural = Annotated[str, Path(min_length=1, max_length=64, examples=["virtualmachines"])]
ObjectName = Annotated[str, Path(min_length=1, max_length=200, examples=["bank-db"])]
REVISION = 2**63 - 1


@router.get("/kinds", responses=responses())
async def list_kinds(identity: Who) -> KindsBody:
    """Every kind: its words, its columns, and the schema of what is declared."""
    return KindsBody(items=[KindBody.of(kind) for kind in KINDS])


@router.post("/apply", responses=responses(409, 413), response_model_exclude_none=True)
async def apply(wish: ApplyWish, request: Request, here: Here, identity: Who) -> ResultsBody:
    """Create or replace several resources: all of them, or none."""
    documents = [Document(each.file, each.index, each.line, each.object) for each in wish.documents]
    for document in documents:
        await _require_for(document, request, identity)
    kept = await here.ledger.change(
        identity, lambda records, moment: plan_apply(records, documents, moment), len(documents), wish.dry_run
    )
    return results_of(kept)


async def _require_for(document: Document, request: Request, identity: Who) -> None:
    """Documents that name no kind are refused later, by admission, with all that is wrong."""
    place = claimed(document)
    kind = kind_named(place[0]) if place else None
    if kind is not None and kind.declared and place is not None:
        await require(request, identity, role_for(kind), "apply", kind.name, place[1][:200])
    elif identity.role < Role.OPERATOR:
        await require(request, identity, Role.OPERATOR, "apply", "document", f"{document.file}:{document.index}"[:200])


def results_of(kept: Kept) -> ResultsBody:
    return ResultsBody(
        results=[_result(change, kept.revision) for change in kept.proposal.changes], revision=kept.revision
    )


def _result(change: Change, revision: int | None) -> ResultBody:
    written = change.action in (Action.CREATED, Action.CONFIGURED)
    version = revision if written else change.before if change.action is Action.UNCHANGED else None
    return ResultBody(kind=change.kind, name=change.name, action=change.action.value, resource_version=version)


@router.get("/{plural}", responses=responses(404), response_model_exclude_none=True)
async def list_objects(
    plural: Plural,
    here: Here,
    identity: Who,
    label_selector: Annotated[str, Query(alias="labelSelector", max_length=1000, examples=["app=bank,tier!=db"])] = "",
) -> ListBody:
    """All of a kind, by name."""
    kind = kind_of(plural)
    try:
        wanted = parse_selector(label_selector)
    except BadSelector as error:
        raise Invalid((Problem("", 0, "labelSelector", str(error)),)) from error
    records = await read_records(here.store, sources_of(kind))
    found = [each for each in objects(kind, records, here.clock.wall()) if selected(wanted, each["metadata"]["labels"])]
    items = [ObjectBody.model_validate(each) for each in found]
    return ListBody(kind=f"{kind.name}List", items=items, revision=records.revision)


@router.get("/{plural}/{name}", responses=responses(404), response_model_exclude_none=True)
async def get_object(plural: Plural, name: ObjectName, here: Here, identity: Who) -> ObjectBody:
    """One object, with its status."""
    kind = kind_of(plural)
    return await _one(here, kind, name)


async def _one(here: Services, kind: Kind, name: str) -> ObjectBody:
    records = await read_records(here.store, sources_of(kind))
    found = object_of(kind, name, records, here.clock.wall())
    if found is None:
        raise ApiError(404, "NotFound", f"there is no {kind.name} {name}", f"gemel get {kind.plural}")
    return ObjectBody.model_validate(found)


@router.put(
    "/{plural}/{name}",
    responses={**responses(404, 405, 409, 413), 201: {"model": ObjectBody, "description": "It did not exist."}},
    response_model_exclude_none=True,
)
async def replace_object(
    plural: Plural,
    name: ObjectName,
    request: Request,
    response: Response,
    here: Here,
    identity: Who,
    found: Annotated[dict[str, Any], Body()],
) -> ObjectBody:
    """Create, or replace what was read: ``metadata.resourceVersion`` says which version that was."""
    kind = kind_of(plural)
    await require(request, identity, role_for(kind), "replace", kind.name, name)
    document = Document("", 0, 1, found)
    kept = await here.ledger.change(
        identity, lambda records, moment: plan_replace(records, kind, name, document, moment)
    )
    if kept.proposal.changes[0].action is Action.CREATED:
        response.status_code = 201
    return await _one(here, kind, name)


@router.delete("/{plural}/{name}", responses=responses(404, 405, 409), response_model_exclude_none=True)
async def delete_object(
    plural: Plural,
    name: ObjectName,
    request: Request,
    here: Here,
    identity: Who,
    version: Annotated[int | None, Query(alias="resourceVersion", ge=1, le=REVISION)] = None,
) -> ResultsBody:
    """Delete what nothing needs any more; only that version of it, when one is given."""
    kind = kind_of(plural)
    await require(request, identity, role_for(kind), "delete", kind.name, name)
    kept = await here.ledger.change(identity, lambda records, _: plan_delete(records, kind, name, version))
    return results_of(kept)
