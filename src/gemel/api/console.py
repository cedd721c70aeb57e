"""A guest's serial console, read from the agent of the host that runs it, with the API's own certificate."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx

from gemel.core.outcome import Permanent, Retryable

AGENT_PORT = 7444
CONNECT = 3.0
FOLLOWED_QUIET = 60.0
"""Seconds of a silent console after which a follower is let go."""


class Consoles(Protocol):
    async def open(self, address: str, guest: str, follow: bool) -> AsyncIterator[bytes]:
        """Raises Retryable when the host does not answer, Permanent when it refuses."""
        ...


class AgentConsoles:
    def __init__(self, ca: Path, certificate: Path, key: Path, port: int = AGENT_PORT) -> None:
        trust = ssl.create_default_context(cafile=str(ca))
        trust.load_cert_chain(str(certificate), str(key))
        limits = httpx.Timeout(CONNECT, read=FOLLOWED_QUIET)
        self._http = httpx.AsyncClient(verify=trust, timeout=limits, trust_env=False)
        self._port = port

    async def open(self, address: str, guest: str, follow: bool) -> AsyncIterator[bytes]:
        url = f"https://{address}:{self._port}/v1/console/{quote(guest, safe='')}"
        request = self._http.build_request("GET", url, params={"follow": str(follow).lower()})
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            what = f"the agent at {address} did not give the console of {guest}: {error or type(error).__name__}"
            raise Retryable(what, after=2) from error
        if not response.is_success:
            await response.aclose()
            raise Permanent(f"the agent at {address} has no console of {guest} (it answered {response.status_code})")
        return self._bytes(response)

    async def _bytes(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for part in response.aiter_bytes():
                yield part
        except httpx.HTTPError:
            return  # the guest moved, or its host went: the reader opens it again
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._http.aclose()
