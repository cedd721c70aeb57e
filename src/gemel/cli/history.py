"""``events``: what happened in the last hour, and what happens now."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gemel.cli.cells import render_line, widths_of
from gemel.cli.client import Api
from gemel.cli.description import EVENT_HEADER, event_row

POLL_SECONDS = 1.0


async def show_events(api: Api, about: str | None, watch: bool) -> None:
    page = Page()
    page.show(await _fetch(api, about))
    while watch:
        await asyncio.sleep(POLL_SECONDS)
        page.show(await _fetch(api, about))


async def _fetch(api: Api, about: str | None) -> Sequence[Mapping[str, Any]]:
    answer = await api.get("/v1/events", {"about": about} if about else None)
    items: Sequence[Mapping[str, Any]] = answer["items"]
    return items


class Page:
    """Events as lines under one header; each is shown once, however often it is fetched."""

    def __init__(self) -> None:
        self._widths: list[int] = []
        self._shown: frozenset[tuple[str, ...]] = frozenset()

    def show(self, events: Sequence[Mapping[str, Any]]) -> None:
        now = datetime.now(UTC)
        fresh = [event_row(event, now) for event in events if _identity(event) not in self._shown]
        self._shown = frozenset(map(_identity, events))
        rows = fresh if self._widths else [list(EVENT_HEADER), *fresh]
        if rows:
            fitting = widths_of(rows)
            self._widths = [max(pair) for pair in zip(self._widths or fitting, fitting, strict=True)]
        for row in rows:
            print(render_line(row, self._widths), flush=True)


def _identity(event: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(field)) for field in ("id", "at", "about", "reason", "message", "source"))
