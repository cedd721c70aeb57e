"""Renewal of a lease such that its answer proves something.

etcd's leader renews leases without asking a quorum, and a member forwards to whom it takes for the leader. A
leader that was paused and has been replaced would so answer a renewal that its successor never hears of, and
the successor could forget the lease before the host's deadline. Therefore each renewal first makes the same
member answer a linearizable read: that answer needs a quorum which, after the call was made, knew of no newer
leader. A later leader gives every lease its full ttl from its own election, so ``call + ttl`` is safe.
(etcd must run without lease checkpoints, which would shorten that; ``server.render_argv`` leaves them off.)
"""

import asyncio
import time
from typing import Any

import grpc.aio

from gemel.core.store import LeaseLost
from gemel.store.etcd.members import Member, MemberFailed, Ring
from gemel.store.etcd.translate import Verdict, parse_failure, refusal
from gemel.store.etcd.wire import KEEP_ALIVE, message

HEDGES = 6
"""The next member is asked when the last has kept silent for this part of the ttl."""


async def renew(ring: Ring, lease_id: int, ttl: float | None) -> float:
    """The ttl granted anew. Asks members one after another without waiting for the silent ones to fail.
    Raises LeaseLost, or StoreUnavailable after the ring's budget."""
    what = f"renew lease {lease_id:x}"
    patience = ring.call_timeout if ttl is None else min(ring.call_timeout, ttl / HEDGES)
    deadline = time.monotonic() + ring.budget
    running: dict[asyncio.Task[float], Member] = {}
    failures: dict[str, str] = {}
    waiting = list(ring.in_order())
    try:
        while (left := deadline - time.monotonic()) > 0:
            if waiting:
                member = waiting.pop(0)
                running[asyncio.create_task(_renew_at(member, lease_id, ring.call_timeout))] = member
            elif not running:
                waiting = list(ring.in_order())
                await asyncio.sleep(min(0.1, left))
                continue
            done, _ = await asyncio.wait(running, timeout=min(patience, left), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                member = running.pop(task)
                if (granted := _outcome(task, what, failures)) is not None:
                    ring.prefer(member)
                    return granted
                ring.leave(member)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    raise ring.unavailable(what, failures.values())


def _outcome(task: "asyncio.Task[float]", what: str, failures: dict[str, str]) -> float | None:
    try:
        return task.result()
    except MemberFailed as error:
        if parse_failure(error.code, error.details) is Verdict.REFUSED:
            raise refusal(what, error.code, error.details) from error
        failures[error.member.endpoint] = str(error)
        return None


async def _renew_at(member: Member, lease_id: int, timeout: float) -> float:
    started = time.monotonic()
    await member.prove(timeout)
    left = max(0.05, timeout - (time.monotonic() - started))
    answer = await _exchange(member, lease_id, left)
    if answer.TTL <= 0:
        raise LeaseLost(f"the store has forgotten lease {lease_id:x}: what it proved is no longer proved")
    return float(answer.TTL)


async def _exchange(member: Member, lease_id: int, timeout: float) -> Any:
    call = member.stream(KEEP_ALIVE)
    try:
        async with asyncio.timeout(timeout):
            await call.write(message("LeaseKeepAliveRequest", ID=lease_id))
            answer = await call.read()
            if answer is grpc.aio.EOF:
                raise MemberFailed(member, (await call.code()).name, str(await call.details()))
            return answer
    except TimeoutError as error:
        raise MemberFailed(member, "DEADLINE_EXCEEDED", "no answer to a renewal") from error
    except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
        raise MemberFailed(member, "UNAVAILABLE", f"renewal broke: {error}") from error
    finally:
        call.cancel()
