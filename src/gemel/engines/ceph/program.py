"""Running one outside program: bounded in time, its pipes with backpressure, its end certain."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

CHUNK = 256 * 1024
LAST_WORDS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    stdout: str
    stderr: str


class TimedOut(Exception):
    """The program was killed because it did not end in time: what it did is not known."""


async def run(argv: Sequence[str], within: float) -> Ended:
    """To the end, or TimedOut after ``within`` seconds. Killed also when the caller is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate()
    except TimeoutError:
        raise TimedOut(f"{argv[0]} did not end within {within:.0f} s") from None
    finally:
        await end(process)
    return Ended(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill it, and what it started, if it still runs; wait until it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


async def read_stream(argv: Sequence[str], stall: float) -> AsyncGenerator[bytes | Ended, None]:
    """Chunks of standard output, and at last how it ended. The program is held up while the reader is slow;
    TimedOut when it gives nothing for ``stall`` seconds."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        limit=CHUNK,
    )
    assert process.stdout is not None and process.stderr is not None
    words = asyncio.create_task(_last_words(process.stderr))
    try:
        while chunk := await _read(process.stdout, stall):
            yield chunk
        async with asyncio.timeout(stall):
            code = await process.wait()
        yield Ended(code, "", await words)
    except TimeoutError:
        raise TimedOut(f"{argv[0]} gave nothing for {stall:.0f} s") from None
    finally:
        await end(process)
        words.cancel()
        await asyncio.gather(words, return_exceptions=True)


async def write_stream(argv: Sequence[str], stream: AsyncIterator[bytes], stall: float) -> Ended:
    """Feed ``stream`` to standard input; the caller closes it. When the stream raises, the program is killed
    before it sees an end of input, and the stream's error is raised."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None and process.stderr is not None
    words = asyncio.create_task(_last_words(process.stderr))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code says more
            async for chunk in stream:
                process.stdin.write(chunk)
                async with asyncio.timeout(stall):
                    await process.stdin.drain()
            process.stdin.close()
        async with asyncio.timeout(stall):
            return Ended(await process.wait(), "", await words)
    except TimeoutError:
        raise TimedOut(f"{argv[0]} took nothing for {stall:.0f} s") from None
    finally:
        await end(process)
        words.cancel()
        await asyncio.gather(words, return_exceptions=True)


async def _read(stdout: asyncio.StreamReader, stall: float) -> bytes:
    async with asyncio.timeout(stall):
        return await stdout.read(CHUNK)


async def _last_words(stderr: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stderr.read(4096):
        kept = (kept + chunk)[-LAST_WORDS:]
    return kept.decode(errors="replace")
