"""The ticket's state machine: every phase with every transition."""

from itertools import product

import pytest
from tests.unit.compute.scenes import GRA, NOW, PAR

from gemel.continuity import tickets
from gemel.continuity.kinds import Ticket, TicketPhase
from gemel.continuity.tickets import TABLE, Transition
from gemel.core.identity import SiteName
from gemel.core.outcome import Permanent

ACTIVE, DRAINING = TicketPhase.ACTIVE, TicketPhase.DRAINING
FIRST = tickets.issue("bank", PAR, NOW, ("first",))
IN = {ACTIVE: FIRST, DRAINING: tickets.drain(FIRST, GRA, NOW, ())}


def apply(transition: Transition, ticket: Ticket) -> Ticket:
    match transition:
        case Transition.DRAIN:
            return tickets.drain(ticket, GRA, NOW, ("why",))
        case Transition.CANCEL:
            return tickets.cancel(ticket, NOW, ("why",))
        case Transition.COMPLETE:
            return tickets.complete(ticket, NOW, ("why",))
        case Transition.FORCE:
            return tickets.force(ticket, GRA, NOW, ("why",))


EXPECTED = {
    (ACTIVE, Transition.DRAIN): (DRAINING, PAR, 1, GRA),
    (DRAINING, Transition.CANCEL): (ACTIVE, PAR, 1, None),
    (DRAINING, Transition.COMPLETE): (ACTIVE, GRA, 2, None),
    (DRAINING, Transition.FORCE): (ACTIVE, GRA, 2, None),
    (ACTIVE, Transition.FORCE): (ACTIVE, GRA, 2, None),
}


@pytest.mark.parametrize(("phase", "transition"), list(product(TicketPhase, Transition)))
def test_every_pair(phase: TicketPhase, transition: Transition) -> None:
    expected = EXPECTED.get((phase, transition))
    if expected is None:
        with pytest.raises(Permanent):
            apply(transition, IN[phase])
        return
    after = apply(transition, IN[phase])
    assert (after.phase, after.site, after.epoch, after.to) == expected
    assert after.reasons == ("why",)
    assert after.application == "bank"


def test_the_table_is_the_one_that_was_agreed() -> None:
    assert {pair: phase for pair, (phase, *_) in EXPECTED.items()} == TABLE


def test_a_first_ticket() -> None:
    assert (FIRST.phase, FIRST.site, FIRST.epoch, FIRST.to) == (ACTIVE, PAR, 1, None)


def test_the_epoch_grows_exactly_when_the_site_changes() -> None:
    for (phase, transition), _ in EXPECTED.items():
        after = apply(transition, IN[phase])
        assert after.epoch - IN[phase].epoch == (after.site != IN[phase].site)


def test_nowhere_to_go() -> None:
    with pytest.raises(Permanent, match="already"):
        tickets.drain(FIRST, PAR, NOW, ())
    with pytest.raises(Permanent, match="elsewhere"):
        tickets.force(FIRST, PAR, NOW, ())
    with pytest.raises(Permanent, match="elsewhere"):
        tickets.force(IN[DRAINING], SiteName("par1"), NOW, ())
