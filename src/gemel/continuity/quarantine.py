"""When what was held back at a returning site may be let go. Pure.

    (killed by the fence, epoch older than the ticket's) --> HELD --(site agrees again)--> RELEASED

The site agrees when every volume of the application is, there, either the writer of the ticket's epoch or a
replica that follows it: then nothing of the old epoch can be mistaken for the application any more. What
existed only there has been salvaged before (a replica is started only after that).
"""

from collections.abc import Iterable, Mapping

from gemel.continuity.kinds import Ticket
from gemel.core.identity import SiteName, VolumeName
from gemel.storage.kinds import QuarantineRecord, QuarantineState, ReplicaRecord, VolumeRecord


def may_release(
    record: QuarantineRecord,
    ticket: Ticket | None,
    volumes: Iterable[VolumeRecord],
    replicas: Mapping[VolumeName, ReplicaRecord],
) -> bool:
    """``volumes``: those of the record's application. Without a ticket nothing is let go."""
    if ticket is None or record.what != "guest" or record.state is not QuarantineState.HELD:
        return False
    return all(_agrees(record.site, ticket, volume, replicas.get(volume.volume)) for volume in volumes)


def _agrees(site: SiteName, ticket: Ticket, volume: VolumeRecord, replica: ReplicaRecord | None) -> bool:
    if volume.epoch != ticket.epoch:
        return False
    if volume.site == site:
        return True
    return replica is not None and (replica.site, replica.epoch) == (site, ticket.epoch) and bool(replica.complete)
