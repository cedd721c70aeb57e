"""What every step works with: the region, the faults, the outside client, the records, the narrator."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gemel.core.outcome import Permanent
from gemel.demo.cast import Cast
from gemel.demo.narration import Narrator
from gemel.demo.outside import OutsideClient
from gemel.demo.timeline import Band, Mark
from gemel.demo.watcher import Watcher
from gemel.lab.faults import FaultBench
from gemel.lab.process import run
from gemel.lab.region import Region
from gemel.lab.regionstore import places

COMMAND_WITHIN = 180.0
"""Seconds for one command of gemel, waiting included."""


@dataclass
class Workbench:
    """``bands`` and ``marks`` grow as things happen, for the picture. ``watch`` connects what needs a region
    that is up."""

    region: Region
    faults: FaultBench
    narrator: Narrator
    client: OutsideClient
    cast: Cast
    out: Path
    bands: list[Band]
    marks: list[Mark]
    watcher: Watcher | None = None
    loaded_at: float = 0.0
    """CLOCK_MONOTONIC when the load began."""

    @property
    def site(self) -> str:
        """Where the bank is at home."""
        return self.cast.site

    @property
    def survivor(self) -> str:
        return next(site.name for site in self.region.topology.sites if site.name != self.site)

    def hosts(self, site: str) -> frozenset[str]:
        return frozenset(host.name for host in self.region.topology.hosts(site))

    @property
    def records(self) -> Watcher:
        """Raises Permanent before ``watch``."""
        if self.watcher is None:
            raise Permanent("the region is not up: nothing is known of its records")
        return self.watcher

    async def watch(self) -> None:
        hosts = self.hosts(self.survivor)
        member = next(place for place in places(self.region.topology) if place.name in hosts)
        self.watcher = await Watcher.connect(member.endpoint, self.region.folder.pki)
        self.watcher.start()

    async def gemel(self, *words: str, within: float = COMMAND_WITHIN) -> str:
        """Run a command as a person would, and show it. Raises Permanent with what it said."""
        self.narrator.command(" ".join(["gemel", *words]))
        program = Path(sys.executable).parent / "gemel"
        with self.narrator.waiting("it answers"):
            done = await run([str(program), *words], within)
        self.narrator.output(done.stdout)
        return done.check().stdout


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def wall_now() -> datetime:
    return datetime.now(UTC)


def words_of(paths: Sequence[Path]) -> list[str]:
    """``-f`` options for manifests."""
    return [word for path in paths for word in ("-f", str(path))]
