"""The import rules that scripts/check_imports.py holds, each broken on purpose."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/check_imports.py"


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_imports", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_imports"] = module
    spec.loader.exec_module(module)
    return module


def breaches(rules: ModuleType, folder: Path, sources: dict[str, str]) -> list[str]:
    for name, text in sources.items():
        path = folder / "gemel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [f"{breach.module.name}:{breach.line}: {breach.what}" for breach in rules.check(folder)]


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("compute/plan.py", "import asyncio\n", "asyncio"),
        ("compute/plan.py", "def f():\n    from time import monotonic\n", "time"),
        ("continuity/tickets.py", "import os.path\n", "os"),
        ("continuity/authority.py", "import random\n", "random"),
        ("engines/bird/render.py", "import subprocess\n", "subprocess"),
        ("engines/ceph/parse.py", "import asyncio\n", "asyncio"),
        ("compute/local.py", "import libvirt\n", "libvirt"),
        ("core/view.py", "import grpc.aio\n", "grpc"),
        ("api/app.py", "from cryptography import x509\n", "cryptography"),
        ("control/main.py", "import fastapi\n", "fastapi"),
        ("agent/main.py", "import typer\n", "typer"),
        ("engines/ceph/engine.py", "from gemel.storage.plan import x\n", "gemel.storage.plan"),
        ("store/etcd/client.py", "from gemel.compute import placement\n", "gemel.compute.placement"),
        ("storage/local.py", "import httpx\n", "httpx"),
        ("core/logs.py", "import rich\n", "rich"),
    ],
)
def test_each_rule_is_held(rules: ModuleType, tmp_path: Path, path: str, text: str, word: str) -> None:
    known = {"storage/plan.py": "", "compute/placement.py": ""}
    found = breaches(rules, tmp_path, {"__init__.py": "", **known, path: text})
    assert found and all(word in breach for breach in found)
    assert all(breach.startswith("gemel." + path.removesuffix(".py").replace("/", ".")) for breach in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compute/plan.py", "from dataclasses import dataclass\nfrom pydantic import BaseModel\nimport math\n"),
        ("engines/libvirt/engine.py", "import libvirt, asyncio\nfrom gemel.compute import ports\n"),
        ("engines/libvirt/engine.py", "from gemel.compute.ports import Domain\nfrom gemel.compute.kinds import X\n"),
        ("store/etcd/client.py", "import grpc\nfrom google.protobuf import descriptor_pb2\n"),
        ("lab/commands.py", "import typer, rich\n"),
        ("engines/pki/authority.py", "import os\nfrom cryptography import x509\n"),
        ("compute/local.py", "import asyncio, time\nimport structlog\n"),
    ],
)
def test_what_is_allowed_passes(rules: ModuleType, tmp_path: Path, path: str, text: str) -> None:
    known = {"compute/ports.py": "", "compute/kinds.py": ""}
    assert breaches(rules, tmp_path, {"__init__.py": "", **known, path: text}) == []


def test_impurity_is_found_through_others_and_the_way_is_named(rules: ModuleType, tmp_path: Path) -> None:
    found = breaches(
        rules,
        tmp_path,
        {
            "compute/plan.py": "\nfrom gemel.compute import sums\n",
            "compute/sums.py": "from ..core.clock import now\n",
            "core/clock.py": "import time\n",
        },
    )
    assert found == [
        "gemel.compute.plan:2: decides, and may not reach time through gemel.compute.sums -> gemel.core.clock"
    ]


def test_the_house_keeps_its_rules(rules: ModuleType) -> None:
    assert [str(breach) for breach in rules.check(SCRIPT.parent.parent / "src")] == []
