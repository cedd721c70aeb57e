"""One-shot wishes about guests: written by the API under ``requests/``, deleted by the controller that took
them up. Starting and stopping are no wishes but state (``spec.running``)."""

from gemel.core.identity import GuestName, HostName
from gemel.core.resource import Model

MIGRATE = "migrate"
"""The verb: ``layout.request(MIGRATE, guest)``."""


class MigrateRequest(Model):
    """``gemel vm migrate``: run this guest on another host of its site, without stopping it."""

    guest: GuestName
    to: HostName | None = None
    """None: wherever placement finds best, but not where it runs."""
    requested_by: str
