"""The command line against the real API over HTTP on loopback, with the store in memory."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from tests.waiting import eventually

from gemel.api.app import create_app
from gemel.api.joining import FolderSigner, JoinTerms
from gemel.api.tokens import Entry, Identity, Role, Tokens, digest_of
from gemel.cli.app import run
from gemel.cli.client import Api
from gemel.cli.config import load_context
from gemel.cli.exits import Exit
from gemel.cli.listing import Output, show_changes
from gemel.cli.session import Session
from gemel.cli.words import parse_wanted
from gemel.core import layout
from gemel.core.clock import SystemClock
from gemel.core.events import About, Event, EventType, record
from gemel.core.store import Put, Store
from gemel.engines.pki import Purpose, Subject, create_authority, issue, write_identity
from gemel.store.memory import MemoryStore

EXAMPLES = Path(__file__).parents[3] / "examples"
TOKENS = {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}


class Served:
    """The API in a thread with an event loop of its own, as one endpoint."""

    def __init__(self, folder: Path) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self._folder, self._listener = folder, listener
        self.loop = asyncio.new_event_loop()
        self.server: uvicorn.Server | None = None
        self.store: Store | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20), "the API did not start"

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.store = MemoryStore(SystemClock())
        authority = create_authority(self._folder / "authority")
        subject = Subject(cn="api", ips=("127.0.0.1",), purpose=Purpose.SERVER)
        certificate, key = write_identity(self._folder / "tls", "api", issue(authority, subject))
        entries = (Entry(digest_of(name), Identity(name, role)) for name, role in TOKENS.items())
        app = create_app(
            self.store,
            Tokens(entries),
            terms=JoinTerms("lab", (self.endpoint,), ("127.0.0.1:2379",), 10.0, 3.5),
            signer=FolderSigner(self._folder / "authority"),
        )
        settings = uvicorn.Config(
            app,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(settings)
        self.loop.call_soon(self._ready.set)
        await self.server.serve(sockets=[self._listener])

    def put(self, *writes: Put) -> None:
        assert self.store is not None
        asyncio.run_coroutine_threadsafe(self.store.commit([], writes), self.loop).result(10)

    def tell(self, event: Event) -> None:
        assert self.store is not None
        asyncio.run_coroutine_threadsafe(record(self.store, event), self.loop).result(10)

    def stop(self) -> None:
        assert self.server is not None
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@dataclass(frozen=True)
class Person:
    """Someone with a token, at a terminal."""

    config: Path
    served: Served

    def __call__(self, *arguments: str) -> int:
        return run(arguments, Session(config=self.config))


def person(served: Served, folder: Path, name: str, ca: str = "authority/ca.crt") -> Person:
    token = folder / f"{name}.token"
    token.touch(mode=0o600)
    token.write_text(name)
    config = folder / f"{name}.yaml"
    # The first endpoint is a site that is lost: nothing listens there.
    endpoints = ["https://127.0.0.1:9", served.endpoint]
    context = {"endpoints": endpoints, "ca": ca, "token_file": token.name}
    config.write_text(json.dumps({"contexts": {"lab": context}}))
    return Person(config, served)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("GEMEL_CONTEXT", raising=False)
    found = Served(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def admin(served: Served, tmp_path: Path) -> Person:
    return person(served, tmp_path, "admin")


@pytest.fixture
def examples(admin: Person, capsys: pytest.CaptureFixture[str]) -> Person:
    assert admin("apply", "-f", str(EXAMPLES)) == Exit.OK
    capsys.readouterr()
    return admin


def test_the_examples_apply_and_then_do_not_differ(admin: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert admin("diff", "-f", str(EXAMPLES)) == Exit.DIFFERENT
    assert "+kind: Application" in capsys.readouterr().out
    assert admin("apply", "-f", str(EXAMPLES), "--dry-run") == Exit.OK
    assert "created (dry run)" in capsys.readouterr().out
    assert admin("get", "all", "-o", "name") == Exit.OK
    assert capsys.readouterr().out.strip() == ""
    assert admin("apply", "-f", str(EXAMPLES)) == Exit.OK
    assert "application/bank created" in capsys.readouterr().out
    assert admin("diff", "-f", str(EXAMPLES)) == Exit.OK
    assert capsys.readouterr().out == ""
    assert admin("apply", "-f", str(EXAMPLES)) == Exit.OK
    assert all(line.endswith("unchanged") for line in capsys.readouterr().out.splitlines())


def test_what_get_prints_can_be_applied_again(
    examples: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examples("get", "all", "-o", "yaml") == Exit.OK
    everything = tmp_path / "all.yaml"
    everything.write_text(capsys.readouterr().out)
    assert examples("apply", "-f", str(everything)) == Exit.OK
    assert all(line.endswith(" unchanged") for line in capsys.readouterr().out.splitlines())
    for form, name in (("yaml", "vm.yaml"), ("json", "vm.json")):
        assert examples("get", "app", "bank", "-o", form) == Exit.OK
        path = tmp_path / name
        path.write_text(capsys.readouterr().out)
        assert examples("apply", "-f", str(path)) == Exit.OK
        assert capsys.readouterr().out == "application/bank unchanged\n"


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml", "name"])
def test_every_kind_is_listed_in_every_form(examples: Person, capsys: pytest.CaptureFixture[str], output: str) -> None:
    for kind in ("sites", "hosts", "images", "vm", "app", "policy", "vol", "rep", "tkt", "asg", "held"):
        assert examples("get", kind, "-o", output) == Exit.OK
    assert "bank" in capsys.readouterr().out


def test_describe_of_every_declared_kind(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    examples("get", "all", "-o", "name")
    names = capsys.readouterr().out.split()
    assert len(names) > 10
    for name in names:
        assert examples("describe", name) == Exit.OK
        assert "Spec:" in capsys.readouterr().out


def test_a_selection_is_the_apis(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert examples("get", "vm", "-l", "app=bank", "-o", "name") == Exit.OK
    found = capsys.readouterr().out.split()
    assert found and all(name.startswith("virtualmachine/bank") for name in found)


def test_status_of_a_region_that_nobody_leads(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert examples("status") == Exit.OK
    out = capsys.readouterr().out
    assert "CRITICAL" in out and "nobody leads" in out and "par1:" in out and "bank:" in out
    assert examples("status", "--check") == Exit.DIFFERENT
    capsys.readouterr()
    assert examples("status", "-o", "json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["health"] == "CRITICAL"


def test_problems_are_placed_in_the_file(admin: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "apiVersion: gemel/v1\nkind: Site\nmetadata: {name: par1}\nspec: {}\n---\n"
        "apiVersion: gemel/v1\nkind: Host\nmetadata:\n  name: h1\nspec:\n"
        "  site: nowhere\n  cpu: 4\n  memory: 4\n  address: 198.18.1.11\n"
    )
    assert admin("apply", "-f", str(path)) == Exit.USAGE
    err = capsys.readouterr().err
    assert f"{path}:13: document 2: spec.memory: " in err and "4Gi" in err
    assert admin("get", "site", "par1") == Exit.NOT_FOUND


def test_roles_decide(served: Served, examples: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    viewer = person(served, tmp_path, "viewer")
    assert viewer("get", "vm") == Exit.OK
    assert viewer("delete", "vm", "bank-db") == Exit.REFUSED
    assert viewer("vm", "stop", "bank-db") == Exit.REFUSED
    stranger = person(served, tmp_path, "stranger")
    assert stranger("get", "vm") == Exit.REFUSED
    assert "token" in capsys.readouterr().err


def test_an_api_of_another_authority_is_told_nothing(
    served: Served, admin: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_authority(tmp_path / "other")
    deceived = person(served, tmp_path, "admin", "other/ca.crt")
    assert deceived("get", "vm") == Exit.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


def test_verbs_change_what_is_desired(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert examples("vm", "stop", "bank-db") == Exit.OK
    examples("get", "vm", "bank-db", "-o", "json")
    assert '"running": false' in capsys.readouterr().out
    assert examples("vm", "start", "bank-db") == Exit.OK
    assert examples("host", "drain", "par1-1") == Exit.OK
    capsys.readouterr()
    examples("get", "host", "par1-1", "-o", "json")
    assert '"schedulable": false' in capsys.readouterr().out
    assert examples("host", "resume", "par1-1") == Exit.OK
    assert examples("vm", "start", "nobody") == Exit.NOT_FOUND
    assert examples("app", "move", "bank", "--to", "nowhere") in (Exit.USAGE, Exit.CONFLICT, Exit.NOT_FOUND)


def test_what_is_needed_is_not_deleted_and_all_of_it_is_in_order(
    examples: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examples("delete", "site", "par1") == Exit.CONFLICT
    assert "par1" in capsys.readouterr().err
    assert examples("delete", "-f", str(EXAMPLES)) == Exit.OK
    capsys.readouterr()
    examples("get", "all", "-o", "name")
    assert capsys.readouterr().out.strip() == ""


def test_events_are_shown_and_chosen(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bank", "shop"):
        examples.served.tell(
            Event(
                at=datetime.now(UTC),
                type=EventType.WARNING,
                reason="Moved",
                about=About(kind="Application", name=name),
                epoch=2,
                message=f"{name} was moved",
                source="test",
            )
        )
    assert examples("events", "--for", "app/shop") == Exit.OK
    out = capsys.readouterr().out
    assert "shop was moved" in out and "bank was moved" not in out
    assert examples("describe", "app", "bank") == Exit.OK
    assert "bank was moved" in capsys.readouterr().out


async def test_a_watch_shows_changes_as_they_come(examples: Person, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = parse_wanted(["hosts"])[0]
    printed: list[str] = []

    def seen(part: str) -> bool:
        printed.append(capsys.readouterr().out)
        return part in "".join(printed)

    async with Api(load_context(examples.config)) as api:
        watching = asyncio.create_task(show_changes(api, wanted, Output.JSON, None))
        await eventually(lambda: seen('"gra1-1"'), 10)
        printed.clear()
        assert await asyncio.to_thread(examples, "host", "drain", "par1-2") == Exit.OK
        await eventually(lambda: seen('"schedulable": false'), 10)
        assert '"par1-2"' in "".join(printed)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_a_host_is_invited_and_joins(examples: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, root = tmp_path / "par1-1.join", tmp_path / "root"
    assert examples("host", "invite", "par1-1", "-o", str(path)) == Exit.OK
    capsys.readouterr()
    for said in ("joined region lab", "nothing to do"):
        assert run(["host", "join", str(path), "--root", str(root)]) == Exit.OK
        assert said in capsys.readouterr().out
    stolen = tmp_path / "elsewhere"
    assert run(["host", "join", str(path), "--root", str(stolen)]) == Exit.REFUSED
    assert not (stolen / "etc/gemel/agent.yaml").exists()


def test_an_object_that_another_program_broke_does_not_break_the_list(
    examples: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    examples.served.put(Put(layout.ticket("bank"), b"not json"))
    assert examples("get", "app") == Exit.OK
    assert examples("status") == Exit.OK
    assert "bank" in capsys.readouterr().out
