"""A watch shows every change that a list would: what a key touches covers what changes with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.api.world import NOW, Region

from gemel.api.reading import read_records
from gemel.catalog.kind import Kind
from gemel.catalog.membership import Membership
from gemel.catalog.objects import objects
from gemel.catalog.records import SOURCES, Records
from gemel.catalog.registry import KINDS
from gemel.catalog.touches import touched
from gemel.core import layout
from gemel.core.resource import Selector


def shown(kind: Kind, records: Records) -> dict[str, object]:
    mine = Records({key: item for key, item in records.items.items() if key.startswith(kind.sources)}, 1)
    return {found["metadata"]["name"]: found for found in objects(kind, mine, NOW)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_no_change_goes_untold(region: Region, kind: Kind) -> None:
    await region.running()
    await region.put(layout.status("VirtualMachine", "bank-db"), b'{"reasons": ["x"]}')
    full = await read_records(region.store, SOURCES)
    before = shown(kind, full)
    assert before or kind.name == "Quarantine"
    for key in full.items:
        less = Records({other: item for other, item in full.items.items() if other != key}, 1)
        after = shown(kind, less)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        told = touched(kind, key, full) | touched(kind, key, less)
        assert changed <= told, f"{key} changes {changed - told} of {kind.plural} untold"


WORDS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)


@given(labels=WORDS, selectors=st.lists(WORDS.filter(bool), max_size=6))
def test_membership_is_what_the_selectors_say(labels: dict[str, str], selectors: list[dict[str, str]]) -> None:
    named = [(f"app-{at}", Selector(match_labels=each)) for at, each in enumerate(selectors)]
    wanted = tuple(name for name, selector in named if selector.matches(labels))
    assert Membership.of(named).claims(labels) == wanted
