"""Applying, replacing, deleting: all or nothing, by whom, against which version, and on record."""

import asyncio
from typing import Any

import pytest
from tests.unit.api.world import Region, granted, lease_of
from tests.unit.catalog.samples import BAD, Bad, documents_of, example_documents, resource, vm

from gemel.api import audit
from gemel.core import layout
from gemel.core.store import Put

SITE = {"apiVersion": "gemel/v1", "kind": "Site", "metadata": {"name": "lyo1"}, "spec": {"location": "Lyon"}}


def changed(found: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**found, "spec": {**found["spec"], **spec}}


async def test_an_apply_says_what_it_did_to_each(region: Region) -> None:
    first = (await region.apply(example_documents())).json()
    assert {each["action"] for each in first["results"]} == {"created"}
    second = (await region.apply(example_documents())).json()
    assert {each["action"] for each in second["results"]} == {"unchanged"}
    assert "revision" not in second
    third = (await region.apply(documents_of(vm("cpu: 2, addresses: [198.19.1.9]", "lone")))).json()
    assert third["results"] == [
        {"kind": "VirtualMachine", "name": "lone", "action": "created", "resourceVersion": third["revision"]}
    ]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_a_bad_document_leaves_the_store_as_it_was(region: Region, bad: Bad) -> None:
    await region.declared()
    before = await region.contents(layout.ROOT)
    answer = await region.apply([*documents_of(vm("cpu: 1", "good"), "good.yaml"), *documents_of(bad.text)])
    assert answer.status_code == 422
    body = answer.json()
    assert body["error"] == "Invalid"
    found = [p for p in body["problems"] if p["path"] == bad.path and p["file"] == "bad.yaml"]
    assert any(bad.says in each["message"] and each["document"] == bad.document for each in found)
    assert await region.contents(layout.ROOT) == before


async def test_a_dry_run_changes_nothing(region: Region) -> None:
    answer = await region.apply(example_documents(), dry_run=True)
    assert {each["action"] for each in answer.json()["results"]} == {"created"}
    assert (await region.contents(layout.ROOT)).items == ()


async def test_generation_tells_of_spec_only(region: Region) -> None:
    async def metadata(text: str) -> dict[str, Any]:
        assert (await region.apply(documents_of(text))).status_code == 200
        found: dict[str, Any] = (await region.ask("GET", "/sites/a")).json()["metadata"]
        return found

    first = await metadata(resource("Site", "a", ""))
    labelled = await metadata("apiVersion: gemel/v1\nkind: Site\nmetadata: {name: a, labels: {x: y}}\nspec: {}")
    moved = await metadata(resource("Site", "a", "location: Rouen"))
    assert [each["generation"] for each in (first, labelled, moved)] == [1, 1, 2]
    assert first["uid"] == moved["uid"]
    assert first["resourceVersion"] < labelled["resourceVersion"] < moved["resourceVersion"]


async def test_a_document_that_names_an_older_version_changes_nothing(region: Region) -> None:
    await region.apply(documents_of(resource("Site", "a", "")))
    version = (await region.ask("GET", "/sites/a")).json()["metadata"]["resourceVersion"]
    text = (
        f"apiVersion: gemel/v1\nkind: Site\nmetadata: {{name: a, resourceVersion: {version}}}\nspec: {{location: %s}}"
    )
    assert (await region.apply(documents_of(text % "Lille"))).status_code == 200
    late = await region.apply(documents_of(text % "Lyon"))
    assert late.status_code == 409
    assert "read it again" in late.json()["message"]
    assert (await region.ask("GET", "/sites/a")).json()["spec"]["location"] == "Lille"


async def test_replacing_takes_the_version_that_was_read(region: Region) -> None:
    created = await region.ask("PUT", "/sites/lyo1", json=SITE)
    assert created.status_code == 201
    blind = await region.ask("PUT", "/sites/lyo1", json=SITE)
    assert (blind.status_code, blind.json()["problems"][0]["path"]) == (422, "metadata.resourceVersion")
    read = created.json()
    assert (await region.ask("PUT", "/sites/lyo1", json=changed(read, location="Bron"))).status_code == 200
    assert (await region.ask("PUT", "/sites/lyo1", json=changed(read, location="Brest"))).status_code == 409
    astray = await region.ask("PUT", "/sites/par9", json=SITE)
    assert astray.json()["problems"][0]["path"] == "metadata.name"
    assert (await region.ask("PUT", "/hosts/lyo1", json=SITE)).json()["problems"][0]["path"] == "kind"
    assert (await region.ask("PUT", "/tickets/bank", json={})).status_code == 405


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/sites/par1", "Host par1-1 is there"),
        ("/images/tiny", "VirtualMachine bank-web-1 uses it"),
        ("/policies/critical", "Application bank is protected by it"),
        ("/hosts/par1-1", "bank-db is assigned to it"),
    ],
)
async def test_what_is_still_needed_is_not_deleted(region: Region, path: str, why: str) -> None:
    await region.running()
    answer = await region.ask("DELETE", path)
    assert answer.status_code == 409
    assert why in answer.json()["message"]


async def test_deleting(region: Region) -> None:
    await region.declared()
    version = (await region.ask("GET", "/vm/shop-1")).json()["metadata"]["resourceVersion"]
    assert (await region.ask("DELETE", f"/vm/shop-1?resourceVersion={version - 1}")).status_code == 409
    done = await region.ask("DELETE", f"/virtualmachines/shop-1?resourceVersion={version}")
    assert done.json()["results"] == [{"kind": "VirtualMachine", "name": "shop-1", "action": "deleted"}]
    assert (await region.ask("DELETE", "/virtualmachines/shop-1")).status_code == 404
    assert (await region.ask("GET", "/virtualmachines/shop-1")).status_code == 404


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        (None, "GET", "/sites", 401),
        ("nobody", "GET", "/sites", 401),
        ("vera", "GET", "/sites", 200),
        ("vera", "POST", "/virtualmachines/bank-db/stop", 403),
        ("vera", "DELETE", "/virtualmachines/shop-1", 403),
        ("olga", "POST", "/virtualmachines/bank-db/stop", 200),
        ("olga", "POST", "/hosts/par1-1/drain", 200),
        ("olga", "DELETE", "/virtualmachines/shop-1", 200),
        ("olga", "DELETE", "/hosts/par1-1", 403),
        ("olga", "POST", "/hosts/par1-1/invite", 403),
        ("olga", "GET", "/audit", 403),
        ("ada", "POST", "/hosts/par1-1/invite", 200),
        ("ada", "GET", "/audit", 200),
    ],
)
async def test_roles(region: Region, user: str | None, method: str, path: str, status: int) -> None:
    await region.declared()
    answer = await region.ask(method, path, user)
    assert answer.status_code == status
    if status >= 400:
        assert set(answer.json()) == {"error", "message", "hint"}


async def test_an_operator_s_apply_holds_nothing_of_an_admin_s(region: Region) -> None:
    await region.declared()
    before = (await region.contents()).items
    mixed = documents_of(vm("cpu: 1") + "---\n" + resource("Site", "a", ""))
    assert (await region.apply(mixed, "olga")).status_code == 403
    assert (await region.apply(documents_of("kind: {}"), "vera")).status_code == 403
    assert (await region.contents()).items == before
    assert (await region.apply(mixed[:1], "olga")).status_code == 200


async def test_the_audit_trail_says_who_did_what_and_who_was_denied_it(region: Region) -> None:
    await region.declared()
    created = (await region.ask("GET", "/vm/shop-1")).json()["metadata"]["resourceVersion"]
    await region.ask("POST", "/virtualmachines/shop-1/stop", "olga")
    await region.ask("DELETE", "/virtualmachines/shop-1", "vera")
    stopped = (await region.ask("GET", "/vm/shop-1")).json()["metadata"]["resourceVersion"]
    trail = (await region.ask("GET", "/audit?about=vm/shop-1")).json()["items"]
    told = [
        (r["user"], r["outcome"], c["verb"], c.get("before"), c.get("after"))
        for r in trail
        for c in r["changes"]
        if c["name"] == "shop-1"
    ]
    assert set(told) == {
        ("ada", "done", "apply", None, created),
        ("olga", "done", "stop", created, stopped),
        ("vera", "denied", "delete", None, None),
    }


async def test_the_oldest_records_leave_the_store_and_the_chain_goes_on(region: Region) -> None:
    for number in range(5):
        await region.apply(documents_of(resource("Site", f"s{number}", "")))
    assert await audit.prune(region.store, keep=2) == 3
    assert await audit.prune(region.store, keep=2) == 0
    assert len((await region.ask("GET", "/audit")).json()["items"]) == 2
    assert (await region.apply(documents_of(resource("Site", "s5", "")))).status_code == 200


async def test_two_who_change_at_once_both_succeed_and_form_one_chain(region: Region) -> None:
    await region.declared()
    texts = [vm("cpu: 1", f"guest-{number}") for number in range(4)]
    answers = await asyncio.gather(*(region.apply(documents_of(text)) for text in texts))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["revision"] for answer in answers}) == 4


async def test_two_who_take_one_address_at_once_do_not_both_get_it(region: Region) -> None:
    await region.declared()
    texts = [vm("addresses: [198.19.1.77]", name) for name in ("one", "two")]
    answers = await asyncio.gather(*(region.apply(documents_of(text)) for text in texts))
    assert sorted(answer.status_code for answer in answers) == [200, 422]


async def test_an_answer_that_was_lost_is_found_again(region: Region) -> None:
    region.store.link.patience = 0.01
    region.store.link.lose_answers = 1
    answer = await region.apply(documents_of(resource("Site", "a", "")))
    assert answer.status_code == 200
    assert answer.json()["results"][0]["resourceVersion"] == answer.json()["revision"]


async def test_a_store_without_quorum_is_a_503_that_says_when_to_try_again(region: Region) -> None:
    region.store.link.patience = 0.01
    region.store.link.up = False
    for method, path in (("GET", "/sites"), ("POST", "/hosts/par1-1/drain"), ("GET", "/status"), ("GET", "/watch/vm")):
        answer = await region.ask(method, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == "Unavailable"


async def test_a_move_is_wished_and_only_where_it_can_be(region: Region) -> None:
    await region.running()

    async def move(name: str, to: str) -> tuple[int, str]:
        answer = await region.ask("POST", f"/applications/{name}/move", "olga", json={"to": to})
        return answer.status_code, answer.json().get("message", "")

    assert (await move("bank", "par1")) == (409, "bank is at par1 already")
    assert (await move("bank", "lyo1"))[0] == 409
    assert (await move("bnk", "gra1"))[0] == 404
    assert "no ticket yet" in (await move("shop", "par1"))[1]
    assert (await move("bank", "gra1"))[0] == 202
    assert (await move("bank", "gra1"))[0] == 202
    wish = await region.store.get(layout.request("move", "bank"))
    assert wish is not None
    assert wish.value == b'{"application":"bank","to":"gra1","requestedBy":"olga"}'


async def test_a_migration_is_wished_and_only_where_it_can_be(region: Region) -> None:
    await region.running()

    async def migrate(name: str, to: str | None) -> tuple[int, str]:
        answer = await region.ask("POST", f"/virtualmachines/{name}/migrate", "olga", json={"to": to})
        return answer.status_code, answer.json().get("message", "")

    assert "runs on par1-1 already" in (await migrate("bank-db", "par1-1"))[1]
    assert "moved as one" in (await migrate("bank-db", "gra1-1"))[1]
    assert "no Host par1-8" in (await migrate("bank-db", "par1-8"))[1]
    assert "does not run" in (await migrate("shop-1", None))[1]
    assert (await migrate("bank-dbb", None))[0] == 404
    await region.ask("POST", "/hosts/par1-3/drain")
    assert "drained" in (await migrate("bank-db", "par1-3"))[1]
    assert (await migrate("bank-db", "par1-2"))[0] == 202
    assert (await migrate("bank-db", None))[0] == 409
    assert (await region.ask("POST", "/virtualmachines/bank-web-1/migrate")).status_code == 202
    await region.put(
        layout.assignment("bank-web-2"), granted("bank-web-2", "par1-3").model_copy(update={"target": "par1-1"})
    )
    assert "is being migrated" in (await migrate("bank-web-2", None))[1]


async def test_a_verb_again_changes_nothing(region: Region) -> None:
    await region.declared()
    answers = [(await region.ask("POST", "/hosts/par1-1/drain")).json()["results"][0]["action"] for _ in range(2)]
    assert answers == ["configured", "unchanged"]
    assert not (await region.ask("GET", "/hosts/par1-1")).json()["spec"]["schedulable"]
    await region.ask("POST", "/hosts/par1-1/resume")
    assert (await region.ask("GET", "/hosts/par1-1")).json()["spec"]["schedulable"]


async def test_a_host_that_lives_is_not_deleted(region: Region) -> None:
    await region.declared()
    await region.store.commit([], [Put(layout.lease("gra1-3"), lease_of("gra1-3").to_json())])
    assert "it is alive" in (await region.ask("DELETE", "/hosts/gra1-3")).json()["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 422), (b"", 422), (b"[" * 100_000, 400), (b"null", 422), (b'{"documents": []}', 422), (b"\xff", 400)],
)
async def test_a_body_that_is_none(region: Region, body: bytes, status: int) -> None:
    answer = await region.ask("POST", "/apply", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize("path", ["/vm?labelselector=app=bank", "/status?wide=true", "/events?about=vm&xyz=1"])
async def test_a_parameter_that_is_not_known_is_refused_rather_than_ignored(region: Region, path: str) -> None:
    answer = await region.ask("GET", path)
    assert answer.status_code == 422
    assert "there is no parameter" in answer.json()["message"]


async def test_a_body_that_is_too_large(region: Region) -> None:
    answer = await region.ask(
        "POST", "/apply", content=b" " * (5 * 2**20), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
    annotation = "apiVersion: gemel/v1\nkind: Site\nmetadata: {name: a, annotations: {x: %s}}\nspec: {}" % (
        "x" * 1_100_000
    )
    assert (await region.apply(documents_of(annotation))).status_code == 413
