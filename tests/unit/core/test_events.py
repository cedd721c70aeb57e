from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gemel.core import layout
from gemel.core.events import EVENT_LIFE, About, Event, EventType, Recorder, record, sortable_id
from gemel.core.store import Committed, Lease, LeaseLost, Put, StoreUnavailable, Write

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))
ABOUT = About(kind="VirtualMachine", name="bank-db")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return MOMENT + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Pages:
    """Only what a pen needs of a store: leases that can be forgotten, and an outage."""

    def __init__(self) -> None:
        self.kept: dict[str, Put] = {}
        self.granted: list[float] = []
        self.forgotten: set[int] = set()
        self.down = False

    async def grant(self, ttl: float) -> Lease:
        if self.down:
            raise StoreUnavailable("down")
        self.granted.append(ttl)
        return Lease(len(self.granted), ttl)

    async def commit(self, _compares: object, writes: list[Write]) -> Committed:
        for write in writes:
            assert isinstance(write, Put)
            if write.lease in self.forgotten:
                raise LeaseLost("forgotten")
            self.kept[write.key] = write
        return Committed(True, 1)


@given(TIMES, TIMES)
def test_ids_sort_as_time_does(one: datetime, other: datetime) -> None:
    first, second = sortable_id(one, "x"), sortable_id(other, "x")
    assert (first < second) == (one < other)


def test_an_id_can_be_read() -> None:
    assert sortable_id(MOMENT, "ab") == "20260102T030405.000006Z-ab"


async def test_one_event_is_kept_for_an_hour() -> None:
    store = Pages()
    event = Event(at=MOMENT, reason="Started", about=ABOUT, message="it runs", source="agent par1-1", epoch=3)
    identity = await record(store, event)  # type: ignore[arg-type]
    put = store.kept[layout.event(identity)]
    assert store.granted == [EVENT_LIFE]
    assert Event.model_validate_json(put.value) == event


async def test_a_process_shares_one_lease_and_renews_it_before_events_would_be_forgotten_early() -> None:
    store, clock = Pages(), Clock()
    pen = Recorder(store, "agent par1-1", clock)  # type: ignore[arg-type]
    for _ in range(30):
        await pen.normal(ABOUT, "Started", "it runs")
        clock.now += 60
    assert len(store.kept) == 30
    assert len(store.granted) == 3


async def test_a_forgotten_lease_is_replaced() -> None:
    store, clock = Pages(), Clock()
    pen = Recorder(store, "agent par1-1", clock)  # type: ignore[arg-type]
    await pen.normal(ABOUT, "Started", "it runs")
    store.forgotten.add(1)
    await pen.warning(ABOUT, "Failed", "it does not", epoch=4)
    kept = [Event.model_validate_json(put.value) for put in store.kept.values()]
    assert {event.type for event in kept} == {EventType.NORMAL, EventType.WARNING}


async def test_an_outage_harms_no_caller() -> None:
    store = Pages()
    store.down = True
    with capture_logs() as lines:
        await Recorder(store, "controller", Clock()).normal(ABOUT, "Moved", "to gra1")  # type: ignore[arg-type]
    assert store.kept == {}
    assert "event not kept" in [line["event"] for line in lines]
