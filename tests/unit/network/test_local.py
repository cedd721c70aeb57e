"""The keeper of a host's routes, over a kernel in memory that can refuse and keep silent."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from gemel.core.identity import GuestName
from gemel.core.outcome import Present, Retryable, Unknown
from gemel.network.local import RouteKeeper
from gemel.network.plan import LocalGuest
from gemel.network.ports import Announcement, HostRoute

ADDRESS = IPv4Address("198.51.100.1")
OTHER = IPv4Address("198.51.100.2")


class KernelInMemory:
    """``missing`` are taps that do not exist; ``silent`` makes it not tell its routes."""

    def __init__(self) -> None:
        self.table: dict[IPv4Address, str] = {}
        self.gateways: set[str] = set()
        self.blackholes: set[IPv4Network] = set()
        self.missing: set[str] = set()
        self.silent = False

    async def observe(self) -> Present[frozenset[HostRoute]] | Unknown:
        if self.silent:
            return Unknown("silent")
        return Present(frozenset(HostRoute(address, tap) for address, tap in self.table.items()))

    async def ensure_host(self, prefixes: Iterable[IPv4Network]) -> None:
        self.blackholes |= set(prefixes)

    async def ensure_gateway(self, tap: str) -> None:
        self._exists(tap)
        self.gateways.add(tap)

    async def ensure_announced(self, announcement: Announcement) -> None:
        self._exists(announcement.tap)
        self.table[announcement.address] = announcement.tap

    async def ensure_withdrawn(self, address: IPv4Address) -> None:
        self.table.pop(address, None)

    def withdraw_all(self) -> tuple[IPv4Address, ...]:
        gone = tuple(self.table)
        self.table.clear()
        return gone

    def _exists(self, tap: str) -> None:
        if tap in self.missing:
            raise Retryable(f"no device {tap}")


def guest(address: IPv4Address = ADDRESS, executes: bool = True, name: str = "db") -> LocalGuest:
    return LocalGuest(GuestName(name), (address,), f"t-{name}", executes)


async def test_reconcile_makes_routes_agree() -> None:
    kernel = KernelInMemory()
    kernel.table[OTHER] = "old"
    plan, failures = await RouteKeeper(kernel).reconcile([guest()])
    assert kernel.table == {ADDRESS: "t-db"}
    assert kernel.gateways == {"t-db"}
    assert failures == ()
    assert plan is not None and plan.changes_routes


async def test_unknown_changes_nothing() -> None:
    kernel = KernelInMemory()
    kernel.table[OTHER] = "old"
    kernel.silent = True
    plan, failures = await RouteKeeper(kernel).reconcile([guest()])
    assert plan is None
    assert failures == ("routes of this host are unknown: silent",)
    assert kernel.table == {OTHER: "old"}


async def test_one_failure_does_not_stop_the_others() -> None:
    kernel = KernelInMemory()
    kernel.missing.add("t-db")
    _, failures = await RouteKeeper(kernel).reconcile([guest(), guest(OTHER, name="web")])
    assert kernel.table == {OTHER: "t-web"}
    assert failures == ("no device t-db", "no device t-db")


async def test_hand_over_moves_the_address() -> None:
    source, target = KernelInMemory(), KernelInMemory()
    leaving, arriving = RouteKeeper(source), RouteKeeper(target)
    await leaving.reconcile([guest()])
    await arriving.prepare_guest(guest(executes=False))
    assert target.table == {} and target.gateways == {"t-db"}
    await leaving.execution_ended(guest())
    await arriving.execution_began(guest())
    assert source.table == {} and target.table == {ADDRESS: "t-db"}


async def test_after_a_fence_nothing_is_announced_until_it_is_lifted() -> None:
    kernel = KernelInMemory()
    keeper = RouteKeeper(kernel)
    await keeper.reconcile([guest()])
    keeper.fence()
    assert kernel.table == {}
    await keeper.execution_began(guest())
    await keeper.reconcile([guest()])
    assert kernel.table == {}
    keeper.unfence()
    await keeper.reconcile([guest()])
    assert kernel.table == {ADDRESS: "t-db"}


async def test_execution_without_a_grant_is_not_announced() -> None:
    kernel = KernelInMemory()
    refused = LocalGuest(GuestName("db"), (ADDRESS,), "t-db", executes=True, granted=False)
    await RouteKeeper(kernel).execution_began(refused)
    assert kernel.table == {}


async def test_prefixes_become_blackholes() -> None:
    kernel = KernelInMemory()
    await RouteKeeper(kernel).prepare([IPv4Network("198.51.100.0/24")])
    assert kernel.blackholes == {IPv4Network("198.51.100.0/24")}
