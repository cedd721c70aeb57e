"""``gemel controller``: a candidate for the lead. At each site, and at the witness."""

from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from gemel.control.leader import Leader
from gemel.core import layout, logs, process
from gemel.core.clock import SystemClock
from gemel.core.election import Election, Leadership, Terms
from gemel.core.events import Recorder
from gemel.core.outcome import Permanent
from gemel.core.resource import Model
from gemel.core.view import View
from gemel.store.access import StoreAccess
from gemel.store.etcd import EtcdStore

WATCHED = (
    layout.RESOURCES,
    layout.REQUESTS,
    layout.LEASES,
    layout.TICKETS,
    layout.ASSIGNMENTS,
    layout.REPORTS,
    layout.VOLUMES,
    layout.CUTS,
    layout.REPLICAS,
    layout.STATUS,
)


class ControllerConfig(Model):
    identity: str
    store: StoreAccess
    election_ttl: float = 6.0
    settle: float = 1.2
    """Seconds between the loss of a host's lease and the restart of its guests beside it: somewhat more than the
    agents' renewal interval, within which all leases of a lost site go. Shorter is no danger: it may only cost a
    restart beside a host that dies next."""


def load(path: Path) -> ControllerConfig:
    try:
        return ControllerConfig.model_validate(YAML(typ="safe").load(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise Permanent(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def main(config: Path) -> int:
    loaded = load(config)
    logs.configure("controller", identity=loaded.identity)
    return process.run(serve(loaded))


async def serve(config: ControllerConfig) -> None:
    clock = SystemClock()
    access = config.store
    store = await EtcdStore.connect(access.endpoints, access.ca, access.certificate, access.key)
    recorder = Recorder(store, f"controller {config.identity}", clock)
    terms = Terms(ttl=config.election_ttl, margin=1.5, renew_every=1.0, look_every=1.0)
    election = Election(store, layout.CONTROLLERS, config.identity, clock, terms)
    try:
        async with View(store, WATCHED, clock) as view:

            async def work(_: Leadership) -> None:
                await Leader(store, view, clock, recorder, lambda: election.leadership, config.settle).run()

            await election.lead(work)
    finally:
        await election.resign()
        await store.close()
