"""What every command of one invocation shares: which region, as whom, and how to run a conversation."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gemel.cli.config import config_path, load_context
from gemel.cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    import httpx

    from gemel.cli.client import Api

T = TypeVar("T")
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Session:
    config: Path = field(default_factory=config_path)
    context: str | None = None
    transport: "httpx.AsyncBaseTransport | None" = None
    """Instead of the network: an API inside this process."""

    def open(self) -> "Api":
        from gemel.cli.client import Api

        return Api(load_context(self.config, self.context or os.environ.get("GEMEL_CONTEXT")), self.transport)

    def run(self, conversation: Callable[["Api"], Coroutine[Any, Any, T]]) -> T:
        async def converse() -> T:
            async with self.open() as api:
                return await conversation(api)

        return asyncio.run(converse())


async def wait_until(look: Callable[[], Awaitable[bool]], what: str, within: float) -> None:
    """Poll until ``look`` is true. An API that does not answer meanwhile is waited for as well. Raises
    CommandFailed(TIMED_OUT)."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    silence = ""
    while True:
        try:
            if await look():
                return
            silence = ""
        except CommandFailed as error:
            if error.code is not Exit.UNAVAILABLE:
                raise
            silence = f"; the last look failed: {error.message}"
        if loop.time() >= deadline:
            raise CommandFailed(
                Exit.TIMED_OUT,
                f"{what}: not seen within {within:g} s{silence}",
                "the request stands: follow it by gemel events -w",
            )
        await asyncio.sleep(POLL_SECONDS)
