"""``get``: lists, single objects, and what changes in them."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from gemel.catalog.kind import Kind
from gemel.catalog.selection import BadSelector, Requirement, parse_selector, selected
from gemel.cli.cells import render_line, render_row, widths_of
from gemel.cli.client import Api
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.sse import ListAgain
from gemel.cli.words import Wanted
from gemel.core.resource import API_VERSION

Object = dict[str, Any]


class Output(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Listed:
    """``revision`` is the store's as of which the list is true: where a watch begins."""

    kind: Kind
    items: tuple[Object, ...]
    revision: int | None = None


def object_path(kind: Kind, name: str) -> str:
    return f"/v1/{kind.plural}/{quote(name, safe='')}"


def name_of(document: Mapping[str, Any]) -> str:
    return str((document.get("metadata") or {}).get("name", ""))


async def fetch(api: Api, wanted: Wanted, selector: str | None = None) -> Listed:
    kind = wanted.kind
    if wanted.names:
        return Listed(kind, tuple([await api.get(object_path(kind, name)) for name in wanted.names]))
    answer = await api.get(f"/v1/{kind.plural}", {"labelSelector": selector} if selector else None)
    return Listed(kind, tuple(answer["items"]), answer.get("revision"))


def render_listing(listings: Sequence[Listed], output: Output, single: bool, now: datetime) -> str:
    """Pure. ``single``: one object was asked for by name, and is shown without a list around it."""
    items = [item for listed in listings for item in listed.items]
    if output is Output.JSON:
        document = items[0] if single and len(items) == 1 else _list(items)
        return json.dumps(document, indent=2, ensure_ascii=False)
    if output is Output.YAML:
        from gemel.cli.yamltext import render_yaml

        # Documents and not a List: what was printed can be applied as it is.
        return "---\n".join(render_yaml(item) for item in items).rstrip("\n")
    if output is Output.NAME:
        return "\n".join(f"{listed.kind.singular}/{name_of(item)}" for listed in listings for item in listed.items)
    tables = [Table(listed.kind, output is Output.WIDE) for listed in listings]
    several = len(listings) > 1
    return "\n\n".join(
        table.render(listed.items, now, prefix=several)
        for table, listed in zip(tables, listings, strict=True)
        if listed.items
    )


def _list(items: Sequence[Object]) -> Object:
    return {"apiVersion": API_VERSION, "kind": "List", "items": list(items)}


class Table:
    """Columns of one kind; remembers its widths, so that rows that a watch adds stay aligned."""

    def __init__(self, kind: Kind, wide: bool) -> None:
        self._kind = kind
        self._columns = [column for column in kind.columns if wide or not column.wide]
        self._widths = [len(column.title) for column in self._columns]

    def render(self, items: Sequence[Object], now: datetime, prefix: bool = False) -> str:
        header = [column.title for column in self._columns]
        rows = [render_row(item, self._columns, now) for item in items]
        if prefix:
            rows = [[f"{self._kind.singular}/{row[0]}", *row[1:]] for row in rows]
        self._widths = widths_of([header, *rows])
        return "\n".join(render_line(row, self._widths) for row in [header, *rows])

    def row(self, item: Object, now: datetime) -> str:
        row = render_row(item, self._columns, now)
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        return render_line(row, self._widths)


async def changes_of(api: Api, wanted: Wanted, listed: Listed) -> AsyncIterator[tuple[str, Object]]:
    """Type and object of each change after ``listed``, for ever. What a compaction hid is listed anew."""
    revision = listed.revision
    while True:
        try:
            async for change in api.watch(f"/v1/watch/{wanted.kind.plural}", revision):
                if change.object and (not wanted.names or name_of(change.object) in wanted.names):
                    yield change.type, change.object
        except ListAgain:
            fresh = await fetch(api, Wanted(wanted.kind))
            revision = fresh.revision
            for item in fresh.items:
                if not wanted.names or name_of(item) in wanted.names:
                    yield "MODIFIED", item


def check_selector(selector: str | None) -> tuple[Requirement, ...]:
    """The API's own rules, held before anything is asked, and on what a watch brings unfiltered."""
    try:
        return parse_selector(selector or "")
    except BadSelector as error:
        raise CommandFailed(Exit.USAGE, str(error), "write -l app=bank, or -l app=bank,tier!=db") from error


async def show(api: Api, wanted: Sequence[Wanted], output: Output, selector: str | None) -> None:
    listings = [await fetch(api, each, selector) for each in wanted]
    single = len(wanted) == 1 and len(wanted[0].names) == 1
    text = render_listing(listings, output, single, datetime.now(UTC))
    if text:
        print(text)
    if not any(listed.items for listed in listings) and output in (Output.TABLE, Output.WIDE):
        names = ", ".join(each.kind.plural for each in wanted) if len(wanted) < 4 else "resources"
        print(f"No {names} found.", file=sys.stderr)


async def show_changes(api: Api, wanted: Wanted, output: Output, selector: str | None) -> None:
    """The list, then a line or document for each change, until interrupted."""
    requirements = check_selector(selector)
    listed = await fetch(api, Wanted(wanted.kind), selector)
    items = tuple(item for item in listed.items if not wanted.names or name_of(item) in wanted.names)
    table = Table(wanted.kind, output is Output.WIDE)
    if output in (Output.TABLE, Output.WIDE):
        print(table.render(items, datetime.now(UTC)), flush=True)
    else:
        for item in items:
            print(_document(wanted.kind, item, output), flush=True)
    async for kind, item in changes_of(api, wanted, listed):
        if not selected(requirements, (item.get("metadata") or {}).get("labels") or {}):
            continue
        if output in (Output.TABLE, Output.WIDE):
            mark = "   (deleted)" if kind == "DELETED" else ""
            print(table.row(item, datetime.now(UTC)) + mark, flush=True)
        else:
            print(_document(wanted.kind, item, output), flush=True)


def _document(kind: Kind, item: Object, output: Output) -> str:
    if output is Output.NAME:
        return f"{kind.singular}/{name_of(item)}"
    if output is Output.JSON:
        return json.dumps(item, ensure_ascii=False)
    from gemel.cli.yamltext import render_yaml

    return f"---\n{render_yaml(item)}".rstrip("\n")
