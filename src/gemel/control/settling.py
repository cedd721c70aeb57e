"""How long a host has been without lease, as this leader saw it: its only memory, and it may be lost."""

from collections.abc import Iterable

from gemel.core.identity import HostName


class Settling:
    """Hosts of one room lose their leases within one renewal of each other. Waiting that long tells the loss
    of a site from the loss of a host, and costs less than restarting beside a dying neighbour."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[HostName, float] = {}
        self._looked = float("-inf")

    def settled(self, lost: Iterable[HostName], now: float) -> frozenset[HostName]:
        """Of the hosts without lease now, those that have been so for ``seconds``. ``now`` is monotonic."""
        lost = set(lost)
        self._looked = now
        self._since = {host: self._since.get(host, now) for host in lost}
        return frozenset(host for host, since in self._since.items() if now >= since + self._seconds)

    def next_at(self) -> float | None:
        """When the next host settles, monotonic; None when none is waiting. A host that had settled at the
        last look is not waited for: it may stay away for days, and the leader would never rest."""
        moments = (since + self._seconds for since in self._since.values())
        return min((moment for moment in moments if moment > self._looked), default=None)
