"""The region's own certificate authority: certificates for etcd, the API, agents, and joining hosts."""

from gemel.engines.pki.authority import Authority, create_authority, issue, load_authority, sign_request
from gemel.engines.pki.identity import (
    Identity,
    Purpose,
    Request,
    Subject,
    expires_at,
    fingerprint,
    make_request,
    write_identity,
    write_private,
    write_public,
)

__all__ = [
    "Authority",
    "Identity",
    "Purpose",
    "Request",
    "Subject",
    "create_authority",
    "expires_at",
    "fingerprint",
    "issue",
    "load_authority",
    "make_request",
    "sign_request",
    "write_identity",
    "write_private",
    "write_public",
]
