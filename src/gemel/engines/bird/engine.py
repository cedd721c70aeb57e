"""Ask a running BIRD. Only observes: hosts tell BIRD of guests through the kernel's routes."""

import asyncio
from pathlib import Path

from gemel.core.outcome import Present, Unknown
from gemel.engines.bird.parse import BirdRoute, Session, parse_protocols, parse_routes


class Bird:
    """The BIRD behind one control socket."""

    def __init__(self, socket: Path = Path("/run/bird/bird.ctl"), timeout: float = 2.0) -> None:
        self._socket = socket
        self._timeout = timeout

    async def sessions(self) -> Present[tuple[Session, ...]] | Unknown:
        text = await self._ask("show", "protocols")
        return text if isinstance(text, Unknown) else Present(parse_protocols(text))

    async def routes(self) -> Present[tuple[BirdRoute, ...]] | Unknown:
        text = await self._ask("show", "route")
        return text if isinstance(text, Unknown) else Present(parse_routes(text))

    async def _ask(self, *words: str) -> str | Unknown:
        argv = ("birdc", "-r", "-s", str(self._socket), *words)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
        except OSError as error:
            return Unknown(f"birdc cannot be run: {error}")
        try:
            output, _ = await asyncio.wait_for(process.communicate(), self._timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Unknown(f"bird at {self._socket} did not answer within {self._timeout:g} s")
        text = output.decode(errors="replace")
        if process.returncode != 0 or "Unable to connect" in text:
            return Unknown(f"bird at {self._socket}: {text.strip().splitlines()[-1] if text.strip() else 'no output'}")
        return text
