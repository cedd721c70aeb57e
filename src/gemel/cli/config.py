"""Where the APIs are, and who calls: contexts in one file, as in kubeconfig.

contexts:
  prod:
    endpoints: [https://198.51.100.11:7443, https://203.0.113.11:7443]
    ca: ca.crt              # relative to this file
    token_file: token       # mode 0600
current: prod
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemel.cli.exits import CommandFailed, Exit

VARIABLE = "GEMEL_CONFIG"
_FIELDS = {"endpoints", "ca", "token_file"}


@dataclass(frozen=True, slots=True)
class Context:
    """One region and one identity in it. ``endpoints`` are tried in order."""

    name: str
    endpoints: tuple[str, ...]
    ca: Path | None = None
    token_file: Path | None = None

    def token(self) -> str | None:
        """The bearer token. Refuses a file that others may read: it would not stay a secret."""
        if self.token_file is None:
            return None
        try:
            if stat.S_IMODE(self.token_file.stat().st_mode) & 0o077:
                raise CommandFailed(
                    Exit.USAGE, f"others can read the token file {self.token_file}", f"chmod 600 {self.token_file}"
                )
            return self.token_file.read_text().strip()
        except OSError as error:
            raise CommandFailed(
                Exit.USAGE, f"cannot read the token file {self.token_file}: {error.strerror}"
            ) from error


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """``$GEMEL_CONFIG``, else ``~/.config/gemel/config.yaml`` (or below ``$XDG_CONFIG_HOME``)."""
    if named := environment.get(VARIABLE):
        return Path(named).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return (Path(base) / "gemel" / "config.yaml").expanduser()


def load_context(path: Path, wanted: str | None = None) -> Context:
    """The context called ``wanted``, or the file's current one. Raises CommandFailed(USAGE)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise CommandFailed(
            Exit.USAGE,
            f"there is no configuration file {path}",
            f"write one with your region's endpoints (see README), or name one by --config or {VARIABLE}",
        ) from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise CommandFailed(Exit.USAGE, f"cannot read {path}: {_one_line(error)}") from error
    return parse_context(document, path, wanted)


def parse_context(document: Any, path: Path, wanted: str | None = None) -> Context:
    """Pure: pick and check one context of a configuration that was read from ``path``."""
    contexts = document.get("contexts") if isinstance(document, dict) else None
    if not isinstance(contexts, dict) or not contexts:
        raise CommandFailed(Exit.USAGE, f"{path}: contexts: missing", "expected contexts: {NAME: {endpoints: [...]}}")
    name = wanted or document.get("current") or (next(iter(contexts)) if len(contexts) == 1 else None)
    if name is None:
        raise CommandFailed(
            Exit.USAGE, f"{path}: current: missing", f"choose by --context one of {', '.join(sorted(contexts))}"
        )
    found = contexts.get(name)
    if not isinstance(found, dict):
        raise CommandFailed(
            Exit.USAGE, f"{path}: there is no context {name!r}", f"there are: {', '.join(sorted(map(str, contexts)))}"
        )
    return _context(str(name), found, path)


def _context(name: str, found: dict[str, Any], path: Path) -> Context:
    def refuse(field: str, expected: str) -> CommandFailed:
        return CommandFailed(Exit.USAGE, f"{path}: contexts.{name}.{field}: expected {expected}")

    for field in found:
        if field not in _FIELDS:
            raise refuse(str(field), f"one of {', '.join(sorted(_FIELDS))}")
    endpoints = found.get("endpoints")
    if not isinstance(endpoints, list) or not endpoints:
        raise refuse("endpoints", "a list of addresses such as https://198.51.100.11:7443")
    for endpoint in endpoints:
        if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
            raise refuse("endpoints", f"addresses such as https://198.51.100.11:7443, not {endpoint!r}")
    files: dict[str, Path | None] = {}
    for field in ("ca", "token_file"):
        value = found.get(field)
        if value is not None and not isinstance(value, str):
            raise refuse(field, "a path")
        files[field] = path.parent / Path(value).expanduser() if value else None
    return Context(name, tuple(endpoint.rstrip("/") for endpoint in endpoints), files["ca"], files["token_file"])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
