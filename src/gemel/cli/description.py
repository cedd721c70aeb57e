"""``describe``: everything that gemel knows of one object, and what happened to it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gemel.catalog.kind import Kind
from gemel.catalog.registry import kind_named
from gemel.cli.cells import render_age, render_table
from gemel.cli.client import Api
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.listing import object_path
from gemel.cli.yamltext import render_yaml

RELATED = {"VirtualMachine": ("Assignment",), "Application": ("Ticket",), "Volume": ("Replica",)}
"""Records of the same name that say why an object is as it is."""
_APART = ("reasons", "conditions", "message")
"""Parts of a status that get a section of their own."""


async def describe(api: Api, kind: Kind, name: str) -> str:
    found = await api.get(object_path(kind, name))
    reasons = list((found.get("status") or {}).get("reasons") or [])
    for other in RELATED.get(kind.name, ()):
        record = await _record(api, other, name)
        reasons += [reason for reason in record.get("reasons") or [] if reason not in reasons]
    events = await api.get("/v1/events", {"about": f"{kind.name}/{name}"})
    return render_description(kind, found, reasons, events.get("items", ()), datetime.now(UTC))


async def _record(api: Api, kind_name: str, name: str) -> Mapping[str, Any]:
    kind = kind_named(kind_name)
    if kind is None:
        return {}
    try:
        found = await api.get(object_path(kind, name))
    except CommandFailed as error:
        if error.code is Exit.NOT_FOUND:
            return {}
        raise
    return found.get("status") or {}


def render_description(
    kind: Kind,
    found: Mapping[str, Any],
    reasons: Sequence[str],
    events: Sequence[Mapping[str, Any]],
    now: datetime,
) -> str:
    """Pure: sections that have nothing to say are left out, but for events, whose absence is news too."""
    metadata, status = found.get("metadata") or {}, dict(found.get("status") or {})
    apart = {part: status.pop(part, None) for part in _APART}
    lines = [f"Name:         {metadata.get('name', '')}", f"Kind:         {kind.name}"]
    lines += _pairs("Labels", metadata.get("labels")) + _pairs("Annotations", metadata.get("annotations"))
    if created := metadata.get("creationTimestamp"):
        lines.append(f"Created:      {created} ({render_age(created, now)} ago)")
    lines += [f"{title + ':':<14}{metadata[field]}" for title, field in _NUMBERS if metadata.get(field)]
    for title, part in (("Spec", found.get("spec")), ("Status", status)):
        if part:
            lines += [f"{title}:", *_indented(render_yaml(part))]
    if apart["message"]:
        lines += ["Message:", f"  {apart['message']}"]
    if reasons:
        lines += ["Reasons:", *(f"  - {reason}" for reason in reasons)]
    if apart["conditions"]:
        lines += ["Conditions:", *_indented(_conditions(apart["conditions"], now))]
    lines += ["Events:", *_indented(render_events(events, now) if events else "none in the last hour")]
    return "\n".join(lines)


_NUMBERS = (("Generation", "generation"), ("Revision", "resourceVersion"))


def _pairs(title: str, pairs: Any) -> list[str]:
    if not isinstance(pairs, Mapping) or not pairs:
        return []
    rows = [f"{key}={value}" for key, value in sorted(pairs.items())]
    return [f"{title + ':':<14}{rows[0]}", *(" " * 14 + row for row in rows[1:])]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.rstrip("\n").splitlines()]


def _conditions(conditions: Any, now: datetime) -> str:
    if not isinstance(conditions, list):
        return render_yaml(conditions)
    rows = [
        [
            str(each.get("type", "")),
            str(each.get("status", "")),
            render_age(each.get("since") or each.get("lastTransitionTime") or "-", now),
            str(each.get("message") or each.get("reason") or ""),
        ]
        for each in conditions
        if isinstance(each, Mapping)
    ]
    return render_table(["TYPE", "STATUS", "SINCE", "MESSAGE"], rows)


EVENT_HEADER = ("AGE", "TYPE", "REASON", "ABOUT", "EPOCH", "SOURCE", "MESSAGE")


def event_row(event: Mapping[str, Any], now: datetime) -> list[str]:
    about = event.get("about") or {}
    return [
        render_age(event.get("at", "-"), now),
        str(event.get("type", "")),
        str(event.get("reason", "")),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        str(event.get("epoch") or "-"),
        str(event.get("source", "")),
        " ".join(str(event.get("message", "")).split()),
    ]


def render_events(events: Sequence[Mapping[str, Any]], now: datetime) -> str:
    return render_table(EVENT_HEADER, [event_row(event, now) for event in events])
