"""What an agent does for addresses on its host: make the kernel's guest routes agree with what executes.

Two ways lead in. ``reconcile`` is level-triggered, from everything that was observed. ``execution_began`` and
``execution_ended`` are the short cut for a live migration's hand-over, where milliseconds count; whatever
they miss, the next ``reconcile`` puts right.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from ipaddress import IPv4Network

from gemel.core.outcome import GemelError, Unknown
from gemel.network.plan import LocalGuest, RoutePlan, plan_routes
from gemel.network.ports import Announcement, Routes


class RouteKeeper:
    """Owns the guest routes of one host. One caller at a time: calls are serialised inside."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._turn = asyncio.Lock()
        self._fenced = False

    async def prepare(self, prefixes: Iterable[IPv4Network]) -> None:
        """Once at start, and when a site's prefixes change: forwarding, blackholes."""
        await self._routes.ensure_host(prefixes)

    async def reconcile(self, guests: Iterable[LocalGuest]) -> tuple[RoutePlan | None, tuple[str, ...]]:
        """Make routes agree with ``guests``, which must be a complete observation: never call it from Unknown.

        Returns the plan (None when the kernel did not tell its routes, and nothing was done) and what failed,
        in words; a failure of one address does not stop the others.
        """
        async with self._turn:
            observed = await self._routes.observe()
            if isinstance(observed, Unknown):
                return None, (f"routes of this host are unknown: {observed.why}",)
            plan = plan_routes(() if self._fenced else guests, observed.value)
            return plan, await self._apply(plan)

    async def _apply(self, plan: RoutePlan) -> tuple[str, ...]:
        failures: list[str] = []
        for route in plan.withdraw:
            await _collect(failures, self._routes.ensure_withdrawn(route.address))
        for tap in plan.gateways:
            await _collect(failures, self._routes.ensure_gateway(tap))
        for announcement in plan.announce:
            await _collect(failures, self._announce(announcement))
        return tuple(failures)

    async def prepare_guest(self, guest: LocalGuest) -> None:
        """The gateway on its tap, before it executes here: it then answers at its first packet."""
        await self._routes.ensure_gateway(guest.tap)

    async def execution_began(self, guest: LocalGuest) -> None:
        """Announce at once. The caller has checked the right to run."""
        async with self._turn:
            for address in guest.addresses if guest.granted else ():
                await self._announce(Announcement(guest.guest, address, guest.tap))

    async def execution_ended(self, guest: LocalGuest) -> None:
        """Withdraw at once: another host executes it now, or nobody does."""
        async with self._turn:
            for address in guest.addresses:
                await self._routes.ensure_withdrawn(address)

    async def _announce(self, announcement: Announcement) -> None:
        # Read at the last moment: a fence may have come while this call waited for its turn.
        if not self._fenced:
            await self._routes.ensure_announced(announcement)

    def fence(self) -> None:
        """From now on announce nothing, and withdraw everything at once. Works without the event loop."""
        self._fenced = True
        self._routes.withdraw_all()

    def unfence(self) -> None:
        """The host holds a fresh lease: what executes under a grant may be announced again."""
        self._fenced = False


async def _collect(failures: list[str], step: Awaitable[None]) -> None:
    try:
        await step
    except GemelError as error:
        failures.append(str(error))
