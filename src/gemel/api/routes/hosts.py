"""How machines become hosts."""

import asyncio

from fastapi import APIRouter, Request

from gemel.api.errors import responses
from gemel.api.routes.resources import ObjectName
from gemel.api.services import Here, Who, require
from gemel.api.tokens import Role
from gemel.api.wire import InvitationBody, JoinBody, JoinWish

router = APIRouter(prefix="/v1", tags=["hosts"])


@router.post("/hosts/{name}/invite", responses=responses(404, 409))
async def invite(name: ObjectName, request: Request, here: Here, identity: Who) -> InvitationBody:
    """A one-time token for a declared host. It ends within the hour, and voids an earlier one."""
    await require(request, identity, Role.ADMIN, "invite", "Host", name)
    invitation, token, site, ca = await here.joining.invite(identity, name)
    terms = here.joining.terms
    return InvitationBody(
        region=terms.region,
        host=name,
        site=site,
        api=list(terms.api),
        store=list(terms.store),
        ca=ca,
        token=token,
        expires=invitation.expires,
    )


@router.post("/join", responses=responses(409))
async def join(wish: JoinWish, here: Here) -> JoinBody:
    """A certificate for an invited host. The invitation's token is the only authority that it takes."""
    joined = await asyncio.shield(here.joining.join(wish.host, wish.token, wish.csr))
    terms = here.joining.terms
    return JoinBody(
        region=terms.region,
        host=joined.host,
        site=joined.site,
        address=joined.address,
        certificate=joined.certificate,
        ca=joined.ca,
        store=list(terms.store),
        ttl=terms.ttl,
        margin=terms.margin,
    )
