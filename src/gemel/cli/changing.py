"""``apply``, ``diff``, ``delete`` and the verbs: requests that change what is desired."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gemel.catalog.kind import Kind
from gemel.catalog.manifest import Document
from gemel.catalog.registry import DECLARED, kind_named
from gemel.cli.client import Api, Json
from gemel.cli.difference import colour, plan_diff
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.failure import InvalidDocuments
from gemel.cli.listing import object_path
from gemel.cli.manifests import identity_of, place_problems
from gemel.cli.session import wait_until
from gemel.cli.words import Wanted


async def apply(api: Api, documents: Sequence[Document], dry_run: bool) -> list[tuple[str, str, str]]:
    """Kind, name and what was done to it, for each document. All or nothing."""
    body = {
        "dryRun": dry_run,
        "documents": [
            {"file": each.file, "index": each.index, "line": each.line, "object": each.object} for each in documents
        ],
    }
    try:
        # Applied twice is applied once: an answer that was lost may be asked for again elsewhere.
        answer = await api.post("/v1/apply", body, repeatable=True)
    except InvalidDocuments as refusal:
        raise place_problems(refusal, documents) from refusal
    return [(str(each["kind"]), str(each["name"]), str(each["action"])) for each in answer["results"]]


def report_applied(results: Sequence[tuple[str, str, str]], dry_run: bool) -> Iterator[str]:
    for kind_name, name, action in results:
        kind = kind_named(kind_name)
        yield f"{kind.singular if kind else kind_name}/{name} {action}{' (dry run)' if dry_run else ''}"


async def differ(api: Api, documents: Sequence[Document]) -> list[str]:
    """Lines of all differences; the documents are validated on the way, as an apply would."""
    await apply(api, documents, dry_run=True)
    lines: list[str] = []
    for document in documents:
        kind_name, name = identity_of(document)
        kind = kind_named(kind_name)
        if kind is not None:
            lines += plan_diff(await _live(api, kind, name), document.object, kind)
    return lines


async def _live(api: Api, kind: Kind, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await api.get(object_path(kind, name))
    except CommandFailed as error:
        if error.code is Exit.NOT_FOUND:
            return None
        raise
    return found


def print_diff(lines: list[str]) -> None:
    for line in colour(lines) if sys.stdout.isatty() else lines:
        print(line)


def deletions(documents: Sequence[Document]) -> list[Wanted]:
    """What the documents name, so that nothing is deleted before what refers to it."""
    order = {kind.name: position for position, kind in enumerate(DECLARED)}
    named = [(kind, name) for kind, name in map(identity_of, documents) if kind in order and name]
    if len(named) != len(documents):
        raise CommandFailed(Exit.USAGE, "a document names no kind or no metadata.name: nothing was deleted")
    named.sort(key=lambda pair: order[pair[0]], reverse=True)
    return [Wanted(kind, (name,)) for word, name in named if (kind := kind_named(word))]


async def delete(api: Api, wanted: Sequence[Wanted], ignore_missing: bool) -> None:
    """One by one, in order; stops at the first refusal, having said what was deleted before it."""
    for each in wanted:
        for name in each.names:
            try:
                await api.delete(object_path(each.kind, name))
            except CommandFailed as error:
                if error.code is not Exit.NOT_FOUND or not ignore_missing:
                    raise
                continue
            print(f"{each.kind.singular}/{name} deleted")


async def verb(api: Api, plural: str, name: str, action: str, body: Json = None) -> Json:
    """One wish, which the API writes down and the controllers see to."""
    return await api.post(f"/v1/{plural}/{quote(name, safe='')}/{action}", body or {})


async def status_of(api: Api, plural: str, name: str) -> Mapping[str, Any]:
    found = await api.get(f"/v1/{plural}/{quote(name, safe='')}")
    return found.get("status") or {}


async def await_machine(api: Api, name: str, phase: str, within: float) -> None:
    async def look() -> bool:
        return (await status_of(api, "virtualmachines", name)).get("phase") == phase

    await wait_until(look, f"virtualmachine/{name} is {phase}", within)


async def await_migration(api: Api, name: str, before: str, to: str | None, within: float) -> str:
    """The host that the guest runs on afterwards."""
    seen = ""

    async def look() -> bool:
        nonlocal seen
        status = await status_of(api, "virtualmachines", name)
        seen = str(status.get("host", ""))
        moved = seen == to if to else seen not in ("", before)
        return moved and status.get("phase") == "Running" and not status.get("migratingTo")

    await wait_until(look, f"virtualmachine/{name} runs on {to or 'another host'}", within)
    return seen


async def await_drained(api: Api, name: str, within: float) -> None:
    async def look() -> bool:
        return (await status_of(api, "hosts", name)).get("guestCount") == 0

    await wait_until(look, f"host/{name} runs no guest", within)


async def await_move(api: Api, name: str, to: str, within: float) -> Mapping[str, Any]:
    """Until the ticket is at the other site and every guest runs there."""
    last: Mapping[str, Any] = {}

    async def look() -> bool:
        nonlocal last
        last = await status_of(api, "applications", name)
        settled = last.get("site") == to and last.get("ticket") == "Active" and not last.get("movingTo")
        return settled and last.get("phase") == "Running"

    await wait_until(look, f"application/{name} runs at {to}", within)
    return last
