"""The demo's outside client against a real PostgreSQL on loopback: its own words are what the demo measures by."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemel.demo.ledger import BALANCES, acknowledged, compare, parse_balances
from gemel.demo.loadplan import CREATE_WRITES, DATABASE, DEPOSIT, PGBENCH, PRESENT, SHOP, LoadPlan, Page, render_plan
from gemel.demo.pgbench import BIN, Database, render_initialise, render_query
from gemel.demo.samples import first_answer, of_target, outages, parse_samples
from tests.waiting import eventually

pytestmark = pytest.mark.lab

WEB = "127.77.0.1"
SCHEMA = "CREATE TABLE ledger (id bigserial PRIMARY KEY, ref text NOT NULL UNIQUE)"


def run(argv: list[str], **options: object) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


class Server:
    """A private PostgreSQL, as the user that its package made."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._data = str(folder / "data")
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": str(folder)}
        run([str(BIN / "initdb"), "-D", self._data, "-A", "trust", "-U", "postgres", "-N"], **self._as)

    def control(self, *words: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        argv = [str(BIN / "pg_ctl"), "-D", self._data, "-o", options, "-l", log, "-w", *words]
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, timeout=60, **self._as)  # type: ignore[call-overload]

    def ask(self, sql: str, user: str = "bank") -> str:
        name = "bank" if user == "bank" else "postgres"
        return run(render_query(Database("127.0.0.1", name, user, self.port), sql))


@pytest.fixture
def server(unused_tcp_port: int) -> Iterator[Server]:
    if os.geteuid() != 0 or not (BIN / "pg_ctl").exists():
        pytest.fail("this test needs root and postgresql-15, and that is a failure", pytrace=False)
    folder = Path("/var/tmp") / f"gemel-outside-{os.getpid()}"
    folder.mkdir()
    try:
        server = Server(folder, unused_tcp_port)
        server.control("start")
        server.ask("CREATE ROLE bank LOGIN", "postgres")
        server.ask("CREATE DATABASE bank OWNER bank", "postgres")
        server.ask(SCHEMA)
        yield server
        server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A stand-in for the web guests and the shop: says yes to everything."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nok 1\n")
    await writer.drain()
    writer.close()


async def test_the_client_writes_through_a_crash_and_tells_what_it_saw(server: Server, tmp_path: Path) -> None:
    database = Database("127.0.0.1", "bank", "bank", server.port)
    run(render_initialise(database, 1))
    server.ask(CREATE_WRITES)
    samples = tmp_path / "samples.jsonl"
    place = tmp_path / "load.json"
    plan = LoadPlan(str(samples), 60.0, (Page("web", WEB),), (WEB,), WEB, database, str(tmp_path / "none"))
    place.write_text(render_plan(plan))
    web = await asyncio.start_server(answer, WEB, 80)
    client = await asyncio.create_subprocess_exec(sys.executable, "-m", "gemel.demo.client", str(place))

    def all_answer(after: float) -> bool:
        seen, _ = parse_samples(samples.read_text()) if samples.exists() else ((), 0)
        return all(first_answer(seen, target, after) for target in (DATABASE, PGBENCH, DEPOSIT, SHOP, "web"))

    try:
        await eventually(lambda: all_answer(0.0), within=30, what="first answers of every target")
        crashed = time.monotonic()
        await asyncio.to_thread(server.control, "restart", "-m", "immediate")
        await eventually(lambda: all_answer(crashed + 0.5), within=30, what="answers after the crash")
    finally:
        client.terminate()
        assert await client.wait() == 0
        web.close()
        await web.wait_closed()
    seen, _ = parse_samples(samples.read_text())
    gaps = [each for each in outages(of_target(seen, DATABASE)) if each.end > crashed]
    assert gaps and all(each.seconds < 30 for each in gaps)
    assert any("gave up" in each.detail for each in of_target(seen, PGBENCH))
    writes = acknowledged(of_target(seen, DATABASE), time.monotonic())
    kept = compare(writes, frozenset(server.ask(PRESENT).split()), crashed)
    assert kept.acknowledged > 5 and not kept.lost
    assert parse_balances(server.ask(BALANCES)).agree
    assert parse_balances(server.ask(BALANCES)).transactions > 0
