"""What must hold at every moment of a simulated region, whatever befell it; watched where it would break.

1. No guest executes on two hosts at once.
2. When the store forgets a host's lease, no guest executes on the host: that is what the forgetting proves.
3. A guest that executes under an epoch has stopped when a newer epoch is committed.
4. Only the elected leader changes tickets, assignments and what is shown of them.
5. No address is announced by two hosts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemel.continuity.kinds import Ticket
from gemel.core import layout
from gemel.core.store import Committed, Compare, Put, Write
from gemel.store.state import StoreState
from tests.fakes.hypervisor import Fabric, Interval
from tests.simulation.pausing import COMMITTER


class Invariants:
    """Watches the store's transactions and the ends of its leases, and looks at the hosts at that moment."""

    def __init__(self, state: StoreState, fabric: Fabric, now: Callable[[], float]) -> None:
        self.violations: list[str] = []
        self._state, self._fabric, self._now = state, fabric, now
        self._commit, self._revoke = state.commit, state.revoke
        self.on_commit: Callable[[str, Sequence[Write]], None] = lambda who, writes: None
        """Told of every transaction that succeeded, and who asked for it; for faults at that very moment."""
        watched: Any = state
        watched.commit, watched.revoke = self._committing, self._revoking

    def check(self, announced: Mapping[str, Sequence[Any]]) -> None:
        """Raises with everything that was violated so far. ``announced``: host to its guest addresses."""
        doubles = [f"{a.guest} ran on {a.host} and {b.host} from {b.start:.2f}" for a, b in self._fabric.double_runs()]
        claims: dict[Any, str] = {}
        for host, addresses in announced.items():
            for address in addresses:
                if address in claims:
                    doubles.append(f"{address} is announced by {claims[address]} and {host}")
                claims[address] = host
        if found := [*self.violations, *doubles]:
            raise AssertionError("\n".join(found))

    def _executing(self) -> list[Interval]:
        return [interval for interval in self._fabric.history if interval.end is None]

    def _revoking(self, lease_id: int) -> None:
        held = self._state._leases.get(lease_id)
        for key in held.keys if held else ():
            if key.startswith(layout.LEASES):
                self._lease_ends(layout.leaf(key))
        self._revoke(lease_id)

    def _lease_ends(self, host: str) -> None:
        for interval in self._executing():
            if interval.host == host:
                self.violations.append(f"{self._now():.2f} the lease of {host} is forgotten, {interval.guest} runs")

    def _committing(self, compares: Sequence[Compare], writes: Sequence[Write]) -> Committed:
        done = self._commit(compares, writes)
        if done.succeeded:
            self.on_commit(COMMITTER.get(), writes)
            for write in writes:
                if write.key.startswith((layout.TICKETS, layout.ASSIGNMENTS, layout.STATUS)):
                    self._decided(write)
        return done

    def _decided(self, write: Write) -> None:
        leader, who = self._state.get(layout.CONTROLLERS), COMMITTER.get()
        if leader is None or leader.value.decode() != who:
            self.violations.append(f"{self._now():.2f} {who or 'nobody'} changed {write.key} and does not lead")
        if isinstance(write, Put) and write.key.startswith(layout.TICKETS):
            ticket = Ticket.model_validate_json(write.value)
            for interval in self._executing():
                if interval.guest.startswith(f"{ticket.application}-") and interval.epoch < ticket.epoch:
                    self.violations.append(
                        f"{self._now():.2f} epoch {ticket.epoch} is committed, {interval.guest} runs on "
                        f"{interval.host} under {interval.epoch}"
                    )
