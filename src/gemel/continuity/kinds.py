"""Applications, protection, tickets: what moves as one, and the right to run it."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from gemel.core.identity import Epoch, Name, SiteName
from gemel.core.resource import Model, Selector
from gemel.core.units import Seconds, Size


class TierSpec(Model):
    name: Name
    selector: Selector
    spread: bool = True
    """Anti-affinity: two guests of this tier share a host only when there is no other way."""
    after: tuple[Name, ...] = ()
    """Tiers that are started before this one."""


class ApplicationSpec(Model):
    """A named group of guests that moves as one."""

    selector: Selector
    tiers: tuple[TierSpec, ...] = ()
    preferred_site: Name
    protection: Name | None = None
    """A ProtectionPolicy; without one its volumes exist on one site only and it is never moved."""


class Consistency(StrEnum):
    CRASH = "crash"
    APPLICATION = "application"


class Failover(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class ProtectionPolicySpec(Model):
    recovery_point: Seconds = Field(ge=5, le=86400)
    """RPO: the age that a replica must not exceed while both sites can talk."""
    consistency: Consistency = Consistency.APPLICATION
    failover: Failover = Failover.AUTOMATIC
    bandwidth_limit: Size | None = Field(default=None, ge=2**16)
    """Bytes per second on the inter-site link, for each volume's stream."""
    keep_salvage: Seconds = 7 * 86400.0


class TicketPhase(StrEnum):
    ACTIVE = "Active"
    DRAINING = "Draining"


class Ticket(Model):
    """The right to run one application: which site, which epoch. The state machine is in tickets.py."""

    application: str
    site: SiteName
    epoch: Epoch
    phase: TicketPhase = TicketPhase.ACTIVE
    to: SiteName | None = None
    """While draining: the site that it goes to."""
    since: datetime
    """For people; decides nothing."""
    reasons: tuple[str, ...] = ()


class MoveRequest(Model):
    """``gemel app move``: a planned move, wished by a person through the API."""

    application: str
    to: SiteName
    requested_by: str
