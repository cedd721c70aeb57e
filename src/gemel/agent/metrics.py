"""What an agent tells Prometheus, read at the moment of the scrape from what the agent knows anyway."""

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gemel.agent.host import HostAgent
from gemel.core.clock import Clock


class AgentCollector(Collector):
    """Gauges: how long the lease surely lasts, what the guests' last reports say, how old the view is."""

    def __init__(self, agent: HostAgent, clock: Clock) -> None:
        self._agent = agent
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        now, holder = self._clock.monotonic(), self._agent.keeper.holder
        yield GaugeMetricFamily(
            "gemel_lease_remaining_seconds",
            "Seconds until this host must have stopped its guests unless it renews; 0 without lease.",
            value=holder.deadline - now if holder else 0.0,
        )
        guests = GaugeMetricFamily("gemel_guests", "Guests of this host by the state last reported.", labels=["state"])
        for state, count in sorted(Tally(self._agent.guests.states()).items()):
            guests.add_metric([state], count)
        yield guests
        yield GaugeMetricFamily(
            "gemel_view_age_seconds",
            "Seconds since the region store was last heard.",
            value=min(now - self._agent.fresh_at, 1e9),
        )
        yield GaugeMetricFamily(
            "gemel_fences", "Times that this process has fenced its host.", value=float(self._agent.fences)
        )


def render(agent: HostAgent, clock: Clock) -> bytes:
    registry = CollectorRegistry()
    registry.register(AgentCollector(agent, clock))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
