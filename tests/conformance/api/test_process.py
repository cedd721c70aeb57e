"""The API as the process that systemd starts: real etcd with roles, TLS, tokens, and a host that joins."""

import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from gemel.api.tokens import digest_of
from gemel.engines.pki import Purpose, Subject, issue, load_authority, make_request, write_identity
from tests.conformance.store.cluster import LOOPBACK, Cluster, free_ports
from tests.unit.catalog.samples import example_documents
from tests.waiting import eventually

TOKEN = "sesame"


class Process:
    """``gemel api`` over a cluster's members, with the certificate of the role ``api``."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        (self.port,) = free_ports(1)
        authority = load_authority(cluster.folder / "ca")
        subject = Subject("api", ips=(LOOPBACK,), purpose=Purpose.PEER)
        write_identity(folder, "api", issue(authority, subject))
        files = {"ca": str(cluster.folder / "ca" / "ca.crt"), "certificate": "api.crt", "key": "api.key"}
        config = {
            "region": "test",
            "listen": {"address": LOOPBACK, "port": self.port},
            "tls": files,
            "store": {"endpoints": [place.endpoint for place in cluster.places], **files},
            "tokens": "tokens.yaml",
            "authority": str(cluster.folder / "ca"),
        }
        (folder / "api.yaml").write_text(json.dumps(config))
        (folder / "tokens.yaml").touch(mode=0o600)
        entry = {"user": "ada", "role": "admin", "sha256": digest_of(TOKEN)}
        (folder / "tokens.yaml").write_text(json.dumps({"tokens": [entry]}))
        self.log = folder / "api.log"
        main = "import sys; from pathlib import Path; from gemel.api.main import main; "
        call = f"{main} sys.exit(main(Path({str(folder / 'api.yaml')!r})))"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", call], stdout=log, stderr=log)
        self.trust = ssl.create_default_context(cafile=files["ca"])

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        base = f"https://{LOOPBACK}:{self.port}"
        return httpx.AsyncClient(base_url=base, verify=self.trust, headers=headers, timeout=20, trust_env=False)

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("etcd"))
    try:
        for place in found.places:
            found.start(place)
        yield found
    finally:
        found.stop()


@pytest.fixture
async def api(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Process]:
    await cluster.settled()
    await cluster.prepare()
    found = Process(cluster, tmp_path)
    try:
        yield found
    finally:
        found.stop()


async def test_the_process_serves_a_region_on_etcd(cluster: Cluster, api: Process) -> None:
    async with api.client() as http:

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                assert api.process.poll() is None, api.log.read_text()
                return False

        await eventually(ready, 30)
        documents = [{"file": d.file, "index": d.index, "object": d.object} for d in example_documents()]
        answer = await http.post("/v1/apply", json={"documents": documents})
        assert answer.status_code == 200, answer.text
        status = (await http.get("/v1/status")).json()
        assert {member["healthy"] for member in status["store"]["members"]} == {True}
        assert [site["name"] for site in status["sites"]] == ["gra1", "par1"]

        revision = (await http.get("/v1/sites")).json()["revision"]
        async with http.stream("GET", f"/v1/watch/hosts?after={revision}") as watch:
            assert (await http.post("/v1/hosts/par1-1/drain")).status_code == 200
            found = [json.loads(line[6:]) async for line in _first_change(watch)]
        assert [each["object"]["metadata"]["name"] for each in found] == ["par1-1"]

        invitation = (await http.post("/v1/hosts/par1-1/invite")).json()
        request = make_request("agent")
        wish = {"host": "par1-1", "token": invitation["token"], "csr": request.csr.decode()}
        joined = await http.post("/v1/join", json=wish)
        assert joined.status_code == 200, joined.text
        assert joined.json()["certificate"].startswith("-----BEGIN CERTIFICATE-----")
        assert (await http.get("/v1/audit")).json()["items"][-1]["changes"][0]["verb"] == "join"
    assert api.stop() == 0, api.log.read_text()
    lines = [json.loads(line) for line in api.log.read_text().splitlines()]
    assert {"process": "api", "region": "test"}.items() <= lines[0].items()
    assert TOKEN not in api.log.read_text()
    assert invitation["token"] not in api.log.read_text()


async def _first_change(watch: httpx.Response) -> AsyncIterator[str]:
    async for line in watch.aiter_lines():
        if line.startswith("data: ") and "PROGRESS" not in line:
            yield line
            return
