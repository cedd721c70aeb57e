"""What every route works with, and who is asking."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gemel.api.console import Consoles
from gemel.api.errors import ApiError
from gemel.api.joining import Joining
from gemel.api.ledger import Ledger
from gemel.api.metrics import Metrics
from gemel.api.tokens import Identity, Role
from gemel.catalog.changes import Action, Change
from gemel.catalog.kind import Kind, Writer
from gemel.catalog.region import MemberFacts
from gemel.catalog.registry import find_kind, nearest_kinds
from gemel.core.clock import Clock
from gemel.core.store import Store

Members = Callable[[], Awaitable[tuple[MemberFacts, ...]]]


class Identifier(Protocol):
    def identify(self, token: str) -> Identity | None: ...


@dataclass(frozen=True)
class Services:
    store: Store
    clock: Clock
    tokens: Identifier
    ledger: Ledger
    joining: Joining
    consoles: Consoles | None
    members: Members | None
    metrics: Metrics
    region: str
    watch_limit: float | None
    """Seconds after which any watch ends; None in production."""


def services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


_BEARER = HTTPBearer(auto_error=False, description="A token of the API's tokens file")


async def who(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Identity:
    found = services(request).tokens.identify(credentials.credentials) if credentials else None
    if found is None:
        what = "the token is not known" if credentials else "there is no token in the Authorization header"
        hint = "send Authorization: Bearer TOKEN, with a token that an admin of this region gave you"
        raise ApiError(401, "Unauthorized", what, hint, {"WWW-Authenticate": "Bearer"})
    return found


async def require(request: Request, identity: Identity, role: Role, verb: str, kind: str, name: str) -> None:
    """Raises 403, and keeps that it was tried."""
    if identity.role >= role:
        return
    await services(request).ledger.deny(identity, Change(verb, kind, name, Action.UNCHANGED))
    message = f"{identity.user} is {identity.role.word}: to {verb} {kind} {name} takes {role.word}".rstrip()
    raise ApiError(403, "Forbidden", message, "ask an admin of this region for the role, or to do it")


async def known_parameters(request: Request) -> None:
    """A misspelt ``labelSelector`` must not select everything: what is not known is refused."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"this address takes {', '.join(sorted(known)) or 'none'}"
        raise ApiError(422, "Invalid", f"there is no parameter {unknown[0]!r}", hint)


def role_for(kind: Kind) -> Role:
    """Who may change objects of a kind. Raises 405 for what nobody declares."""
    if kind.writer is Writer.NOBODY:
        message = f"{kind.name} is shown from what gemel does: nobody writes it"
        raise ApiError(405, "MethodNotAllowed", message, headers={"Allow": "GET"})
    return Role.OPERATOR if kind.writer is Writer.OPERATOR else Role.ADMIN


def kind_of(word: str) -> Kind:
    """The kind of an address: by its plural, or any word for it. Raises 404."""
    kind = find_kind(word)
    if kind is None:
        near = nearest_kinds(word)
        hint = f"did you mean {near[0]}?" if near else "GET /v1/kinds lists them"
        raise ApiError(404, "NotFound", f"there is no kind {word!r}", hint)
    return kind


Here = Annotated[Services, Depends(services)]
Who = Annotated[Identity, Depends(who)]
