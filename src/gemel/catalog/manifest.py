"""YAML files into documents that remember where they stood. Pure: text in, documents and problems out.

Stricter than YAML on purpose: a key given twice, a tag, a merge key or a key that is not text is refused,
because each of them lets a file mean something else than what its reader sees. Anchors are understood.
"""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_NODES = 200_000
"""Values in one file, aliases counted as often as they are used: a small file must not become a huge one."""
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a document: where, what, and what would be right.

    ``document`` counts the documents of its file from 0; ``path`` is as in ``spec.disks[1].size``, empty for
    the document as a whole.
    """

    file: str
    document: int
    path: str
    message: str
    expected: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """``lines``: the line (from 1) of each path in it. ``object`` is what JSON could carry."""

    file: str
    index: int
    line: int
    object: Any
    lines: Mapping[str, int] = field(default_factory=dict)

    def line_of(self, path: str) -> int:
        """Of the path, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, self.line)


@dataclass(frozen=True, slots=True)
class Manifest:
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


def join_path(path: str, step: str | int) -> str:
    """``spec`` and ``disks`` -> ``spec.disks``; with 1 -> ``spec.disks[1]``."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def parse_manifest(text: str, file: str) -> Manifest:
    """All documents of a file; those that are no good are in ``problems`` instead. Empty ones are skipped
    but counted, so that numbers are what a reader counts."""
    documents: list[Document] = []
    problems: list[Problem] = []
    reader = YAML(typ="safe", pure=True)
    reached = 0
    try:
        for index, node in enumerate(reader.compose_all(io.StringIO(text))):
            reached = index + 1
            if node is None or _is_null(node):
                continue
            builder = _Builder()
            try:
                value = builder.value(node, "", 0)
            except _Refused as refused:
                problems.append(Problem(file, index, refused.path, refused.message, refused.expected, refused.line))
                continue
            documents.append(Document(file, index, _line(node), value, builder.lines))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        why = str(error.problem or error.context or error)
        problems.append(_not_yaml(file, reached, why, line))
    except (YAMLError, ValueError, RecursionError) as error:
        problems.append(_not_yaml(file, reached, str(error).splitlines()[0], None))
    return Manifest(tuple(documents), tuple(problems))


def locate(problems: tuple[Problem, ...], documents: tuple[Document, ...]) -> tuple[Problem, ...]:
    """Give each problem the line of its path (what the API answers knows files and paths, not lines)."""
    by_place = {(document.file, document.index): document for document in documents}
    return tuple(_located(problem, by_place.get((problem.file, problem.document))) for problem in problems)


def _located(problem: Problem, document: Document | None) -> Problem:
    if document is None:
        return problem
    line = document.line_of(problem.path)
    return Problem(problem.file, problem.document, problem.path, problem.message, problem.expected, line)


def _not_yaml(file: str, index: int, why: str, line: int | None) -> Problem:
    return Problem(file, index, "", f"not YAML: {why}", "a YAML document (check indentation and quotes)", line)


class _Refused(Exception):
    def __init__(self, path: str, node: Node, message: str, expected: str) -> None:
        super().__init__(message)
        self.path, self.line, self.message, self.expected = path, _line(node), message, expected


class _Builder:
    """From composed nodes to plain values, noting each path's line on the way."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._nodes = 0

    def value(self, node: Node, path: str, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _Refused(path, node, "too many or too deeply nested values", "a smaller document")
        self.lines.setdefault(path, _line(node))
        if isinstance(node, MappingNode):
            return {key: self.value(value, join_path(path, key), depth + 1) for key, value in self._pairs(node, path)}
        if isinstance(node, SequenceNode):
            return [self.value(item, join_path(path, at), depth + 1) for at, item in enumerate(node.value)]
        return _scalar(node, path)

    def _pairs(self, node: MappingNode, path: str) -> Iterator[tuple[str, Node]]:
        if node.tag != _TAG + "map":
            raise _Refused(path, node, f"the tag {_short(node.tag)} is not allowed", "a plain mapping")
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag != _TAG + "str":
                shown = key_node.value if isinstance(key_node, ScalarNode) else "a list or mapping"
                merge = "write its fields out" if shown == "<<" else f'quote it: "{shown}"'
                raise _Refused(path, key_node, f"the key {shown} is not text", merge)
            key = key_node.value
            if key in seen:
                here = join_path(path, key)
                raise _Refused(here, key_node, f"{key} is given twice, first on line {seen[key]}", "one of them")
            seen[key] = _line(key_node)
            self.lines[join_path(path, key)] = _line(key_node)
            yield key, value


def _scalar(node: Node, path: str) -> Any:
    kind, text = _short(node.tag), node.value
    if kind == "str" or kind == "timestamp":  # a date is only text to gemel
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    try:
        if kind == "int":
            return int(text.replace("_", ""), 0)
        if kind == "float":
            number = float(text.replace("_", ""))
            return number if math.isfinite(number) else text
    except ValueError:
        return text
    raise _Refused(path, node, f"the tag {kind} is not allowed", "plain text, a number, true or false")


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _TAG + "null"


def _short(tag: str | None) -> str:
    return str(tag).removeprefix(_TAG)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
