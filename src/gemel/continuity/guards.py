"""From a ticket's step to its transaction. Pure."""

from gemel.continuity.plan import Step
from gemel.core import layout
from gemel.core.store import Compare, Delete, Put, Write, absent, unchanged

MOVE = "move"
"""The verb under which requests for planned moves stand in the store."""


def transaction(step: Step) -> tuple[list[Compare], list[Write]]:
    """Without the election's guard, which the leader adds to every commit."""
    key = layout.ticket(step.application)
    compares = [unchanged(key, step.before.revision if step.before else 0)]
    compares += [absent(layout.lease(host)) for host in step.gone]
    writes: list[Write] = []
    for granted in step.deletes:
        assignment = layout.assignment(granted.assignment.guest)
        compares.append(unchanged(assignment, granted.revision))
        writes.append(Delete(assignment))
    compares += [unchanged(layout.report(host, guest), revision) for host, guest, revision in step.reports]
    if step.after is not None:
        writes.append(Put(key, step.after.to_json()))
    if step.settles:
        writes.append(Delete(layout.request(MOVE, step.application)))
    return compares, writes
