"""Reads of the region store for answers: several prefixes at a time."""

import asyncio
from collections.abc import Sequence

from gemel.catalog.kind import Kind
from gemel.catalog.records import Records
from gemel.core import layout
from gemel.core.store import Store


async def read_records(store: Store, prefixes: Sequence[str]) -> Records:
    """Each prefix is of one revision, and ``revision`` is the oldest of them: a watch from there misses
    nothing."""
    listings = await asyncio.gather(*(store.list(prefix) for prefix in prefixes))
    items = {item.key: item for listing in listings for item in listing.items}
    return Records(items, min(listing.revision for listing in listings))


def sources_of(kind: Kind) -> tuple[str, ...]:
    """Prefixes from which objects of a kind are shown; its primary keys are among them."""
    return kind.sources or (layout.RESOURCES,)
