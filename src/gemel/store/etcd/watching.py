"""A watch that outlives members: one stream at a time, resumed after the last event that was handed on.

A member that lost its quorum keeps a watch open and silent. So after two seconds of silence the member must
answer a linearizable read and the stream a progress request, or the watch moves on. (Revisions in answers to
progress requests are not used: before 3.4.25 and 3.5.8 etcd may send them ahead of older events.)
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from gemel.core.outcome import Permanent
from gemel.core.store import Batch, Compacted, Event
from gemel.store.etcd.members import PAUSE, Member, MemberFailed, Ring
from gemel.store.etcd.translate import parse_event, render_range
from gemel.store.etcd.wire import WATCH, message

log = logging.getLogger(__name__)

QUIET = 2.0
"""Seconds of silence after which a watch is checked."""
LONGEST_PAUSE = 1.0
"""Seconds between tries when no member has answered for a while: a host that is cut off must not spin."""
SILENT = 4.0
"""Seconds of silence after which it is given up."""


async def follow(ring: Ring, prefix: str, after: int, closed: asyncio.Event) -> AsyncIterator[Batch]:
    """Batches after ``after`` until ``closed``; see ``core.store.Store.watch``."""
    pause = PAUSE
    while not closed.is_set():
        member = ring.current
        try:
            async with aclosing(_follow_at(member, prefix, after, ring.call_timeout)) as batches:
                async for batch in batches:
                    after, pause = batch.revision, PAUSE
                    yield batch
        except MemberFailed as error:
            if closed.is_set():
                return
            log.info("watch of %s moves on: %s", prefix, error)
            ring.leave(member)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)


async def _follow_at(member: Member, prefix: str, after: int, timeout: float) -> AsyncGenerator[Batch, None]:
    await member.ready(timeout)
    call = member.stream(WATCH)
    reading: asyncio.Task[Any] | None = None
    parts: list[Event] = []
    heard = time.monotonic()
    try:
        await _send(member, call, create_request=_creation(prefix, after))
        while True:
            reading = reading or asyncio.create_task(call.read())
            done, _ = await asyncio.wait({reading}, timeout=QUIET)
            if not done:
                await _check(member, call, time.monotonic() - heard, timeout)
                continue
            answer, reading, heard = await _received(member, call, reading), None, time.monotonic()
            _check_canceled(member, answer, prefix, after)
            parts += [event for event in map(parse_event, answer.events) if event.revision > after]
            if answer.fragment:
                continue  # the rest of the same revisions follows
            if parts:
                after = parts[-1].revision
                yield Batch(after, tuple(parts))
                parts = []
            elif not answer.created and not answer.events:
                yield Batch(after, ())
    finally:
        if reading is not None:
            reading.cancel()
        call.cancel()
        if reading is not None:
            await asyncio.gather(reading, return_exceptions=True)


def _creation(prefix: str, after: int) -> dict[str, Any]:
    # Starts at ``after`` itself, which was seen: etcd then says so when that is compacted. Starting one later,
    # it would not report a deletion that was exactly the compacted revision, and then forgotten.
    return {**render_range(prefix), "start_revision": max(1, after), "fragment": True}


async def _send(member: Member, call: Any, **request: Any) -> None:
    try:
        await call.write(message("WatchRequest", **request))
    except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
        raise MemberFailed(member, "UNAVAILABLE", f"watch broke: {error}") from error


async def _check(member: Member, call: Any, silent: float, timeout: float) -> None:
    if silent > SILENT:
        raise MemberFailed(member, "DEADLINE_EXCEEDED", f"watch was silent for {silent:.1f} s")
    await member.prove(timeout)
    await _send(member, call, progress_request={})


async def _received(member: Member, call: Any, reading: "asyncio.Task[Any]") -> Any:
    try:
        answer = reading.result()
    except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
        raise MemberFailed(member, "UNAVAILABLE", f"watch broke: {error}") from error
    if answer is grpc.aio.EOF:
        raise MemberFailed(member, (await call.code()).name, f"watch ended: {await call.details()}")
    return answer


def _check_canceled(member: Member, answer: Any, prefix: str, after: int) -> None:
    if not answer.canceled:
        return
    if answer.compact_revision:
        raise Compacted(
            f"changes under {prefix} after revision {after} are gone "
            f"(compacted at {answer.compact_revision}): list again"
        )
    if "permission denied" in answer.cancel_reason:
        raise Permanent(f"cannot watch {prefix}: the certificate's role may not read it; check the role in use")
    raise MemberFailed(member, "UNAVAILABLE", f"watch cancelled: {answer.cancel_reason}")
