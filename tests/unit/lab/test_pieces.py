"""The small parts: units, state, preflight, journal, contexts, configuration files."""

import json
import os
from pathlib import Path

import pytest

from gemel.agent.config import AgentConfig
from gemel.api.config import ApiConfig
from gemel.control.main import ControllerConfig
from gemel.core.outcome import Permanent
from gemel.lab.context import plan_added, plan_removed
from gemel.lab.control import render_api, render_controller
from gemel.lab.hosts import render_documents
from gemel.lab.journal import Journal
from gemel.lab.preflight import PROGRAMS, check_machine
from gemel.lab.process import is_alive, process_state, start_time
from gemel.lab.regionstore import endpoints, parse_environment, render_environment
from gemel.lab.state import LabFolder, ProcessRecord, StateFile, only_one
from gemel.lab.topology import plan_topology
from gemel.lab.unitfile import parse_unit, read_unit

TOPOLOGY = plan_topology()


class TestUnits:
    def test_command_and_priority(self) -> None:
        unit = parse_unit(
            "[Unit]\nDescription=x\n[Service]\n# Nice=3\nExecStart=/usr/bin/gemel agent --config '/a b'\nNice=-10\n"
        )
        assert unit.argv == ("/usr/bin/gemel", "agent", "--config", "/a b")
        assert unit.nice == -10

    def test_a_unit_without_a_command_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no ExecStart"):
            parse_unit("[Service]\nNice=1\n")

    @pytest.mark.parametrize("name", ["agent", "watchdog", "api", "controller", "witness", "etcd"])
    def test_production_units_are_readable(self, name: str) -> None:
        unit = read_unit(name)
        assert unit.argv[0].startswith("/")
        if name != "etcd":
            assert unit.argv[0].endswith("bin/gemel") and unit.argv[1] == name


class TestPreflight:
    def test_without_root(self) -> None:
        assert "root" in check_machine(False)

    def test_missing_packages_are_named(self) -> None:
        said = check_machine(True, find=lambda program: None if program == "bird" else "/x", can_unshare=lambda: True)
        assert said == "the lab needs Debian packages that are not installed: bird2 (make setup installs them)"

    def test_refused_namespaces(self) -> None:
        assert "namespaces" in check_machine(True, find=lambda _: "/x", can_unshare=lambda: False)

    def test_all_there(self) -> None:
        assert check_machine(True, find=lambda _: "/x", can_unshare=lambda: True) == ""
        assert all("\n" not in check_machine(root, lambda _: None) for root in (True, False))
        assert PROGRAMS["rbd"] == "ceph-common"


class TestState:
    def record(self, name: str = "bird", pid: int = 1, start: int = 2) -> ProcessRecord:
        return ProcessRecord("par1-1", name, pid, start, ("bird", "-f"), "/log", -5, {"A": "b"})

    def test_survives_the_file(self, tmp_path: Path) -> None:
        file = StateFile(LabFolder("t", tmp_path))
        with file.edit() as state:
            state.processes["par1-1/bird"] = self.record()
            state.cuts.append("site par1")
        read = file.read()
        assert read.process("par1-1", "bird") == self.record()
        assert read.cuts == ["site par1"]

    def test_lost_or_broken_is_empty(self, tmp_path: Path) -> None:
        folder = LabFolder("t", tmp_path)
        assert StateFile(folder).read().stage == ""
        folder.path.mkdir()
        folder.state_file.write_text('{"half": ')
        assert StateFile(folder).read().processes == {}

    def test_a_failed_edit_changes_nothing(self, tmp_path: Path) -> None:
        file = StateFile(LabFolder("t", tmp_path))
        with pytest.raises(RuntimeError), file.edit() as state:
            state.cuts.append("site par1")
            raise RuntimeError
        assert file.read().cuts == []

    def test_unknown_process_is_told_what_there_is(self, tmp_path: Path) -> None:
        file = StateFile(LabFolder("t", tmp_path))
        with file.edit() as state:
            state.processes["par1-1/bird"] = self.record()
        with pytest.raises(KeyError, match="the lab started: bird"):
            file.read().process("par1-1", "agent")

    def test_a_number_that_was_taken_again_is_not_our_process(self) -> None:
        mine = start_time(os.getpid())
        assert mine is not None
        assert is_alive(self.record(pid=os.getpid(), start=mine))
        assert not is_alive(self.record(pid=os.getpid(), start=mine + 1))
        assert process_state(os.getpid()) in "RS"


def test_one_command_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.lab.state.LOCKS", tmp_path)
    folder = LabFolder("t", tmp_path)
    refused = pytest.raises(Permanent, match=rf"`gemel lab up` \(process {os.getpid()}\) is at work")
    with only_one(folder, "up"), refused, only_one(folder, "down"):
        pytest.fail("both had their turn")
    with only_one(folder, "down"):
        assert (tmp_path / "gemel-lab-t.lock").exists()


def test_journal_keeps_what_was_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    assert journal.entries() == ()
    written = journal.record("cut", 1.0, cut="site par1")
    assert journal.entries() == (written,)
    assert written.ended > written.began


LAB = {"endpoints": ["https://192.0.2.1:7443"]}


class TestContext:
    def test_added_beside_others_and_current(self) -> None:
        before = {"contexts": {"prod": {"endpoints": ["https://p"]}}, "current": "prod"}
        after = plan_added(before, "lab", LAB)
        assert after["current"] == "lab"
        assert set(after["contexts"]) == {"prod", "lab"}
        assert plan_removed(after, "lab", "prod") == before

    def test_alone_it_leaves_nothing(self) -> None:
        assert plan_removed(plan_added({}, "lab", LAB), "lab", None) is None

    def test_a_current_that_is_another_stays(self) -> None:
        document = {"contexts": {"prod": {}, "lab": LAB}, "current": "prod"}
        assert plan_removed(document, "lab", "gone") == {"contexts": {"prod": {}}, "current": "prod"}


class TestConfiguration:
    """What the lab writes is what the processes read."""

    @pytest.mark.parametrize("node", TOPOLOGY.control, ids=lambda node: node.name)
    def test_api(self, node: object) -> None:
        document = render_api(TOPOLOGY, TOPOLOGY.node(node.name), "lab")  # type: ignore[attr-defined]
        config = ApiConfig.model_validate(document)
        assert config.endpoints[0] == f"https://{config.listen.address}:7443", "its own site's API first"
        assert config.store.endpoints[0].startswith(config.listen.address)
        assert len(config.store.endpoints) == 3

    def test_controller_and_witness(self) -> None:
        config = ControllerConfig.model_validate(render_controller(TOPOLOGY, TOPOLOGY.witness))
        assert config.identity == "wit"

    def test_etcd_environment_says_all_that_the_command_line_would(self) -> None:
        settings = parse_environment(render_environment(TOPOLOGY, TOPOLOGY.node("gra1-1")))
        assert settings["ETCD_NAME"] == "gra1-1"
        assert settings["ETCD_LISTEN_PEER_URLS"] == "https://198.18.2.11:2380"
        assert settings["ETCD_PEER_CERT_ALLOWED_CN"] == "etcd"
        assert settings["ETCD_INITIAL_CLUSTER"].count("https://") == 3

    def test_nearest_store_member_comes_first(self) -> None:
        assert endpoints(TOPOLOGY, "gra1-3")[0] == "198.18.2.11:2379"
        assert endpoints(TOPOLOGY)[0] == "198.18.1.11:2379"

    def test_declared_resources(self) -> None:
        documents = render_documents(TOPOLOGY)
        assert [d["kind"] for d in documents] == ["Site"] * 2 + ["Host"] * 6
        assert json.loads(json.dumps(documents)) == documents

    def test_local_facts_fit_the_agent(self, tmp_path: Path) -> None:
        from ruamel.yaml import YAML

        from gemel.lab.hosts import write_local_facts

        folder = LabFolder("t", tmp_path)
        host = TOPOLOGY.node("par1-2")
        (folder.host(host.name) / "etc/libvirt").mkdir(parents=True)
        write_local_facts(folder, host)
        path = folder.host(host.name) / "etc/gemel/local.yaml"
        assert path.stat().st_mode & 0o077 == 0
        access = render_controller(TOPOLOGY, host)["store"]
        facts = YAML(typ="safe").load(path)
        config = AgentConfig.model_validate(
            {"host": "par1-2", "site": "par1", "address": "198.18.1.12", "store": access, **facts}
        )
        assert config.libvirt.domain_type == "qemu"
        assert config.ceph is not None and str(config.ceph.conf) == "/etc/gemel/ceph/ceph.conf"
        link = folder.host(host.name) / "etc/pki/gemel-libvirt/servercert.pem"
        assert str(link.readlink()) == "/etc/gemel/tls/agent.crt"
