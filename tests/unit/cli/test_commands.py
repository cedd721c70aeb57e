"""The command line from arguments to exit code, against a region in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.region import GRA1, PAR1, FakeRegion, Terminal, Trouble, change

from gemel.cli.exits import Exit

MACHINE = {
    "apiVersion": "gemel/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "bank-db", "labels": {"app": "bank"}},
    "spec": {"memory": "512Mi", "boot": {"image": "debian"}, "addresses": ["198.19.1.10"]},
}


def add_machines(region: FakeRegion) -> None:
    for name, app, host in (("bank-db", "bank", "par1-1"), ("shop-web", "shop", "gra1-2")):
        region.add(
            "VirtualMachine",
            name,
            labels={"app": app},
            spec={"cpu": 1, "memory": "512Mi", "boot": {"image": "debian"}, "running": True},
            status={"phase": "Running", "host": host, "site": host[:4], "application": app, "epoch": 3},
        )


def manifest(folder: Path, text: str, name: str = "m.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def as_yaml(document: dict[str, Any]) -> str:
    return json.dumps(document)  # JSON is YAML


@pytest.mark.parametrize("word", ["vm", "vms", "virtualmachine", "virtualmachines", "VirtualMachine"])
def test_get_lists_by_every_name_of_the_kind(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    add_machines(region)
    assert gemel("get", word) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "NAME"
    assert [line.split()[0] for line in lines[1:]] == ["bank-db", "shop-web"]


def test_get_shows_what_a_row_is_about_in_aligned_columns(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    gemel("get", "vm", "-o", "wide")
    header, first, second = capsys.readouterr().out.splitlines()
    for title, value in (("HOST", "gra1-2"), ("APPLICATION", "shop"), ("MEMORY", "512 MiB"), ("LABELS", "app=shop")):
        assert second[header.index(title) :].startswith(value)
    assert "bank-db" in first


def test_get_of_one_object_by_both_forms(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    for words in (["vm", "bank-db"], ["vm/bank-db"]):
        assert gemel("get", *words, "-o", "json") == Exit.OK
        assert json.loads(capsys.readouterr().out)["metadata"]["name"] == "bank-db"


def test_get_of_a_selection(gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]) -> None:
    add_machines(region)
    assert gemel("get", "vm", "-l", "app=shop", "-o", "name") == Exit.OK
    assert capsys.readouterr().out == "virtualmachine/shop-web\n"


def test_get_lists_as_documents(gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]) -> None:
    add_machines(region)
    gemel("get", "vm", "-o", "json")
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)["items"]] == ["VirtualMachine"] * 2
    gemel("get", "vm", "-o", "yaml")
    documents = capsys.readouterr().out.split("---\n")
    assert len(documents) == 2 and "  name: bank-db\n" in documents[0]


def test_get_all_names_the_kind_of_each_row(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    region.add("Site", "par1", spec={"location": "Paris"})
    assert gemel("get", "all") == Exit.OK
    out = capsys.readouterr().out
    assert "site/par1" in out and "virtualmachine/bank-db" in out


def test_get_of_nothing_says_so_on_stderr(gemel: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert gemel("get", "vm") == Exit.OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No virtualmachines found" in captured.err


def test_get_watch_prints_each_change_and_resumes_where_a_connection_broke(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    moved = json.loads(json.dumps(region.objects["VirtualMachine", "bank-db"]))
    moved["status"]["host"] = "par1-3"
    region.streams["/v1/watch/virtualmachines"] = [
        [": alive\n\n", change("MODIFIED", moved, 40)],
        [change("DELETED", moved, 41)],
    ]
    assert gemel("get", "vm", "-w") == 130
    lines = capsys.readouterr().out.splitlines()
    assert "par1-3" in lines[3] and lines[4].endswith("(deleted)")
    watches = [path for _, _, path in region.asked if "/watch/" in path]
    assert [path.rsplit("=", 1)[1] for path in watches] == ["12", "40", "41"]


def test_get_watch_lists_again_when_the_store_forgot(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    region.streams["/v1/watch/virtualmachines"] = [["410"]]
    assert gemel("get", "vm", "-w", "-o", "name") == 130
    assert capsys.readouterr().out.split() == ["virtualmachine/bank-db", "virtualmachine/shop-web"] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get"], Exit.USAGE, "which kind"),
        (["get", "volmes"], Exit.USAGE, "did you mean Volume"),
        (["get", "xyz"], Exit.USAGE, "kinds: sites, hosts"),
        (["get", "vm", "-o", "xml"], Exit.USAGE, "no output 'xml'"),
        (["get", "vm", "-l", "=bank"], Exit.USAGE, "-l app=bank"),
        (["get", "vm,vol", "-w"], Exit.USAGE, "one kind"),
        (["get", "vm", "nobody"], Exit.NOT_FOUND, "nobody"),
        (["describe", "vm"], Exit.USAGE, "one object"),
        (["delete", "vm"], Exit.USAGE, "names"),
        (["delete"], Exit.USAGE, "-f FILE"),
        (["apply"], Exit.USAGE, "-f"),
        (["apply", "-f", "/nonexistent.yaml"], Exit.USAGE, "/nonexistent.yaml"),
        (["app", "move", "bank"], Exit.USAGE, "--to"),
        (["app", "move", "bank", "--to", "gra1", "--timeout", "90"], Exit.USAGE, "--timeout"),
        (["frobnicate"], Exit.USAGE, "frobnicate"),
        (["get", "--frobnicate"], Exit.USAGE, "frobnicate"),
    ],
)
def test_wrong_usage_is_told_in_words(
    gemel: Terminal, capsys: pytest.CaptureFixture[str], arguments: list[str], code: Exit, words: str
) -> None:
    assert gemel(*arguments) == code
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 3), (403, 3), (404, 4), (409, 5), (412, 5), (422, 2), (500, 6), (503, 6), (504, 6)],
)
def test_each_refusal_has_its_exit_code(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    body = {"error": "X", "message": "it was refused", "hint": "do this"}
    region.refusals["POST", "/v1/hosts/par1-1/drain"] = status, body
    assert gemel("host", "drain", "par1-1") == code
    assert "it was refused" in capsys.readouterr().err


def test_the_other_endpoint_answers_when_a_site_is_lost(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    for trouble in (Trouble.DOWN, Trouble.NO_QUORUM):
        region.trouble[PAR1] = trouble
        assert gemel("get", "vm") == Exit.OK
        captured = capsys.readouterr()
        assert "bank-db" in captured.out and captured.err == ""


def test_no_endpoint_at_all_names_each_and_why(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.trouble = {PAR1: Trouble.DOWN, GRA1: Trouble.NO_QUORUM}
    assert gemel("get", "vm") == Exit.UNAVAILABLE
    err = capsys.readouterr().err
    assert f"{PAR1}: no connection" in err and f"{GRA1}: the store has no quorum" in err


def test_a_lost_answer_of_a_verb_is_not_repeated_elsewhere(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.trouble[PAR1] = Trouble.ANSWER_LOST
    assert gemel("host", "drain", "par1-1") == Exit.UNAVAILABLE
    assert "may or may not have happened" in capsys.readouterr().err
    assert [endpoint for endpoint, method, _ in region.asked if method == "POST"] == [PAR1]


def test_a_lost_answer_of_an_apply_is_asked_for_again(gemel: Terminal, region: FakeRegion, tmp_path: Path) -> None:
    region.trouble[PAR1] = Trouble.ANSWER_LOST
    assert gemel("apply", "-f", manifest(tmp_path, as_yaml(MACHINE))) == Exit.OK
    assert [endpoint for endpoint, _, _ in region.asked] == [PAR1, GRA1]


def test_the_token_is_sent_and_never_shown(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refusals["GET", "/v1/virtualmachines"] = 401, {"error": "Unauthorized", "message": "unknown token"}
    assert gemel("get", "vm") == Exit.REFUSED
    assert region.tokens == {"Bearer sesame"}
    captured = capsys.readouterr()
    assert "sesame" not in captured.out + captured.err


def test_apply_reports_what_was_done_to_each(
    gemel: Terminal, region: FakeRegion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path, as_yaml(MACHINE))
    for done in ("created (dry run)", "created", "unchanged"):
        assert gemel("apply", "-f", path, *(["--dry-run"] if "dry" in done else [])) == Exit.OK
        assert capsys.readouterr().out == f"virtualmachine/bank-db {done}\n"
        assert (("VirtualMachine", "bank-db") in region.objects) is ("dry" not in done)


def test_apply_of_a_folder_takes_its_files_by_name_and_counts_documents(
    gemel: Terminal, region: FakeRegion, tmp_path: Path
) -> None:
    site = "{apiVersion: gemel/v1, kind: Site, metadata: {name: %s}, spec: {}}\n"
    folder = tmp_path / "manifests"
    (folder / "deeper").mkdir(parents=True)
    manifest(folder, f"---\n{site % 'b'}---\n{site % 'c'}", "2.yaml")
    manifest(folder, site % "a", "1.yml")
    manifest(folder / "deeper", site % "d")
    manifest(folder, "not a manifest", "readme.txt")
    assert gemel("apply", "-f", str(folder)) == Exit.OK
    sent = region.bodies[0]["documents"]
    assert [(Path(each["file"]).name, each["index"], each["object"]["metadata"]["name"]) for each in sent] == [
        ("1.yml", 0, "a"),
        ("2.yaml", 0, "b"),
        ("2.yaml", 1, "c"),
        ("m.yaml", 0, "d"),
    ]


def test_apply_reads_standard_input(gemel: Terminal, region: FakeRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(as_yaml(MACHINE)))
    assert gemel("apply", "-f", "-") == Exit.OK
    assert region.bodies[0]["documents"][0]["file"] == "-"


def test_problems_stand_one_a_line_with_file_line_and_path(
    gemel: Terminal, region: FakeRegion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(
        tmp_path,
        "kind: VirtualMachine\nmetadata:\n  name: x\nspec:\n  memory: 4\n"
        "---\nkind: Site\nmetadata: {name: y}\nspec: {z: 1}\n",
    )
    problems = [
        {"file": path, "document": 0, "path": "spec.memory", "message": "4 is not a size", "expected": "such as 4Gi"},
        {"file": path, "document": 1, "path": "spec.z", "message": "unknown field", "expected": ""},
    ]
    region.refusals["POST", "/v1/apply"] = 422, {"error": "Invalid", "message": "2 problems", "problems": problems}
    assert gemel("apply", "-f", path) == Exit.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"{path}:5: document 1: spec.memory: 4 is not a size (expected such as 4Gi)",
        f"{path}:9: document 2: spec.z: unknown field",
    ]
    assert lines[2] == "gemel: 2 problems: nothing was changed"


def test_a_file_that_is_not_yaml_is_refused_before_anything_is_sent(
    gemel: Terminal, region: FakeRegion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path, "kind: Site\nmetadata: {name: a\n")
    assert gemel("apply", "-f", path) == Exit.USAGE
    assert path in capsys.readouterr().err and region.asked == []


def test_diff_tells_by_its_exit_code(
    gemel: Terminal, region: FakeRegion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(tmp_path, as_yaml(MACHINE))
    assert gemel("diff", "-f", path) == Exit.DIFFERENT
    assert "+kind: VirtualMachine" in capsys.readouterr().out
    assert ("VirtualMachine", "bank-db") not in region.objects
    region.add("VirtualMachine", "bank-db", labels={"app": "bank"}, spec=MACHINE["spec"] | {"cpu": 1, "running": True})
    assert gemel("diff", "-f", path) == Exit.OK
    assert capsys.readouterr().out == ""
    region.objects["VirtualMachine", "bank-db"]["spec"]["memory"] = "1Gi"
    assert gemel("diff", "-f", path) == Exit.DIFFERENT
    out = capsys.readouterr().out
    assert "-  memory: 1Gi" in out and "+  memory: 512Mi" in out


def test_delete_by_name_and_by_manifest(
    gemel: Terminal, region: FakeRegion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    region.add("Image", "debian", spec={"os": "debian"})
    assert gemel("delete", "vm/shop-web") == Exit.OK
    image = {"apiVersion": "gemel/v1", "kind": "Image", "metadata": {"name": "debian"}, "spec": {"os": "debian"}}
    path = manifest(tmp_path, f"{as_yaml(image)}\n---\n{as_yaml(MACHINE)}\n")
    assert gemel("delete", "-f", path) == Exit.OK
    deleted = [path for _, method, path in region.asked if method == "DELETE"]
    assert deleted == ["/v1/virtualmachines/shop-web", "/v1/virtualmachines/bank-db", "/v1/images/debian"]
    assert region.objects == {}
    assert gemel("delete", "-f", path) == Exit.NOT_FOUND
    assert gemel("delete", "-f", path, "--ignore-not-found") == Exit.OK


def test_describe_gathers_spec_status_reasons_and_events(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)
    region.objects["VirtualMachine", "bank-db"]["status"]["message"] = "waits for its volume"
    region.add("Assignment", "bank-db", status={"reasons": ["par1-1 has the most free memory"]})
    about = {"kind": "VirtualMachine", "name": "bank-db"}
    event = {"at": "2026-01-02T03:04:05Z", "type": "Normal", "reason": "Placed", "about": about, "message": "on par1-1"}
    region.events = [event, event | {"about": {"kind": "Site", "name": "par1"}, "reason": "Lost"}]
    assert gemel("describe", "vm/bank-db") == Exit.OK
    out = capsys.readouterr().out
    for part in ("Name:         bank-db", "app=bank", "  memory: 512Mi", "phase: Running", "waits for its volume"):
        assert part in out
    assert "  - par1-1 has the most free memory" in out
    assert "Placed" in out and "Lost" not in out


def test_events_of_one_object(gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]) -> None:
    region.events = [
        {"at": "2026-01-02T03:04:05Z", "type": "Warning", "reason": word, "about": {"kind": "Site", "name": name}}
        for word, name in (("Lost", "par1"), ("Back", "gra1"))
    ]
    assert gemel("events", "--for", "site/gra1") == Exit.OK
    out = capsys.readouterr().out
    assert "Back" in out and "Lost" not in out


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["vm", "start", "bank-db"], "/v1/virtualmachines/bank-db/start", {}),
        (["vm", "stop", "bank-db"], "/v1/virtualmachines/bank-db/stop", {}),
        (["vm", "migrate", "bank-db", "--to", "par1-2"], "/v1/virtualmachines/bank-db/migrate", {"to": "par1-2"}),
        (["vm", "migrate", "bank-db"], "/v1/virtualmachines/bank-db/migrate", {}),
        (["host", "drain", "par1-1"], "/v1/hosts/par1-1/drain", {}),
        (["host", "resume", "par1-1"], "/v1/hosts/par1-1/resume", {}),
        (["app", "move", "bank", "--to", "gra1"], "/v1/applications/bank/move", {"to": "gra1"}),
    ],
)
def test_verbs_ask_for_exactly_this(
    gemel: Terminal, region: FakeRegion, arguments: list[str], path: str, body: dict[str, Any]
) -> None:
    add_machines(region)
    assert gemel(*arguments) == Exit.OK
    assert [asked for _, method, asked in region.asked if method == "POST"] == [path]
    assert region.bodies == [body]


def _move(region: FakeRegion, plural: str, name: str, verb: str, body: dict[str, Any]) -> None:
    region.objects["Application", name]["status"] |= {"site": body["to"], "ticket": "Active", "phase": "Running"}


def test_move_waits_until_it_is_seen_there(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.add("Application", "bank", status={"site": "par1", "ticket": "Active", "phase": "Running", "epoch": 4})
    region.after_verb = _move
    assert gemel("app", "move", "bank", "--to", "gra1", "--wait") == Exit.OK
    assert "runs at gra1 under epoch 4" in capsys.readouterr().out


def test_waiting_in_vain_has_its_own_exit_code(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.add("Application", "bank", status={"site": "par1", "ticket": "Draining", "movingTo": "gra1"})
    assert gemel("app", "move", "bank", "--to", "gra1", "--wait", "--timeout", "20ms") == Exit.TIMED_OUT
    assert "application/bank runs at gra1: not seen" in capsys.readouterr().err


def test_migration_waits_for_another_host(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    add_machines(region)

    def migrate(region: FakeRegion, plural: str, name: str, verb: str, body: dict[str, Any]) -> None:
        region.objects["VirtualMachine", name]["status"]["host"] = "par1-3"

    region.after_verb = migrate
    assert gemel("vm", "migrate", "bank-db", "--wait") == Exit.OK
    assert "runs on par1-3" in capsys.readouterr().out


def test_console_is_printed_as_it_comes(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.streams["/v1/virtualmachines/bank-db/console"] = [["Linux version 6.1\nboo", "ting\n"]]
    assert gemel("vm", "console", "bank-db") == Exit.OK
    assert capsys.readouterr().out == "Linux version 6.1\nbooting\n"


def test_invitation_is_written_for_its_owner_only(gemel: Terminal, region: FakeRegion, tmp_path: Path) -> None:
    out = tmp_path / "par1-4.join"
    region.refusals["POST", "/v1/hosts/par1-4/invite"] = 200, {"region": "r", "token": "once"}
    assert gemel("host", "invite", "par1-4", "-o", str(out)) == Exit.OK
    assert json.loads(out.read_text())["token"] == "once"
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_defect_is_told_without_a_traceback(
    gemel: Terminal, region: FakeRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    region.refusals["GET", "/v1/virtualmachines"] = 200, {"unexpected": True}
    assert gemel("get", "vm") == Exit.UNAVAILABLE
    err = capsys.readouterr().err
    assert "defect" in err and "Traceback" not in err


def test_help_lists_commands_processes_and_exit_codes(gemel: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert gemel("--help") == Exit.OK
    out = " ".join(capsys.readouterr().out.split())
    for word in ("apply", "describe", "agent", "watchdog", "lab", "demo", "Exit codes", "7 timed out waiting"):
        assert word in out
    for code in Exit:
        assert f"{code.value} " in out
