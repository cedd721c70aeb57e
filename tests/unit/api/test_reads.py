"""Lists, objects, status, events, watches, consoles, metrics: what the records look like to a person."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.api.world import NOW, REPLICA, VOLUME, Region, granted, report
from tests.unit.catalog.samples import documents_of, resource, vm

from gemel.api.watching import Watch
from gemel.catalog.registry import KINDS, VIRTUAL_MACHINE
from gemel.compute.kinds import GuestState
from gemel.core import layout
from gemel.core.events import About, Recorder
from gemel.core.outcome import Permanent, Retryable
from gemel.core.store import Delete
from gemel.storage.kinds import QuarantineRecord, QuarantineState


async def status_of(region: Region, path: str) -> dict[str, Any]:
    answer = await region.ask("GET", path, "vera")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["status"]
    return found


async def test_kinds_come_with_words_columns_and_schemas(region: Region) -> None:
    kinds = {each["kind"]: each for each in (await region.ask("GET", "/kinds", "vera")).json()["items"]}
    assert set(kinds) == {kind.name for kind in KINDS}
    assert "vm" in kinds["VirtualMachine"]["shortNames"]
    assert "memory" in kinds["VirtualMachine"]["schema"]["properties"]
    assert kinds["Volume"]["schema"] is None


async def test_every_column_of_every_kind_leads_somewhere(region: Region) -> None:
    """A column whose path no object of a full region has would stay empty for ever."""
    await region.running()
    held = QuarantineRecord(
        name="bank-db",
        what="guest",
        site="par1",
        host="par1-1",
        application="bank",
        epoch=2,
        state=QuarantineState.HELD,
        reason="older epoch",
        since=NOW,
        image="i",
        diverged_bytes=5,
    )
    await region.put(layout.quarantine("par1", "bank-db"), held)
    await region.put(layout.replica("bank-db.data"), REPLICA.model_copy(update={"error": "link"}))
    ticket = (await region.ask("GET", "/tickets/bank")).json()["status"]
    moving = {**ticket, "phase": "Draining", "to": "gra1", "reasons": ["asked"]}
    await region.put(layout.ticket("bank"), json.dumps(moving).encode())
    moved = granted("bank-db", "par1-1").model_copy(update={"target": "par1-2", "target_incarnation": "x"})
    await region.put(layout.assignment("bank-db"), moved)
    await region.put(
        layout.report("par1-1", "bank-db"), report("bank-db", "par1-1").model_copy(update={"message": "m"})
    )
    await region.put(layout.status("Application", "bank"), b'{"alarm": "a"}')
    await region.apply(documents_of(resource("ProtectionPolicy", "slow", "recoveryPoint: 1h, bandwidthLimit: 1Mi")))
    empty = []
    for kind in KINDS:
        items = (await region.ask("GET", f"/{kind.plural}")).json()["items"]
        assert items, kind.name
        empty += [
            f"{kind.name} {column.title}"
            for column in kind.columns
            if all(_at(item, column.path) is None for item in items)
        ]
    assert empty == []


def _at(found: Any, path: str) -> Any:
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


async def test_a_list_is_selected_by_labels(region: Region) -> None:
    await region.declared()

    async def names(selector: str) -> list[str]:
        answer = await region.ask("GET", "/virtualmachines", params={"labelSelector": selector})
        return [each["metadata"]["name"] for each in answer.json()["items"]]

    assert await names("") == ["bank-db", "bank-web-1", "bank-web-2", "shop-1"]
    assert await names("app=bank,tier!=db") == ["bank-web-1", "bank-web-2"]
    assert await names("!app") == []
    assert (await region.ask("GET", "/vm", params={"labelSelector": "=="})).status_code == 422


async def test_a_guest_says_where_it_runs_and_why_not(region: Region) -> None:
    await region.running()
    db = await status_of(region, "/vm/bank-db")
    assert (db["phase"], db["host"], db["site"], db["epoch"], db["application"]) == (
        "Running",
        "par1-1",
        "par1",
        3,
        "bank",
    )
    assert (await status_of(region, "/vm/shop-1"))["phase"] == "Pending"
    await region.store.commit([], [Delete(layout.lease("par1-1"))])
    lost = await status_of(region, "/vm/bank-db")
    assert (lost["phase"], "holds no lease" in lost["message"]) == ("Unknown", True)
    assert (await status_of(region, "/app/bank"))["ready"] == "2/3"
    assert (await status_of(region, "/host/par1-1"))["phase"] == "Lost"


async def test_a_volume_says_how_far_its_copy_is_behind(region: Region) -> None:
    await region.running()
    volume = await status_of(region, "/volumes/bank-db.data")
    assert (volume["replicaSite"], volume["replicaAgeSeconds"], volume["unshippedBytes"]) == ("gra1", 8.0, 3_000_000)
    assert volume["state"] == "Protected"
    application = await status_of(region, "/applications/bank")
    assert (application["replicaAgeSeconds"], application["unshippedBytes"]) == (8.0, 3_000_000)
    old = REPLICA.complete[0].model_copy(update={"taken_at": NOW.replace(minute=3)})
    await region.put(layout.replica("bank-db.data"), REPLICA.model_copy(update={"complete": (old,), "receiving": None}))
    late = await status_of(region, "/volumes/bank-db.data")
    assert (late["state"], late["unshippedBytes"]) == ("Late", 4_000_000)
    await region.put(layout.replica("bank-db.data"), REPLICA.model_copy(update={"epoch": 2}))
    assert (await status_of(region, "/volumes/bank-db.data"))["state"] == "Unreplicated"
    await region.put(layout.volume("bank-db.data"), VOLUME.model_copy(update={"epoch": 2}))
    assert (await status_of(region, "/volumes/bank-db.data"))["state"] == "Promoting"


async def test_the_region_at_one_glance(region: Region) -> None:
    await region.running()
    body = (await region.ask("GET", "/status", "vera")).json()
    par1 = next(site for site in body["sites"] if site["name"] == "par1")
    assert (par1["hostsAlive"], par1["hostsTotal"], par1["guestsRunning"], par1["steward"]) == (3, 3, 3, "par1-2")
    bank = next(each for each in body["applications"] if each["name"] == "bank")
    assert (bank["guestsRunning"], bank["guestsTotal"], bank["epoch"], bank["replicaAgeSeconds"]) == (3, 3, 3, 8.0)
    assert body["guests"] == {"running": 3, "wanted": 4, "total": 4}
    assert body["store"]["members"][0]["leader"]
    alarms = {(each["kind"], each["name"], each["severity"]) for each in body["alarms"]}
    assert alarms == {("Host", "gra1-3", "WARNING"), ("Application", "shop", "CRITICAL")}
    assert body["health"] == "CRITICAL"


async def test_a_lost_site_is_one_alarm_and_a_wrong_record_is_named(region: Region) -> None:
    await region.running()
    await region.store.commit([], [Delete(layout.LEASES + "par1", prefix=True), Delete(layout.CONTROLLERS)])
    await region.put(layout.ticket("shop"), b"{}")
    body = (await region.ask("GET", "/status")).json()
    alarms = [(each["kind"], each["name"]) for each in body["alarms"]]
    assert ("Site", "par1") in alarms
    assert ("Host", "par1-1") not in alarms
    assert ("Region", "controllers") in alarms
    assert ("Record", "shop") in alarms
    assert (await region.ask("GET", "/tickets/shop")).status_code == 404


async def test_an_empty_region_is_well(region: Region) -> None:
    assert (await region.ask("GET", "/status")).json()["health"] == "OK"


async def test_events_about_one_thing_and_after_one(region: Region) -> None:
    pen = Recorder(region.store, "agent par1-1", region.clock)
    for number in range(3):
        await pen.normal(About(kind="VirtualMachine", name=f"guest-{number}"), "Started", "it runs", epoch=number)
    await pen.warning(About(kind="Region", name="r"), "Cut", "a link is cut")
    items = (await region.ask("GET", "/events")).json()["items"]
    assert len(items) == 4
    about = (await region.ask("GET", "/events?about=vm/guest-1")).json()["items"]
    assert [(each["reason"], each["epoch"]) for each in about] == [("Started", 1)]
    later = (await region.ask("GET", "/events", params={"after": items[1]["id"]})).json()["items"]
    assert [each["id"] for each in later] == [each["id"] for each in items[2:]]
    assert (await region.ask("GET", "/events?about=Region")).json()["items"][0]["type"] == "Warning"
    assert (await region.ask("GET", "/events?about=nothing/x")).status_code == 404


async def test_an_unknown_kind_is_met_with_the_nearest(region: Region) -> None:
    answer = await region.ask("GET", "/virtualmachins")
    assert (answer.status_code, answer.json()["hint"]) == (404, "did you mean VirtualMachine?")


async def changes(region: Region, path: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    answer = await region.ask("GET", path, "vera", headers=headers or {})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return [each for each in found if each["type"] != "PROGRESS"]


def told(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["type"], each["object"]["metadata"]["name"]) for each in found]


async def test_a_watch_without_a_list_begins_with_all_there_is(region: Region) -> None:
    await region.declared()
    assert told(await changes(region, "/watch/sites")) == [("ADDED", "gra1"), ("ADDED", "par1")]


async def test_a_watch_tells_of_what_follows_also_in_the_records(region: Region) -> None:
    await region.running()
    revision = (await region.ask("GET", "/vm")).json()["revision"]
    lines = await Watch(region.store, VIRTUAL_MACHINE, revision, region.clock, None).open()
    stopped = report("bank-db", "par1-1", GuestState.STOPPED)
    found = []
    for change in (
        region.put(layout.report("par1-1", "bank-db"), stopped),
        region.put(layout.report("par1-1", "bank-db"), stopped.model_copy(update={"generation": 9})),
        region.apply(documents_of(vm("cpu: 1", "extra"))),
        region.ask("DELETE", "/vm/extra"),
    ):
        await change
        if len(found) != 1:  # the second change shows in nothing: no line is waited for
            found.append(await next_change(lines))
        else:
            found.append(None)
    seen = [each for each in found if each]
    assert told(seen) == [("MODIFIED", "bank-db"), ("ADDED", "extra"), ("DELETED", "extra")]
    assert seen[0]["object"]["status"]["phase"] == "Stopped"


async def next_change(lines: AsyncIterator[str]) -> dict[str, Any]:
    async for block in lines:
        for line in block.splitlines():
            if line.startswith("data: ") and "PROGRESS" not in line:
                found: dict[str, Any] = json.loads(line[6:])
                return found
    raise AssertionError("the watch ended")


@pytest.mark.parametrize("by_header", [False, True])
async def test_a_watch_resumes_where_it_ended(region: Region, by_header: bool) -> None:
    await region.declared()
    revision = (await region.ask("GET", "/sites")).json()["revision"]
    await region.apply(documents_of(resource("Site", "lyo1", "") + "---\n" + resource("Site", "bre1", "")))
    await region.apply(documents_of(resource("Site", "gra1", "location: Lille, prefixes: [198.19.2.0/24]")))
    await region.ask("DELETE", "/sites/bre1")
    path = "/watch/sites" if by_header else f"/watch/sites?after={revision}"
    found = await changes(region, path, {"Last-Event-ID": str(revision)} if by_header else None)
    # Level-triggered: bre1 came and went meanwhile, so it is only said to be gone.
    assert set(told(found)) == {("ADDED", "lyo1"), ("MODIFIED", "gra1"), ("DELETED", "bre1")}
    assert all(each["revision"] > revision for each in found)


async def test_a_watch_of_what_is_no_longer_kept_says_list_again(region: Region) -> None:
    await region.declared()
    for number in range(3):
        await region.apply(documents_of(resource("Site", f"s{number}", "")))
    await region.store.compact((await region.contents()).revision)
    answer = await region.ask("GET", "/watch/sites?after=1")
    assert (answer.status_code, answer.json()["error"]) == (410, "Gone")


async def test_a_console_is_read_from_the_guest_s_host(region: Region) -> None:
    await region.running()
    answer = await region.ask("GET", "/virtualmachines/bank-db/console?follow=true", "vera")
    assert answer.content == b"gemel: bank-db is up\n"
    assert region.consoles.asked == [("198.18.1.11", "bank-db", True)]
    assert (await region.ask("GET", "/virtualmachines/shop-1/console")).status_code == 409
    assert (await region.ask("GET", "/virtualmachines/none/console")).status_code == 404
    for error, status in ((Retryable("no answer", 2), 503), (Permanent("refused"), 409)):
        region.consoles.error = error
        assert (await region.ask("GET", "/virtualmachines/bank-db/console")).status_code == status


async def test_metrics_count_by_route(region: Region) -> None:
    await region.declared()
    for name in ("par1", "gra1", "none"):
        await region.ask("GET", f"/sites/{name}")
    text = (await region.http.get("/metrics")).text
    assert 'gemel_api_requests_total{method="GET",route="/v1/{plural}/{name}",status="200"} 2.0' in text
    assert 'gemel_api_request_seconds_count{method="GET",route="/v1/{plural}/{name}"} 3.0' in text


async def test_probes_need_no_token(region: Region) -> None:
    assert (await region.http.get("/healthz")).json()["status"] == "ok"
    assert (await region.http.get("/readyz")).status_code == 200
    region.store.link.up, region.store.link.patience = False, 0.01
    assert (await region.http.get("/healthz")).status_code == 200
    assert (await region.http.get("/readyz")).status_code == 503


async def test_a_defect_leaves_no_traceback(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("gemel.api.routes.region.describe_region", broken)
    with capture_logs() as lines:
        answer = await region.ask("GET", "/status")
    assert (answer.status_code, answer.json()["error"]) == (500, "Defect")
    assert "secret" not in answer.text
    assert lines[-1]["path"] == "/v1/status"
