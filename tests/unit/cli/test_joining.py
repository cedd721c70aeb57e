"""A machine joins a region: against an API in memory that signs with a real authority."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gemel.agent.config import load
from gemel.cli.app import run
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.joining import Invitation, join, parse_invitation, plan_config
from gemel.engines.pki import Purpose, Subject, create_authority, sign_request
from gemel.engines.pki.authority import Authority


@dataclass
class JoiningApi(httpx.AsyncBaseTransport):
    """Binds the token to the first request that shows it, as the real one does."""

    authority: Authority
    bound: str = ""
    lose_answers: int = 0
    answer: dict[str, Any] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        if body["token"] != "once" or self.bound not in ("", body["csr"]):
            return httpx.Response(403, json={"error": "NotInvited", "message": "not invited with this token"})
        self.bound = body["csr"]
        subject = Subject(cn="agent", unit=body["host"], ips=("198.18.1.14",), purpose=Purpose.PEER)
        certificate = sign_request(self.authority, body["csr"].encode(), subject).decode()
        if self.lose_answers:
            self.lose_answers -= 1
            raise httpx.ReadTimeout("silence")
        standard = {
            "site": "par1",
            "address": "198.18.1.14",
            "store": ["198.18.1.11:2379", "198.18.2.11:2379"],
            "ttl": 10.0,
            "margin": 3.5,
        }
        return httpx.Response(200, json=standard | {"certificate": certificate} | self.answer)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JoiningApi:
    api = JoiningApi(create_authority(tmp_path / "authority"))
    genuine = httpx.AsyncClient

    def client(**settings: Any) -> httpx.AsyncClient:
        return genuine(**settings | {"transport": api})

    monkeypatch.setattr("gemel.cli.client.httpx.AsyncClient", client)
    return api


def invitation_of(api: JoiningApi, **changes: str) -> Invitation:
    fields = {"region": "lab", "host": "par1-4", "ca": api.authority.pem.decode(), "token": "once"} | changes
    return parse_invitation(fields | {"api": ["https://par1.test"], "site": "par1", "store": []}, "x.join")


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_a_host_gets_its_files_and_the_agent_can_read_them(api: JoiningApi, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert "joined region lab" in await join(invitation_of(api), root)
    config = load(root / "etc/gemel/agent.yaml")
    assert (config.host, config.site, str(config.address)) == ("par1-4", "par1", "198.18.1.14")
    assert config.store.endpoints == ("198.18.1.11:2379", "198.18.2.11:2379")
    assert config.store.key == Path("/etc/gemel/tls/agent.key")
    assert (config.lease.ttl, config.lease.margin) == (10.0, 3.5)
    assert sorted(snapshot(root / "etc/gemel/tls")) == ["agent.crt", "agent.key", "ca.crt"]
    for secret in ("agent.yaml", "tls/agent.key"):
        assert (root / "etc/gemel" / secret).stat().st_mode & 0o777 == 0o600


async def test_the_certificate_is_of_the_key_that_was_made_here(api: JoiningApi, tmp_path: Path) -> None:
    import ssl

    await join(invitation_of(api), tmp_path)
    tls = tmp_path / "etc/gemel/tls"
    ssl.create_default_context(cafile=tls / "ca.crt").load_cert_chain(tls / "agent.crt", tls / "agent.key")


async def test_joining_again_changes_nothing_and_needs_no_token(api: JoiningApi, tmp_path: Path) -> None:
    await join(invitation_of(api), tmp_path)
    before = snapshot(tmp_path)
    assert "nothing to do" in await join(invitation_of(api, token="spent"), tmp_path)
    assert snapshot(tmp_path) == before


async def test_a_join_whose_answer_was_lost_goes_on_with_the_same_key(api: JoiningApi, tmp_path: Path) -> None:
    api.lose_answers = 1
    with pytest.raises(CommandFailed) as raised:
        await join(invitation_of(api), tmp_path)
    assert raised.value.code is Exit.UNAVAILABLE
    assert "joined" in await join(invitation_of(api), tmp_path)
    assert load(tmp_path / "etc/gemel/agent.yaml").host == "par1-4"


async def test_another_regions_identity_is_never_overwritten(api: JoiningApi, tmp_path: Path) -> None:
    root = tmp_path / "root"
    await join(invitation_of(api), root)
    before = snapshot(root)
    other = create_authority(tmp_path / "other").pem.decode()
    for change in ({"region": "prod"}, {"host": "par1-5"}, {"ca": other}):
        with pytest.raises(CommandFailed) as raised:
            await join(invitation_of(api, **change), root)
        assert raised.value.code is Exit.CONFLICT and "left as it is" in raised.value.message
    assert snapshot(root) == before


async def test_a_refused_token_leaves_no_configuration(api: JoiningApi, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(CommandFailed) as raised:
        await join(invitation_of(api, token="wrong"), root)
    assert raised.value.code is Exit.REFUSED
    assert not (root / "etc/gemel/agent.yaml").exists() and not (root / "etc/gemel/tls/agent.crt").exists()


async def test_what_the_machine_knows_of_itself_is_merged(api: JoiningApi, tmp_path: Path) -> None:
    local = tmp_path / "etc/gemel/local.yaml"
    local.parent.mkdir(parents=True)
    local.write_text("imageDir: /srv/images\nlibvirt: {domainType: qemu}\nlease: {renewEvery: 0.5}\n")
    await join(invitation_of(api), tmp_path)
    config = load(tmp_path / "etc/gemel/agent.yaml")
    assert (str(config.image_dir), config.libvirt.domain_type) == ("/srv/images", "qemu")
    assert (config.lease.ttl, config.lease.renew_every) == (10.0, 0.5)


@pytest.mark.parametrize("text", ["imageDirectory: /srv\n", "libvirt: {domainType: xen}\n", "host: other\n", ": ["])
async def test_a_wrong_local_file_is_found_before_the_agent_finds_it(
    api: JoiningApi, tmp_path: Path, text: str
) -> None:
    local = tmp_path / "etc/gemel/local.yaml"
    local.parent.mkdir(parents=True)
    local.write_text(text)
    with pytest.raises(CommandFailed) as raised:
        await join(invitation_of(api), tmp_path)
    assert raised.value.code is Exit.USAGE and "local.yaml" in raised.value.message
    assert not (tmp_path / "etc/gemel/agent.yaml").exists()
    local.unlink()
    assert "joined" in await join(invitation_of(api), tmp_path)


@pytest.mark.parametrize("field", ["certificate", "site", "address", "store"])
async def test_an_answer_that_lacks_something_is_not_acted_on(api: JoiningApi, tmp_path: Path, field: str) -> None:
    api.answer = {field: None}
    with pytest.raises(CommandFailed, match=field):
        await join(invitation_of(api), tmp_path)
    assert not (tmp_path / "etc/gemel/agent.yaml").exists()


@pytest.mark.parametrize("field", ["region", "host", "ca", "token", "api"])
def test_a_join_file_that_lacks_something_is_named(field: str) -> None:
    document = {"region": "r", "host": "h", "ca": "pem", "token": "t", "api": ["https://a"]}
    with pytest.raises(CommandFailed, match=field):
        parse_invitation({key: value for key, value in document.items() if key != field}, "x.join")
    with pytest.raises(CommandFailed, match="not a join file"):
        parse_invitation("text", "x.join")


def test_the_token_is_in_no_representation() -> None:
    invitation = Invitation("r", "h", ("https://a",), "pem", "sesame")
    assert "sesame" not in f"{invitation} {invitation!r}"


def test_the_lease_is_the_regions_but_for_what_only_the_machine_sets() -> None:
    invitation = Invitation("r", "h", (), "pem", "t")
    answer = {"site": "s", "address": "1.2.3.4", "store": ["a:1"], "ttl": 8.0, "margin": 2.0}
    assert plan_config(invitation, answer, {})["lease"] == {"ttl": 8.0, "margin": 2.0}
    local = {"lease": {"ttl": 60.0, "renewEvery": 0.5}}
    assert plan_config(invitation, answer, local)["lease"] == {"ttl": 8.0, "margin": 2.0, "renewEvery": 0.5}


def test_the_command_reads_the_file_and_reports(
    api: JoiningApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invited = {"region": "lab", "host": "par1-4", "ca": api.authority.pem.decode(), "token": "once"}
    path = tmp_path / "par1-4.join"
    path.write_text(json.dumps(invited | {"api": ["https://par1.test"]}))
    assert run(["host", "join", str(path), "--root", str(tmp_path / "root")]) == Exit.OK
    assert "systemctl enable --now gemel-watchdog gemel-agent" in capsys.readouterr().out
    assert run(["host", "join", str(tmp_path / "none.join")]) == Exit.USAGE
