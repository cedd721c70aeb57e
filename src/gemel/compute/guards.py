"""From a step to the transaction that carries it out only if everything is as it was planned from. Pure."""

from collections.abc import Iterable, Mapping

from gemel.compute.placement import HostFacts
from gemel.compute.plan import Step, Verb
from gemel.compute.requests import MIGRATE
from gemel.core import layout
from gemel.core.identity import HostName, Incarnation
from gemel.core.store import Compare, Delete, Put, Write, absent, unchanged


def transaction(step: Step, hosts: Mapping[HostName, HostFacts]) -> tuple[list[Compare], list[Write]]:
    """Without the election's guard, which the leader adds to every commit."""
    key = layout.assignment(step.guest)
    compares = [unchanged(key, step.before.revision if step.before else 0)]
    if step.ticket_revision is not None:
        compares.append(unchanged(layout.ticket(step.application), step.ticket_revision))
    compares += [_holds(hosts[host]) for host, _ in step.needs]
    compares += compares_dead(step.dead, hosts)
    compares += [unchanged(layout.report(host, step.guest), revision) for host, revision in step.reports]
    writes: list[Write] = [Delete(key) if step.after is None else Put(key, step.after.to_json())]
    if step.verb is Verb.MIGRATE:
        writes.append(Delete(layout.request(MIGRATE, step.guest)))
    return compares, writes


def _holds(host: HostFacts) -> Compare:
    """The host still has the lease it was seen with: the key is written once a life."""
    return unchanged(layout.lease(host.name), host.lease_revision)


def compares_dead(grants: Iterable[tuple[HostName, Incarnation]], hosts: Mapping[HostName, HostFacts]) -> list[Compare]:
    """None of these grants is alive: the lease is gone, or is still the other life that was seen."""
    compares = []
    for name, _ in grants:
        host = hosts.get(name)
        seen = host.lease_revision if host is not None and host.incarnation is not None else 0
        compares.append(unchanged(layout.lease(name), seen) if seen else absent(layout.lease(name)))
    return compares
