"""Pure: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) to changes."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from gemel.cli.exits import CommandFailed, Exit


class ListAgain(Exception):
    """The watched revision is no longer kept: list, then watch from the list's revision."""


@dataclass(frozen=True, slots=True)
class Message:
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class Change:
    """``type`` is ADDED, MODIFIED, DELETED, or PROGRESS for a revision without an object."""

    type: str
    object: dict[str, Any]
    revision: int


async def split_messages(lines: AsyncIterator[str]) -> AsyncIterator[Message]:
    """Messages end at an empty line; comments (the server's signs of life) and unknown fields pass by."""
    event, data = "message", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield Message(event, "\n".join(data))
            event, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value


def parse_change(message: Message) -> Change:
    """Raises ListAgain when the server says so inside the stream, CommandFailed for what it cannot be."""
    try:
        body = json.loads(message.data)
    except ValueError as error:
        raise _strange(message) from error
    if not isinstance(body, dict):
        raise _strange(message)
    kind = str(body.get("type") or message.event).upper()
    if kind in ("ERROR", "COMPACTED", "GONE"):
        if body.get("code", 410) == 410 or kind != "ERROR":
            raise ListAgain
        raise CommandFailed(Exit.UNAVAILABLE, str(body.get("message", "the API ended the watch")))
    found = body.get("object")
    return Change(
        kind if isinstance(found, dict) else "PROGRESS",
        found if isinstance(found, dict) else {},
        int(body.get("revision") or 0),
    )


def _strange(message: Message) -> CommandFailed:
    return CommandFailed(Exit.UNAVAILABLE, f"the API sent a change that is not one: {message.data[:120]}")
