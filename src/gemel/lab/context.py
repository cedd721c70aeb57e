"""The command line's context for the lab: `gemel get vm` works while the lab is up."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gemel.cli.config import config_path
from gemel.cli.yamltext import render_yaml
from gemel.engines.pki import write_private
from gemel.lab.control import endpoints, token_file
from gemel.lab.state import LabFolder
from gemel.lab.topology import Topology


def plan_added(document: dict[str, Any], name: str, context: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the lab's context as the current one; ``previous`` remembers the other."""
    contexts = {**(document.get("contexts") or {}), name: context}
    return {**document, "contexts": contexts, "current": name}


def plan_removed(document: dict[str, Any], name: str, previous: str | None) -> dict[str, Any] | None:
    """The configuration without it; None when nothing else was in it."""
    contexts = {key: value for key, value in (document.get("contexts") or {}).items() if key != name}
    if not contexts:
        return None
    kept = {key: value for key, value in document.items() if key not in ("contexts", "current")}
    current = document.get("current")
    if current == name:
        current = previous if previous in contexts else next(iter(contexts))
    return {**kept, "contexts": contexts, **({"current": current} if current else {})}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text())
    except (OSError, YAMLError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def ensure_context(topology: Topology, folder: LabFolder) -> None:
    path = config_path()
    document = _read(path)
    if document.get("current") != folder.region and document.get("current"):
        (folder.path / "previous-context").write_text(str(document["current"]))
    context = {
        "endpoints": endpoints(topology),
        "ca": str(folder.pki / "ca.crt"),
        "token_file": str(token_file(folder)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, render_yaml(plan_added(document, folder.region, context)).encode())


def remove_context(folder: LabFolder) -> None:
    """Before the lab's folder goes: it remembers which context was current. Only a context that points into
    that folder is the lab's."""
    path = config_path()
    document = _read(path)
    context = (document.get("contexts") or {}).get(folder.region)
    if not isinstance(context, dict) or not str(context.get("ca", "")).startswith(str(folder.path)):
        return
    memory = folder.path / "previous-context"
    rest = plan_removed(document, folder.region, memory.read_text() if memory.exists() else None)
    if rest is None:
        path.unlink()
    else:
        write_private(path, render_yaml(rest).encode())
