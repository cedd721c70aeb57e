"""The right to run: one rule for guests, volumes and addresses, and the times that make it safe.

A host that cannot renew its lease stops by itself before the store forgets the lease, so the store's
forgetting proves that the host's guests are gone:

    renewal sent          deadline            watchdog            all dead          store forgets
        |---- ttl - margin ---|-- watchdog_grace --|-- kill_time ------|  <= (1 - drift) * ttl  |

The inequality is checked when a process starts, as Patroni does with its ttl. Times are monotonic.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from gemel.compute.kinds import Assignment
from gemel.continuity.kinds import Ticket
from gemel.core.identity import HostName, Incarnation, SiteName
from gemel.core.outcome import Permanent
from gemel.storage.kinds import VolumeRecord


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Seconds, but ``drift``: how much faster than the host's clock the store's may run (1e-3 = 1 ms/s)."""

    ttl: float = 10.0
    margin: float = 3.5
    renew_every: float = 1.0
    call_timeout: float = 1.0
    watchdog_grace: float = 1.0
    kill_time: float = 1.5
    drift: float = 1e-3

    def checked(self) -> "LeaseTerms":
        """These terms, or Permanent with the inequality that they break."""
        self._check_each()
        stopped = (self.ttl - self.margin) + self.watchdog_grace + self.kill_time
        forgotten = self.ttl * (1 - self.drift)
        if stopped > forgotten:
            raise Permanent(
                f"lease terms are unsafe: a host may run guests for {stopped:.3f} s after its last renewal, but the "
                f"store may forget its lease after {forgotten:.3f} s: raise margin by {stopped - forgotten:.3f} s"
            )
        if self.ttl - self.margin < 2 * self.renew_every + self.call_timeout:
            raise Permanent(
                f"lease terms are unusable: the deadline comes {self.ttl - self.margin:.1f} s after a renewal, which "
                f"leaves no room for two attempts every {self.renew_every} s of {self.call_timeout} s each"
            )
        return self

    def _check_each(self) -> None:
        """What is not a number compares false with everything, so it would pass the inequality."""
        times = ("ttl", "margin", "renew_every", "call_timeout", "watchdog_grace", "kill_time")
        for name in times:
            value: float = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise Permanent(f"lease terms are unusable: {name} is {value} s; it must be a positive number")
        if not 0 <= self.drift < 1:
            raise Permanent(f"lease terms are unusable: drift is {self.drift}; it must be at least 0 and below 1")

    def deadline(self, sent: float) -> float:
        """When a host must have stopped if the renewal sent at ``sent`` is its last."""
        return sent + self.ttl - self.margin

    def watchdog_deadline(self, sent: float) -> float:
        return self.deadline(sent) + self.watchdog_grace


@dataclass(frozen=True, slots=True)
class Holder:
    """A host as it knows itself: the life of its lease, and until when that life surely lasts."""

    host: HostName
    site: SiteName
    incarnation: Incarnation
    deadline: float


def refuses_to_run(
    holder: Holder | None,
    now: float,
    assignment: Assignment | None,
    ticket: Ticket | None,
    volumes: Iterable[VolumeRecord | None] = (),
) -> str | None:
    """Why ``holder`` may not run the assignment's guest at ``now``; None when it may.

    Total: every combination has an answer, and whatever is missing refuses.
    """
    if holder is None:
        return "this host holds no lease"
    if now >= holder.deadline:
        return f"the lease's deadline passed {now - holder.deadline:.1f} s ago"
    if assignment is None:
        return "the guest is not assigned"
    as_host = (assignment.host, assignment.incarnation) == (holder.host, holder.incarnation)
    as_target = (assignment.target, assignment.target_incarnation) == (holder.host, holder.incarnation)
    if not (as_host or as_target):
        if holder.host in (assignment.host, assignment.target):
            return "the assignment was given to an earlier life of this host's lease"
        return f"the guest is assigned to {assignment.host}"
    return refuses_site(holder.site, assignment.epoch, ticket) or _refuses_volumes(assignment, holder.site, volumes)


def refuses_site(site: SiteName, epoch: int, ticket: Ticket | None) -> str | None:
    """Why nothing of this epoch may act at ``site``: the rule for volumes, addresses and guests alike."""
    if ticket is None:
        return "there is no ticket"
    if ticket.epoch != epoch:
        return f"epoch {epoch} is not the ticket's epoch {ticket.epoch}"
    if ticket.site != site:
        return f"the ticket is at {ticket.site}"
    return None


def _refuses_volumes(assignment: Assignment, site: SiteName, volumes: Iterable[VolumeRecord | None]) -> str | None:
    for volume in volumes:
        if volume is None:
            return "waiting for a volume to be created"
        if volume.epoch != assignment.epoch or volume.site != site:
            return f"waiting for volume {volume.volume}: it is at {volume.site} under epoch {volume.epoch}"
    return None
