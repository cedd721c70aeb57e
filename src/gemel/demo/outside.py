"""The outside client as the demo handles it: started in the client's namespace by the lab's spawner, so that
`gemel lab down` ends it also after a crash; its samples read as they come; queries asked from there."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gemel.core.outcome import OutcomeUnknown, Permanent, Retryable
from gemel.demo.ledger import BALANCES, Balances, parse_balances
from gemel.demo.loadplan import PRESENT, LoadPlan, render_plan
from gemel.demo.pgbench import Database, render_initialise, render_passfile, render_query
from gemel.demo.samples import Sample, first_answer, parse_samples
from gemel.engines.pki import write_private
from gemel.lab.process import OBSERVER, is_alive, signal_group
from gemel.lab.region import Region
from gemel.lab.state import ProcessRecord

NODE = "client"
NAME = "demo-client"
_LOOK = 0.1
_STOP_WITHIN = 10.0
_QUERY_WITHIN = 15.0


class OutsideClient:
    """``folder`` takes what only root may read, and is removed with the lab; ``samples`` is kept."""

    def __init__(self, region: Region, database: Database, samples: Path) -> None:
        self._region = region
        self._database = database
        self.file = samples
        self._folder = region.folder.path / "demo"
        self._read = 0
        self._samples: list[Sample] = []

    @property
    def passfile(self) -> Path:
        return self._folder / "pgpass"

    def write_password(self, password: str) -> None:
        write_private(self.passfile, render_passfile(self._database, password).encode())

    async def initialise(self, scale: int, within: float) -> None:
        """pgbench's four tables, filled."""
        await self._execute(render_initialise(self._database, scale), within)

    async def query(self, sql: str) -> str:
        """One statement, unaligned text back. Raises Permanent with the database's words, OutcomeUnknown."""
        return await self._execute(render_query(self._database, sql), _QUERY_WITHIN)

    async def query_patiently(self, sql: str, within: float) -> str:
        """A query that may be asked again: until it is answered. Raises Retryable with the last refusal."""
        deadline = time.monotonic() + within
        while True:
            try:
                return await self.query(sql)
            except (Permanent, OutcomeUnknown) as error:
                if time.monotonic() > deadline:
                    raise Retryable(f"no answer from the database within {within:.0f} s: {error}") from error
            await asyncio.sleep(0.3)

    async def balances(self, within: float = 30.0) -> Balances:
        return parse_balances(await self.query_patiently(BALANCES, within))

    async def present(self, within: float = 30.0) -> frozenset[str]:
        """Ids of all writes that the database has now."""
        return frozenset((await self.query_patiently(PRESENT, within)).split())

    async def _execute(self, argv: list[str], within: float) -> str:
        environment = {"PGPASSFILE": str(self.passfile)}
        done = await self._region.spawner.execute(NODE, argv, within, env=environment, system=False)
        if done.returncode != 0:
            raise Permanent(f"{Path(argv[0]).name} from outside: {' '.join(done.stderr.split())[-400:]}")
        return done.stdout

    def start(self, plan: LoadPlan) -> None:
        """Begin to ask, write and record."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        place = self._folder / "load.json"
        write_private(place, render_plan(plan).encode())
        spawner = self._region.spawner
        argv = [*spawner.entrance(NODE, system=False), sys.executable, "-m", "gemel.demo.client", str(place)]
        spawner.spawn(OBSERVER, NAME, argv)

    async def stop(self) -> None:
        """End it, and forget it: a process that was meant to end is no dead one. Nothing when it never ran."""
        record = self._record()
        if record is None:
            return
        deadline = time.monotonic() + _STOP_WITHIN
        signal_group(record, signal.SIGTERM)
        while is_alive(record):
            if time.monotonic() > deadline:
                signal_group(record, signal.SIGKILL)
            await asyncio.sleep(_LOOK)
            self._region.spawner.reap()
        self._region.spawner.forget(OBSERVER, NAME)

    def samples(self) -> tuple[Sample, ...]:
        """All so far."""
        if self.file.exists():
            with self.file.open() as file:
                file.seek(self._read)
                found, length = parse_samples(file.read())
            self._read += length
            self._samples += found
        return tuple(self._samples)

    async def until_answer(self, target: str, after: float, within: float) -> Sample:
        """The first good answer of ``target`` to an attempt that began after ``after``. Raises Retryable with
        the last failure's reason."""
        return await self.until(
            f"an answer of {target}", lambda samples: first_answer(samples, target, after), within, target
        )

    async def until(
        self, what: str, seen: Callable[[tuple[Sample, ...]], Sample | None], within: float, target: str
    ) -> Sample:
        deadline = time.monotonic() + within
        while (found := seen(self.samples())) is None:
            record = self._record()
            if record is None or not is_alive(record):
                raise Permanent(f"the outside client has ended; see {self._region.folder.logs / OBSERVER}")
            if time.monotonic() > deadline:
                raise Retryable(f"waited {within:.0f} s for {what}: {self._last_failure(target)}")
            await asyncio.sleep(_LOOK)
        return found

    def _record(self) -> ProcessRecord | None:
        return self._region.state.read().processes.get(f"{OBSERVER}/{NAME}")

    def _last_failure(self, target: str) -> str:
        failed = [each for each in self._samples if each.target == target and not each.ok]
        return f"{len(failed)} failures, the last one: {failed[-1].detail}" if failed else "it was never asked"
