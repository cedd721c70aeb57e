"""The state machine of a ticket: pure, and the only place where a ticket changes.

                 issue                     drain(to)
    (none) ----------------> ACTIVE ---------------------> DRAINING
                             ^  ^  ^                        |  |  |
                             |  |  |        cancel          |  |  |
                             |  |  +------------------------+  |  |      epoch unchanged
                             |  +------------------------------+  |      complete: epoch + 1, site = to
                             +------------------------------------+      force:    epoch + 1, site = other
                             (force also from ACTIVE)

* ``complete``: the guests were *observed* stopped and the final cut is complete on the other side.
* ``force``: every lease that held a grant for the application is gone *in the transaction that writes it*.
"""

from datetime import datetime
from enum import StrEnum

from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.core.identity import Epoch, SiteName
from gemel.core.outcome import Permanent


class Transition(StrEnum):
    DRAIN = "drain"
    CANCEL = "cancel"
    COMPLETE = "complete"
    FORCE = "force"


TABLE: dict[tuple[TicketPhase, Transition], TicketPhase] = {
    (TicketPhase.ACTIVE, Transition.DRAIN): TicketPhase.DRAINING,
    (TicketPhase.DRAINING, Transition.CANCEL): TicketPhase.ACTIVE,
    (TicketPhase.DRAINING, Transition.COMPLETE): TicketPhase.ACTIVE,
    (TicketPhase.DRAINING, Transition.FORCE): TicketPhase.ACTIVE,
    (TicketPhase.ACTIVE, Transition.FORCE): TicketPhase.ACTIVE,
}


def issue(application: str, site: SiteName, now: datetime, reasons: tuple[str, ...]) -> Ticket:
    return Ticket(application=application, site=site, epoch=Epoch(1), since=now, reasons=reasons)


def drain(ticket: Ticket, to: SiteName, now: datetime, reasons: tuple[str, ...]) -> Ticket:
    """Begin a planned move: nothing may start under the ticket while it drains."""
    if to == ticket.site:
        raise Permanent(f"{ticket.application} is at {to} already")
    return _changed(ticket, Transition.DRAIN, ticket.site, to, now, reasons)


def cancel(ticket: Ticket, now: datetime, reasons: tuple[str, ...]) -> Ticket:
    return _changed(ticket, Transition.CANCEL, ticket.site, None, now, reasons)


def complete(ticket: Ticket, now: datetime, reasons: tuple[str, ...]) -> Ticket:
    if ticket.to is None:
        raise Permanent(f"{ticket.application} is not draining: there is no move to complete")
    return _changed(ticket, Transition.COMPLETE, ticket.to, None, now, reasons)


def force(ticket: Ticket, to: SiteName, now: datetime, reasons: tuple[str, ...]) -> Ticket:
    if to == ticket.site:
        raise Permanent(f"{ticket.application} is at {to} already: a forced move goes elsewhere")
    return _changed(ticket, Transition.FORCE, to, None, now, reasons)


def _changed(
    ticket: Ticket,
    transition: Transition,
    site: SiteName,
    to: SiteName | None,
    now: datetime,
    reasons: tuple[str, ...],
) -> Ticket:
    phase = TABLE.get((ticket.phase, transition))
    if phase is None:
        raise Permanent(f"a ticket that is {ticket.phase} cannot {transition}: {ticket.application}")
    return Ticket(
        application=ticket.application,
        site=site,
        epoch=Epoch(ticket.epoch + (site != ticket.site)),
        phase=phase,
        to=to,
        since=now,
        reasons=reasons,
    )
