from pathlib import Path

import pytest
from tests.unit.api.world import NOW, Region

from gemel.api.joining import JOIN, FolderSigner, Invitation
from gemel.core import layout
from gemel.core.outcome import Permanent
from gemel.engines.pki import create_authority, make_request


async def invited(region: Region, host: str = "par1-1") -> dict[str, object]:
    answer = await region.ask("POST", f"/hosts/{host}/invite")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def join(region: Region, token: object, csr: str = "csr", host: str = "par1-1") -> tuple[int, dict[str, object]]:
    answer = await region.ask("POST", "/join", None, json={"host": host, "token": token, "csr": csr})
    return answer.status_code, answer.json()


async def test_an_invited_host_gets_all_that_it_needs(region: Region) -> None:
    await region.declared()
    invitation = await invited(region)
    assert {field: invitation[field] for field in ("region", "host", "site", "ca", "store")} == {
        "region": "test",
        "host": "par1-1",
        "site": "par1",
        "ca": "CA",
        "store": ["198.18.1.11:2379"],
    }
    status, body = await join(region, invitation["token"])
    assert status == 200
    assert body == {
        "region": "test",
        "host": "par1-1",
        "site": "par1",
        "address": "198.18.1.11",
        "certificate": "certificate of par1-1 for csr",
        "ca": "CA",
        "store": ["198.18.1.11:2379"],
        "ttl": 10.0,
        "margin": 3.5,
    }
    assert region.signer.signed == [("par1-1", "198.18.1.11")]


async def test_a_token_serves_one_key_and_its_lost_answer(region: Region) -> None:
    await region.declared()
    token = (await invited(region))["token"]
    assert (await join(region, token))[0] == 200
    assert (await join(region, token))[0] == 200
    assert (await join(region, token, "another csr"))[0] == 403
    assert (await join(region, token, host="par1-2"))[0] == 403
    assert (await join(region, "guess"))[0] == 403
    assert (await join(region, ""))[0] == 422


async def test_a_newer_invitation_voids_the_older(region: Region) -> None:
    await region.declared()
    older, newer = (await invited(region))["token"], (await invited(region))["token"]
    assert (await join(region, older))[0] == 403
    assert (await join(region, newer))[0] == 200


async def test_the_store_keeps_no_token_and_only_for_an_hour(region: Region) -> None:
    await region.declared()
    token = str((await invited(region))["token"])
    item = await region.store.get(layout.request(JOIN, "par1-1"))
    assert item is not None
    assert token.encode() not in item.value
    assert (Invitation.model_validate_json(item.value).expires - NOW).total_seconds() == 3600
    await region.store.revoke(item.lease)
    assert (await join(region, token))[0] == 403


async def test_who_is_not_declared_is_not_invited(region: Region) -> None:
    assert (await region.ask("POST", "/hosts/par1-1/invite")).status_code == 404
    assert (await join(region, "x"))[0] == 403


async def test_joining_is_on_record(region: Region) -> None:
    await region.declared()
    await join(region, (await invited(region))["token"])
    items = (await region.ask("GET", "/audit?about=host/par1-1")).json()["items"]
    told = {(each["user"], change["verb"]) for each in items for change in each["changes"]}
    assert {("ada", "invite"), ("host par1-1", "join")} <= told


def test_the_region_s_authority_signs_for_agents_only(tmp_path: Path) -> None:
    create_authority(tmp_path)
    signer = FolderSigner(tmp_path)
    certificate = signer.sign(make_request("agent").csr, "par1-1", "198.18.1.11")
    assert certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert signer.ca().startswith("-----BEGIN CERTIFICATE-----")
    with pytest.raises(Permanent, match="only 'agent' is granted"):
        signer.sign(make_request("root").csr, "par1-1", "198.18.1.11")
    with pytest.raises(Permanent, match="not a certificate request"):
        signer.sign(b"nonsense", "par1-1", "198.18.1.11")
