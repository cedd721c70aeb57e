"""The REST API as its caller sees it: several endpoints, one of which is usually enough.

Losing a site loses its API; the other's answers the same. A request that was certainly not carried out
goes to the next endpoint by itself; one whose answer was lost is repeated only when that is harmless.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from gemel.cli.config import Context
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.failure import failure_of
from gemel.cli.sse import Change, ListAgain, parse_change, split_messages

CONNECT_TIMEOUT = 1.0
"""Seconds for a connection. Short: behind a silent drop there is another endpoint to ask."""
ANSWER_TIMEOUT = 10.0
QUIET_TIMEOUT = 45.0
"""Seconds without a byte on a watch (the API sends a comment now and then) before it is taken for dead."""
WATCH_PATIENCE = 60.0
"""Seconds during which a watch that nobody answers is tried again: longer than a site's failover."""
RESUME_PAUSE = 0.5

Json = Any
Query = Mapping[str, str | int | bool]


class _NotSent(Exception):
    """This endpoint certainly did not carry out the request."""


class _AnswerLost(Exception):
    """It may have."""


class Api:
    """One conversation with a region. Every call raises CommandFailed with a person's words."""

    def __init__(self, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._context = context
        self._endpoints = list(context.endpoints)
        headers = {"User-Agent": "gemel-cli", "Accept": "application/json"}
        if token := context.token():
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
            verify=_trust(context),
            transport=transport,
            trust_env=False,  # a proxy for the Internet has no business between an operator and the region
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, query: Query | None = None) -> Json:
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Json = None, repeatable: bool = False) -> Json:
        """``repeatable``: doing it twice does no more than doing it once (a dry run, a level to reach)."""
        return await self._call("POST", path, body=body, repeatable=repeatable)

    async def delete(self, path: str) -> Json:
        return await self._call("DELETE", path)

    async def _call(
        self, method: str, path: str, *, query: Query | None = None, body: Json = None, repeatable: bool = False
    ) -> Json:
        harmless = method == "GET" or repeatable
        failures: list[str] = []
        refused: CommandFailed | None = None
        for endpoint in tuple(self._endpoints):
            try:
                response = await self._ask(endpoint, method, path, query, body)
            except _NotSent as error:
                failures.append(f"{endpoint}: {error}")
                continue
            except _AnswerLost as error:
                failures.append(f"{endpoint}: {error}")
                if harmless:
                    continue
                raise _outcome_unknown(failures) from error
            if _may_be_asked_elsewhere(response, harmless):
                refused = failure_of(response.status_code, _body(response))
                failures.append(f"{endpoint}: {refused.message}")
                continue
            self._prefer(endpoint)
            if response.is_success:
                return _body(response)
            raise failure_of(response.status_code, _body(response))
        raise self._nobody(failures, refused)

    async def _ask(self, endpoint: str, method: str, path: str, query: Query | None, body: Json) -> httpx.Response:
        try:
            return await self._http.request(method, endpoint + path, params=dict(query or {}), json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _NotSent(_reason(error)) from error
        except httpx.InvalidURL as error:
            raise CommandFailed(Exit.USAGE, f"{endpoint} is not an address: {error}") from error
        except httpx.HTTPError as error:
            raise _AnswerLost(_reason(error)) from error

    async def watch(self, path: str, after: int | None = None) -> AsyncIterator[Change]:
        """Changes after a revision, for ever. A lost connection is resumed where it ended, at whichever
        endpoint answers. Raises ListAgain when the store no longer keeps what was missed."""
        silent_since: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async for change in self._stream_changes(path, after):
                    silent_since = None
                    after = change.revision or after
                    yield change
            except CommandFailed as error:
                silent_since = silent_since or clock()
                if error.code is not Exit.UNAVAILABLE or clock() - silent_since > WATCH_PATIENCE:
                    raise
            await asyncio.sleep(RESUME_PAUSE)

    async def _stream_changes(self, path: str, after: int | None) -> AsyncIterator[Change]:
        query: dict[str, int] = {} if after is None else {"after": after}
        async for line_block in split_messages(self.lines(path, query)):
            yield parse_change(line_block)

    async def lines(self, path: str, query: Query | None = None) -> AsyncIterator[str]:
        """The lines of a streamed answer, from the first endpoint that gives one, until it ends."""
        failures: list[str] = []
        refused: CommandFailed | None = None
        timeout = httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT, read=QUIET_TIMEOUT)
        for endpoint in tuple(self._endpoints):
            try:
                async with self._http.stream(
                    "GET", endpoint + path, params=dict(query or {}), timeout=timeout
                ) as response:
                    if response.status_code == 410:
                        raise ListAgain
                    if not response.is_success:
                        await response.aread()
                        refused = failure_of(response.status_code, _body(response))
                        if response.status_code < 500:
                            raise refused
                        failures.append(f"{endpoint}: {refused.message}")
                        continue
                    self._prefer(endpoint)
                    async for line in response.aiter_lines():
                        yield line
                    return
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                failures.append(f"{endpoint}: {_reason(error)}")
            except httpx.HTTPError:
                self._avoid(endpoint)  # it broke in the middle: the caller resumes, elsewhere first
                return
        raise self._nobody(failures, refused)

    def _prefer(self, endpoint: str) -> None:
        """Ask first, for the rest of this conversation, who answered last."""
        self._endpoints.sort(key=lambda other: other != endpoint)

    def _avoid(self, endpoint: str) -> None:
        self._endpoints.sort(key=lambda other: other == endpoint)

    def _nobody(self, failures: list[str], refused: CommandFailed | None) -> CommandFailed:
        if refused is not None and len(failures) == 1:
            return refused
        return CommandFailed(
            Exit.UNAVAILABLE,
            f"no API endpoint of context {self._context.name} could answer: {'; '.join(failures)}",
            refused.hint
            if refused is not None
            else "check the network to the sites, and the context's ca and endpoints",
        )


def _may_be_asked_elsewhere(response: httpx.Response, harmless: bool) -> bool:
    """The API could not: the store had no quorum for it, say. Its peer may reach another member. Unless it
    may have happened: then only what is harmless is asked twice."""
    if response.status_code not in (502, 503, 504):
        return False
    body = _body(response)
    unknown = response.status_code != 503 or (isinstance(body, dict) and body.get("error") == "OutcomeUnknown")
    return harmless or not unknown


def _trust(context: Context) -> ssl.SSLContext | bool:
    if context.ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=context.ca)
    except (OSError, ssl.SSLError) as error:
        raise CommandFailed(
            Exit.USAGE, f"cannot use {context.ca} as certificate authority: {getattr(error, 'strerror', error)}"
        ) from error


def _body(response: httpx.Response) -> Json:
    if not response.content:
        return None
    if response.headers.get("content-type", "").startswith("application/json"):
        try:
            return response.json()
        except ValueError:
            pass  # cut off in the middle: show it as text
    return response.text


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {ANSWER_TIMEOUT:g} s"
    return " ".join(str(error).split()) or type(error).__name__


def _outcome_unknown(failures: list[str]) -> CommandFailed:
    return CommandFailed(
        Exit.UNAVAILABLE,
        f"the answer was lost ({'; '.join(failures)}): it may or may not have happened",
        "look (gemel get, gemel events) before you repeat it",
    )
