"""The outside client: a process in the client's network that asks, writes and records. `python -m
gemel.demo.client PLAN`; it ends by itself after the plan's seconds, or at SIGTERM.

Standard library and PostgreSQL's own programs only, in one process: the machine's two cores belong to the
region.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

from gemel.demo import loadplan
from gemel.demo.loadplan import LoadPlan, Page, parse_plan
from gemel.demo.pgbench import GaveUp, Tick, parse_line, render_load, render_session
from gemel.demo.samples import Sample, render_sample

PATIENCE = 5.0
"""Seconds for a whole answer over HTTP."""
COMMIT_PATIENCE = 4.0
"""Seconds for a commit."""
KNOCK = 0.4
"""Seconds for a TCP connection. Short, so that the return of a server is seen soon after it happens: a
packet that was lost in the dark is sent again only a second later."""
RETRY = 0.5
"""Seconds before a new session after one that failed: each costs a database that is still recovering a process."""
_IN_FLIGHT = 3
"""Attempts at one target at once. An emulated guest that is behind must not be buried."""
_LONGEST_ANSWER = 65536


class Tape:
    """Where samples go, a line each, at once: a reader follows the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, target: str, began: float, ok: bool, name: str = "", detail: str = "") -> None:
        self._file.write(render_sample(Sample(target, began, time.monotonic(), ok, name, detail[:200])))

    def close(self) -> None:
        self._file.close()


async def ask(address: str, method: str, path: str, port: int = 80) -> tuple[int, str]:
    """One request, one connection: status and body. Raises OSError (TimeoutError is one) or ValueError when
    no whole answer came."""
    async with asyncio.timeout(KNOCK):
        reader, writer = await asyncio.open_connection(address, port)
    async with asyncio.timeout(PATIENCE):
        try:
            writer.write(f"{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n".encode())
            raw = await reader.read(_LONGEST_ANSWER)
            while more := await reader.read(_LONGEST_ANSWER):
                raw += more
        finally:
            writer.close()
    return parse_answer(raw)


def parse_answer(raw: bytes) -> tuple[int, str]:
    """Status and body of an HTTP/1.0 answer. Raises ValueError when it is not whole."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if not blank or len(words) < 2 or not words[1].isdigit():
        raise ValueError("half an answer")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(body) != int(value):
            raise ValueError(f"{len(body)} bytes of {int(value)}")
    return int(words[1]), body.decode(errors="replace")


async def attempt(tape: Tape, target: str, name: str, request: Awaitable[tuple[int, str]], starts: str = "") -> None:
    began = time.monotonic()
    try:
        status, body = await request
    except (OSError, ValueError) as error:
        tape.note(target, began, False, name, str(error) or type(error).__name__)
        return
    good = status == 200 and body.startswith(starts)
    tape.note(target, began, good, name, "" if good else f"{status} {body.strip()}")


async def repeat(every: float, start: Callable[[int], Awaitable[None]]) -> None:
    """Start an attempt each ``every`` seconds, whether or not earlier ones have ended: the return of a
    server is then seen by the next attempt, not by the end of a hopeless one."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Future[None]] = set()
    number, due = 0, loop.time()
    try:
        while True:
            if len(running) < _IN_FLIGHT:
                number += 1
                task: asyncio.Future[None] = asyncio.ensure_future(start(number))
                running.add(task)
                task.add_done_callback(running.discard)
            due = max(due + every, loop.time())
            await asyncio.sleep(due - loop.time())
    finally:
        for task in running:
            task.cancel()


async def watch_page(page: Page, tape: Tape) -> None:
    await repeat(page.every, lambda _: attempt(tape, page.target, "", ask(page.address, "GET", page.path)))


async def deposit(plan: LoadPlan, tape: Tape) -> None:
    """Through the web tier, its guests in turn. A write whose answer was lost is not repeated: it is one that
    was never acknowledged."""

    def start(number: int) -> Awaitable[None]:
        address, ref = plan.deposits[number % len(plan.deposits)], f"web-{number}"
        path = f"/deposit?account={number % 100 + 1}&amount=1&ref={ref}"
        return attempt(tape, loadplan.DEPOSIT, ref, ask(address, "POST", path), "ok ")

    await repeat(plan.deposit_every, start)


async def order(plan: LoadPlan, tape: Tape) -> None:
    def start(number: int) -> Awaitable[None]:
        return attempt(tape, loadplan.SHOP, f"order-{number}", ask(plan.shop, "POST", f"/order?id={number}"), "ok ")

    await repeat(plan.order_every, start)


async def knock(plan: LoadPlan, tape: Tape, target: str) -> bool:
    """Does the database accept connections? Recorded when it does not."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(KNOCK):
            _, writer = await asyncio.open_connection(plan.database.host, plan.database.port)
    except OSError as error:
        tape.note(target, began, False, "", str(error) or "no connection")
        await asyncio.sleep(max(0.0, began + 0.1 - time.monotonic()))
        return False
    writer.close()
    return True


async def end(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself when it is about to, make it end otherwise."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 0.3)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def write_rows(plan: LoadPlan, tape: Tape) -> None:
    """A row an attempt, over one psql for as long as it lives. A sequence number is never used twice, so what
    was never acknowledged stays told apart from what was."""
    numbers = iter(range(1, 2**31))
    while True:
        if await knock(plan, tape, loadplan.DATABASE):
            await _write_session(plan, tape, numbers)


async def _write_session(plan: LoadPlan, tape: Tape, numbers: Iterator[int]) -> None:
    environment = {**os.environ, "PGPASSFILE": plan.passfile}
    pipe = asyncio.subprocess.PIPE
    session = await asyncio.create_subprocess_exec(
        *render_session(plan.database), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    try:
        for number in numbers:
            if not await _write_row(session, number, tape):
                return
            await asyncio.sleep(plan.write_every)
    finally:
        await end(session)


async def _write_row(session: asyncio.subprocess.Process, number: int, tape: Tape) -> bool:
    assert session.stdin and session.stdout
    began = time.monotonic()
    statement = f"INSERT INTO {loadplan.WRITES} (seq) VALUES ({number}) RETURNING seq;\n"
    answer = ""
    try:
        async with asyncio.timeout(COMMIT_PATIENCE):
            session.stdin.write(statement.encode())
            await session.stdin.drain()
            answer = (await session.stdout.readline()).decode(errors="replace").strip()
    except OSError as error:
        answer = str(error) or "no answer"
    good = answer == str(number)
    tape.note(loadplan.DATABASE, began, good, f"sql-{number}", "" if good else answer or "the session ended")
    if not good:
        await asyncio.sleep(RETRY)
    return good


async def bench(plan: LoadPlan, tape: Tape, until: float) -> None:
    """pgbench, and pgbench again after all its clients gave up."""
    while (left := int(until - time.monotonic())) > 0:
        if not await knock(plan, tape, loadplan.PGBENCH):
            await asyncio.sleep(0.5)
            continue
        argv = render_load(plan.database, plan.bench_clients, plan.bench_rate, left)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PGPASSFILE": plan.passfile},
        )
        try:
            await _listen(process, tape)
        finally:
            await end(process)
        await asyncio.sleep(0.5)
        await asyncio.sleep(1.0)


async def _listen(process: asyncio.subprocess.Process, tape: Tape) -> None:
    assert process.stderr
    while line := await process.stderr.readline():
        now = time.monotonic()
        match parse_line(line.decode(errors="replace")):
            case Tick(tps, failed):
                tape.note(loadplan.PGBENCH, now - 1.0, tps > 0 and not failed, "", f"tps={tps:g} failed={failed}")
            case GaveUp(why):
                tape.note(loadplan.PGBENCH, now, False, "", f"gave up: {why}")


async def run(plan: LoadPlan) -> None:
    until = time.monotonic() + plan.seconds
    tape = Tape(Path(plan.output))
    work = [watch_page(page, tape) for page in plan.pages]
    work += [deposit(plan, tape), order(plan, tape), write_rows(plan, tape), bench(plan, tape, until)]
    tasks = [asyncio.ensure_future(each) for each in work]
    loop = asyncio.get_running_loop()
    everything = asyncio.gather(*tasks)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, everything.cancel)
    try:
        await asyncio.wait_for(everything, plan.seconds)
    except (TimeoutError, asyncio.CancelledError):
        pass
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)
        tape.close()


if __name__ == "__main__":
    asyncio.run(run(parse_plan(Path(sys.argv[1]).read_text())))
