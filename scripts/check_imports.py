#!/usr/bin/env python3
"""Hold the import rules that import-linter cannot say, from the syntax tree alone (nothing is imported).

* Decisions are pure: no module that decides reaches I/O, clocks or chance, through whatever gemel module.
* Each third-party client has its room, and nobody else imports it.
* Engines and the store know a wing by its ``kinds`` and ``ports`` only.
* Wings and the ground floor get by on the standard library and a few libraries.

Exit code 0 and silence when all hold, else 1 and one line a breach: ``file:line: module: what``.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WINGS = ("compute", "storage", "network", "continuity", "fleet", "migration", "cost", "edge", "files", "burst")
DECIDING = frozenset({"plan", "placement", "tickets", "authority", "admission"})
"""Names of modules whose whole closure inside gemel must be pure."""
TRANSLATING = frozenset({"render", "parse"})
"""An engine room's pure half: pure themselves."""
IMPURE = frozenset(
    ("asyncio", "subprocess", "socket", "time", "random", "secrets", "os", "threading", "httpx", "grpc", "libvirt")
)
ROOMS: Mapping[str, tuple[str, ...]] = {
    "libvirt": ("gemel.engines.libvirt",),
    "libvirt_qemu": ("gemel.engines.libvirt",),
    "libvirtaio": ("gemel.engines.libvirt",),
    "grpc": ("gemel.store.etcd",),
    "google": ("gemel.store.etcd",),
    "cryptography": ("gemel.engines.pki",),
    "fastapi": ("gemel.api", "gemel.agent"),
    "starlette": ("gemel.api", "gemel.agent"),
    "uvicorn": ("gemel.api", "gemel.agent"),
    "typer": ("gemel.cli", "gemel.lab", "gemel.demo"),
    "click": ("gemel.cli", "gemel.lab", "gemel.demo"),
    "rich": ("gemel.cli", "gemel.lab", "gemel.demo"),
}
GROUND_LIBRARIES = frozenset({"pydantic", "pydantic_core", "structlog", "prometheus_client"})
PUBLIC_HALF = frozenset({"kinds", "ports", "requests"})


@dataclass(frozen=True, slots=True)
class Import:
    """``target`` is the dotted name as far as it is known to be a module."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: Path
    imports: tuple[Import, ...]

    @property
    def leaf(self) -> str:
        return self.name.rsplit(".", 1)[-1]

    @property
    def room(self) -> str:
        """The second segment: ``compute`` of ``gemel.compute.plan``."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class Breach:
    module: Module
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module.path}:{self.line}: {self.module.name}: {self.what}"


def read_modules(source: Path, package: str = "gemel") -> dict[str, Module]:
    paths = {_dotted(path, source): path for path in sorted((source / package).rglob("*.py"))}
    return {
        name: Module(name, path, tuple(_imports(ast.parse(path.read_text(), str(path)), name, path, paths.keys())))
        for name, path in paths.items()
    }


def _dotted(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, name: str, path: Path, known: Iterable[str]) -> Iterator[Import]:
    names = set(known)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in names else base, node.lineno)


def check_purity(modules: Mapping[str, Module]) -> Iterator[Breach]:
    for module in modules.values():
        if module.leaf in TRANSLATING and module.room == "engines":
            for used in module.imports:
                if _top(used.target) in IMPURE:
                    yield Breach(module, used.line, f"is a pure half of its engine, and imports {used.target}")
        if module.leaf in DECIDING and module.room in ("core", "catalog", *WINGS):
            yield from _impure_reach(module, modules)


def _impure_reach(start: Module, modules: Mapping[str, Module]) -> Iterator[Breach]:
    """Walk what ``start`` imports inside gemel; name the shortest chain to anything impure."""
    seen = {start.name}
    queue: list[tuple[Module, int, tuple[str, ...]]] = [(start, 0, ())]
    while queue:
        module, first_line, chain = queue.pop(0)
        for used in module.imports:
            line = first_line or used.line
            if _top(used.target) in IMPURE:
                through = f" through {' -> '.join(chain)}" if chain else ""
                yield Breach(start, line, f"decides, and may not reach {used.target}{through}")
            inner = modules.get(used.target)
            if inner is not None and inner.name not in seen:
                seen.add(inner.name)
                queue.append((inner, line, (*chain, inner.name)))


def check_rooms(modules: Mapping[str, Module]) -> Iterator[Breach]:
    for module in modules.values():
        for used in module.imports:
            rooms = ROOMS.get(_top(used.target))
            if rooms is not None and not any(_inside(module.name, room) for room in rooms):
                yield Breach(module, used.line, f"imports {used.target}, which only {' and '.join(rooms)} may")


def check_public_halves(modules: Mapping[str, Module]) -> Iterator[Breach]:
    for module in modules.values():
        if module.room not in ("engines", "store"):
            continue
        for used in module.imports:
            parts = used.target.split(".")
            if parts[0] == "gemel" and len(parts) > 1 and parts[1] in WINGS and parts[-1] not in PUBLIC_HALF:
                yield Breach(module, used.line, f"may know of gemel.{parts[1]} its kinds and ports, not {used.target}")


def check_libraries(modules: Mapping[str, Module]) -> Iterator[Breach]:
    """Wings and core: the standard library, gemel itself, and the ground floor's few libraries."""
    for module in modules.values():
        if module.room != "core" and module.room not in WINGS:
            continue
        for used in module.imports:
            top = _top(used.target)
            if top not in ("gemel", "__future__", *GROUND_LIBRARIES) and top not in sys.stdlib_module_names:
                yield Breach(module, used.line, f"imports {used.target}: ask for it through a port")


def check(source: Path) -> list[Breach]:
    modules = read_modules(source)
    rules = (check_purity, check_rooms, check_public_halves, check_libraries)
    return [breach for rule in rules for breach in rule(modules)]


def _top(name: str) -> str:
    return name.split(".", 1)[0]


def _inside(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def main() -> int:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "src"
    breaches = check(source)
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    raise SystemExit(main())
