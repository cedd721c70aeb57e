"""Cast, pipeline, picture, the client's parsing, and the wish to run where one cannot."""

import asyncio
import re
import xml.etree.ElementTree as ET
from math import inf

import pytest

from gemel.core.outcome import Permanent, Retryable
from gemel.demo.cast import Cast, Guest, choose_victim, parse_cast
from gemel.demo.client import parse_answer
from gemel.demo.main import read_cast
from gemel.demo.picture import plan_picture
from gemel.demo.pipeline import Step, run_steps
from gemel.demo.report import Outcome
from gemel.demo.results import Ground, Results, RunHistory
from gemel.demo.samples import Sample
from gemel.demo.timeline import Band, Mark, Tone, clock, render_timeline, stagger
from gemel.lab.history import Interval, Run

CAST = Cast(
    site="par1",
    database=Guest("bank-db", "198.19.1.10"),
    webs=(Guest("bank-web-1", "198.19.1.21"), Guest("bank-web-2", "198.19.1.22")),
    shop=Guest("shop-1", "198.19.2.10"),
    password="x",
)


def test_the_examples_have_the_cast_that_the_demo_needs() -> None:
    cast = read_cast()
    assert cast.site == "par1" and len(cast.webs) == 2
    assert len({guest.address for guest in cast.guests}) == 4
    assert cast.password and cast.connection.host == cast.database.address


def test_a_cast_that_is_not_there_is_named() -> None:
    with pytest.raises(Permanent, match="bank"):
        parse_cast([])


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({"bank-db": "h2", "bank-web-1": "h2", "bank-web-2": "h3"}, ("h3", "bank-web-2")),
        ({"bank-db": "h2", "bank-web-1": "h1", "bank-web-2": "h3"}, ("h3", "bank-web-2")),
        ({"bank-db": "h2", "bank-web-1": "h1", "bank-web-2": "h1"}, ("h1", "bank-web-1")),
        ({"bank-db": "h2", "bank-web-1": "h2", "bank-web-2": "h2"}, ("h2", "bank-web-1")),
        ({"bank-db": "h3", "bank-web-1": "h3", "bank-web-2": "h1"}, ("h1", "bank-web-2")),
    ],
)
def test_the_victim_spares_the_database_first_and_the_store_second(
    hosts: dict[str, str], expected: tuple[str, str]
) -> None:
    assert choose_victim(hosts, CAST, ["h1"]) == expected


def test_no_victim_without_a_web_guest() -> None:
    with pytest.raises(Permanent, match="web tier"):
        choose_victim({"bank-db": "h1"}, CAST, [])


# -- pipeline ------------------------------------------------------------------------------------------


async def _ground(_: Results) -> Ground:
    return Ground(1.0, 2.0)


async def _fails(_: Results) -> Ground:
    raise Retryable("bank does not answer")


async def _breaks(_: Results) -> Ground:
    raise KeyError("bank-db")


async def _hangs(_: Results) -> Ground:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def _history(so_far: Results) -> RunHistory:
    assert so_far.ground is not None
    return RunHistory(0, 1, (), ())


async def run(*steps: Step) -> tuple[Results, list[str]]:
    told: list[Outcome] = []
    ran = await run_steps(steps, lambda number, step: None, told.append)
    assert [each.failure for each in told] == [each.failure for each in ran.outcomes if each.failure]
    return ran.results, [each.failure for each in ran.outcomes]


async def test_each_step_sees_what_the_others_found() -> None:
    results, failures = await run(Step("ground", "", 5, _ground), Step("history", "", 5, _history, ("ground",)))
    assert results.ground and results.history and failures == ["", ""]


@pytest.mark.parametrize(
    ("act", "within", "words"),
    [(_fails, 5.0, "^bank does not answer$"), (_breaks, 5.0, "KeyError: 'bank-db'"), (_hangs, 0.01, "not done within")],
)
async def test_what_needs_a_failed_step_is_left_out(act: object, within: float, words: str) -> None:
    results, failures = await run(
        Step("loaded", "", within, act),  # type: ignore[arg-type]
        Step("host_loss", "", 5, _ground, ("loaded",)),
        Step("ground", "", 5, _ground),
    )
    assert re.search(words, failures[0])
    assert "needs loaded" in failures[1] and results.host_loss is None
    assert failures[2] == "" and results.ground is not None


# -- picture -------------------------------------------------------------------------------------------


def svg(end: float = 300.0) -> str:
    samples = [Sample("database", float(t), t + 0.1, not 100 <= t < 130) for t in range(int(end))]
    samples += [Sample("bank-web-1", float(t), t + 0.1, True) for t in range(int(end))]
    life = Interval(-5.0, inf)
    runs = [
        Run("bank-db", "par1-1", 1, False, life, (Interval(-5.0, 100.0),)),
        Run("bank-db", "gra1-1", 2, False, life, (Interval(112.0, inf),)),
    ]
    bands = [Band(100.0, 160.0, "par1 <cut> off")]
    marks = [Mark(100.0 + number, f"mark & {number}") for number in range(4)]
    sites = {"par1-1": "par1", "gra1-1": "gra1"}
    return render_timeline(plan_picture(samples, runs, (0.0, end), sites, bands, marks))


def test_the_picture_is_well_formed_and_says_everything() -> None:
    root = ET.fromstring(svg())
    texts = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"database commits", "bank-web-1", "bank-db", "par1 <cut> off", "mark & 3", "runs at gra1"} <= texts
    fills = {element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert {tone.value for tone in Tone} <= fills


def test_nothing_is_drawn_outside_the_picture() -> None:
    root = ET.fromstring(svg())
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for element in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        assert x >= 0 and x + float(element.get("width", "0")) <= width + 0.2
        assert y >= 0 and y + float(element.get("height", "0")) <= height + 0.2


def test_a_picture_of_nothing_is_still_one() -> None:
    assert ET.fromstring(render_timeline(plan_picture([], [], (5.0, 5.0), {}, [], []))) is not None


def test_labels_that_would_touch_get_rows_of_their_own() -> None:
    assert stagger([(0, 50), (10, 50), (100, 50)], scale=1.0) == (0, 1, 0)


def test_the_axis_reads_as_minutes() -> None:
    assert (clock(0), clock(65.4), clock(600)) == ("0:00", "1:05", "10:00")


# -- the client's own words ----------------------------------------------------------------------------


def test_half_an_answer_is_none() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"
    assert parse_answer(head + b"ok\n") == (200, "ok\n")
    assert parse_answer(b"HTTP/1.0 503 Service Unavailable\r\n\r\nno") == (503, "no")
    for broken in (b"", b"HTTP/1.0 200 OK\r\n", head + b"o", b"\r\n\r\n"):
        with pytest.raises(ValueError):
            parse_answer(broken)
