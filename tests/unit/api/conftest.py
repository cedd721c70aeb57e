from collections.abc import AsyncIterator

import pytest
from tests.unit.api.world import Region


@pytest.fixture
async def region() -> AsyncIterator[Region]:
    async with Region() as found:
        yield found
