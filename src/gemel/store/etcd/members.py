"""The members of one etcd as a client sees them: a channel each, and which one to ask.

A call goes to the member that answered last. It moves on when that one does not answer: members that were
partitioned from their leader take requests and keep silent, so before a write a member that has not proved
itself lately must answer a linearizable read, which it can only with a quorum.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio

from gemel.core import layout
from gemel.core.store import StoreUnavailable
from gemel.store.etcd.translate import Verdict, parse_failure, refusal
from gemel.store.etcd.wire import RANGE, Method, message, message_class

T = TypeVar("T")

PROOF_LIFE = 1.0
"""Seconds that an answer with a quorum behind it lets writes go without a new proof."""

PAUSE = 0.1
"""Seconds between two rounds over members that all fail at once."""

_REQUIRE_LEADER = (("hasleader", "true"),)
_OPTIONS = (
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    # One connection a client: shared ones would make one role's certificate speak for another.
    ("grpc.use_local_subchannel_pool", 1),
)
_BROKEN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class MemberFailed(Exception):
    """A member did not carry out a call. ``code`` names the gRPC status."""

    def __init__(self, member: "Member", code: str, details: str) -> None:
        super().__init__(f"{member.endpoint}: {code}: {details}")
        self.member, self.code, self.details = member, code, details


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM of the authority, and of this client's certificate and key."""

    ca: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Credentials(hidden)"


class Member:
    """One member's channel."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        self.endpoint = endpoint.removeprefix("https://")
        secure = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
        self._channel: Any = grpc.aio.secure_channel(self.endpoint, secure, options=_OPTIONS)
        self._proven_at = float("-inf")

    async def ready(self, timeout: float) -> None:
        """Connected; what fails here was certainly not sent. Fails at once while the channel is known to be
        broken, so that a dead member does not cost a timeout."""
        try:
            async with asyncio.timeout(timeout):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state in _BROKEN:
                        raise MemberFailed(self, "UNAVAILABLE", f"failed to connect: {state.name.lower()}")
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError as error:
            raise MemberFailed(self, "UNAVAILABLE", "failed to connect in time") from error
        except grpc.aio.UsageError as error:
            raise MemberFailed(self, "UNAVAILABLE", "failed to connect: the client is closed") from error

    async def call(self, method: Method, request: Any, timeout: float) -> Any:
        """One unary call on a connected channel."""
        invoke = self._channel.unary_unary(
            method.path,
            request_serializer=message_class(method.request).SerializeToString,
            response_deserializer=message_class(method.response).FromString,
        )
        try:
            return await invoke(request, timeout=timeout, metadata=_REQUIRE_LEADER)
        except grpc.aio.AioRpcError as error:
            raise MemberFailed(self, error.code().name, error.details() or "") from error
        except grpc.aio.UsageError as error:
            raise MemberFailed(self, "UNAVAILABLE", "failed to connect: the client is closed") from error

    def stream(self, method: Method) -> Any:
        """An open two-way stream; the caller cancels it."""
        invoke = self._channel.stream_stream(
            method.path,
            request_serializer=message_class(method.request).SerializeToString,
            response_deserializer=message_class(method.response).FromString,
        )
        return invoke(metadata=_REQUIRE_LEADER)

    async def prove(self, timeout: float) -> None:
        """A linearizable read: a quorum that knows of no newer leader answered after this was called."""
        request = message("RangeRequest", key=layout.ROOT.encode(), limit=1, keys_only=True)
        await self.ready(timeout)
        await self.call(RANGE, request, timeout)
        self._proven_at = time.monotonic()

    def proved(self) -> None:
        """Note an answer that took a quorum."""
        self._proven_at = time.monotonic()

    @property
    def proven(self) -> bool:
        return time.monotonic() < self._proven_at + PROOF_LIFE

    async def close(self) -> None:
        await self._channel.close()


class Ring:
    """All members, and the one that is asked first."""

    def __init__(self, members: Sequence[Member], call_timeout: float, budget: float) -> None:
        if not members:
            raise ValueError("an etcd needs at least one endpoint")
        self.members = tuple(members)
        self.call_timeout = call_timeout
        self.budget = budget
        self._current = 0

    @property
    def current(self) -> Member:
        return self.members[self._current]

    def leave(self, member: Member) -> None:
        """Ask the next one from now on, unless someone moved on already."""
        if self.current is member:
            self._current = (self._current + 1) % len(self.members)

    def prefer(self, member: Member) -> None:
        self._current = self.members.index(member)

    def in_order(self) -> tuple[Member, ...]:
        return self.members[self._current :] + self.members[: self._current]

    async def ask(self, what: str, call: Callable[[Member, float], Awaitable[T]]) -> T:
        """``call(member, timeout)`` at one member after another, until one carries it out or the budget is
        spent (StoreUnavailable). What etcd refuses is raised as the port's error at once."""
        deadline = time.monotonic() + self.budget
        failures: dict[str, str] = {}
        turn = 0
        while (left := deadline - time.monotonic()) > 0:
            member = self.current
            try:
                return await call(member, min(self.call_timeout, left))
            except MemberFailed as error:
                if parse_failure(error.code, error.details) is Verdict.REFUSED:
                    raise refusal(what, error.code, error.details) from error
                failures[member.endpoint] = str(error)
            self.leave(member)
            turn += 1
            if turn % len(self.members) == 0:
                await asyncio.sleep(PAUSE)
        raise self.unavailable(what, failures.values())

    def unavailable(self, what: str, failures: Iterable[str]) -> StoreUnavailable:
        reasons = "; ".join(failures) or "none was tried"
        return StoreUnavailable(f"cannot {what}: no etcd member did within {self.budget:g} s ({reasons})")

    async def close(self) -> None:
        await asyncio.gather(*(member.close() for member in self.members))
