"""What the units, the lock files and the package list promise to those who read them."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from gemel.cli.processes import CONFIG_FOLDER, PROCESSES

ROOT = Path(__file__).parents[3]
UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"))


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def test_each_process_has_its_unit() -> None:
    assert {unit.stem for unit in UNITS} == {f"gemel-{name}" for name in [*PROCESSES, "etcd"]}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_unit_starts_the_command_with_its_default_configuration(name: str) -> None:
    unit = read(ROOT / f"packaging/systemd/gemel-{name}.service")
    config = CONFIG_FOLDER / PROCESSES[name].config
    assert unit["Service"]["ExecStart"] == f"/usr/bin/gemel {name} --config {config}"
    assert unit["Unit"]["ConditionPathExists"] == str(config)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_unit_starts_again_for_ever_and_gains_no_privileges(unit: Path) -> None:
    found = read(unit)
    assert found["Service"]["Restart"] == "always"
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Service"]["NoNewPrivileges"] == "yes"
    assert found["Service"]["UMask"] == "0077"


@pytest.mark.parametrize("name", ["agent", "watchdog", "etcd"])
def test_what_leases_wait_for_goes_first(name: str) -> None:
    assert read(ROOT / f"packaging/systemd/gemel-{name}.service")["Service"]["Nice"] == "-10"


def test_no_agent_without_its_watchdog() -> None:
    agent = read(ROOT / "packaging/systemd/gemel-agent.service")["Unit"]
    assert "gemel-watchdog.service" in agent["Requires"] and "gemel-watchdog.service" in agent["After"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_by_hash_and_from_no_address() -> None:
    text = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-build.txt").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|@ ", text)
    entries = re.findall(r"^([A-Za-z0-9_.-]+)==\S+((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE))
    pinned = {_normal(name) for name, _ in entries}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name = re.match(r"[A-Za-z0-9_.-]+", wanted)
        assert name is not None and _normal(name[0]) in pinned, f"{wanted}: run make lock"


def test_packages_are_listed_once_and_by_name_only() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "packages.txt").read_text().splitlines()]
    names = [line for line in lines if line]
    assert len(names) == len(set(names)) > 30
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) for name in names)
