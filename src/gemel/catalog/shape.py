"""Is a document of its kind's shape? Pydantic's findings in a person's words. Pure."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gemel.catalog.kind import Kind
from gemel.catalog.manifest import Document, Problem, join_path
from gemel.catalog.registry import DECLARED, kind_named, nearest_kinds
from gemel.core.resource import API_VERSION, Resource
from gemel.core.units import render_duration, render_size

SHOWN_FIELDS = ("status",)
"""Read back by ``get -o yaml``; ignored, so that what was got can be edited and applied."""
SET_BY_API = ("uid", "generation", "creationTimestamp")
NAME_WORDS = "a name: lower-case letters, digits and hyphens, at most 63, starting and ending with no hyphen"
_PATTERNS = {
    "sha256": "sha256: and 64 hexadecimal digits",
    "[A-Za-z0-9._/-]": "a relative path below the image directory, such as tiny/vmlinuz",
    "0,61}[a-z0-9])?$": NAME_WORDS,
    "[-_./a-zA-Z0-9]": "a label key: letters, digits, and - _ . / inside",
    "[-_.a-zA-Z0-9]": "a label value: letters, digits, and - _ . inside, at most 63",
}


@dataclass(frozen=True, slots=True)
class Sound:
    """A document of the right shape."""

    document: Document
    kind: Kind
    resource: Resource[Any]
    given: frozenset[str]
    """Fields of ``spec`` that the document names itself; the others are defaults."""

    @property
    def name(self) -> str:
        return self.resource.metadata.name

    @property
    def place(self) -> tuple[str, str]:
        return self.kind.name, self.name

    def problem(self, path: str, message: str, expected: str = "") -> Problem:
        return problem(self.document, path, message, expected)


def problem(document: Document, path: str, message: str, expected: str = "") -> Problem:
    return Problem(document.file, document.index, path, message, expected, document.line_of(path))


def claimed(document: Document) -> tuple[str, str] | None:
    """Kind and name that a document gives itself, whatever else is wrong with it."""
    found = document.object
    metadata = found.get("metadata") if isinstance(found, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    kind = found.get("kind") if isinstance(found, dict) else None
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def check_shape(document: Document) -> Sound | tuple[Problem, ...]:
    found = document.object
    if not isinstance(found, dict):
        return (
            problem(document, "", f"a document is a mapping, not {_type(found)}", "apiVersion, kind, metadata, spec"),
        )
    if (unkind := _check_kind(document, found)) is not None:
        return (unkind,)
    kind = kind_named(found["kind"])
    assert kind is not None
    model = kind.known_model()
    try:
        text = json.dumps(_declared_part(found), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return (problem(document, "", f"cannot be read as JSON: {error}", "text, numbers, lists and mappings"),)
    try:
        resource = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        return tuple(_said(document, model, dict(each)) for each in error.errors())
    spec = found.get("spec")
    return Sound(document, kind, resource, frozenset(spec) if isinstance(spec, dict) else frozenset())


def _check_kind(document: Document, found: Mapping[str, Any]) -> Problem | None:
    declarable = ", ".join(kind.name for kind in DECLARED)
    version = found.get("apiVersion")
    if version != API_VERSION:
        said = "is missing" if version is None else f"{version!r} is not known here"
        return problem(document, "apiVersion", said, API_VERSION)
    name = found.get("kind")
    if not isinstance(name, str):
        return problem(document, "kind", "is missing" if name is None else "is not text", f"one of {declarable}")
    kind = kind_named(name)
    if kind is None:
        near = nearest_kinds(name)
        expected = f"did you mean {near[0]}?" if near else f"one of {declarable}"
        return problem(document, "kind", f"there is no kind {name!r}", expected)
    if not kind.declared:
        return problem(document, "kind", f"{name} is shown by gemel and cannot be declared", f"one of {declarable}")
    return None


def _declared_part(found: Mapping[str, Any]) -> dict[str, Any]:
    kept = {field: value for field, value in found.items() if field not in SHOWN_FIELDS}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {field: value for field, value in metadata.items() if field not in SET_BY_API}
    return kept


def _said(document: Document, model: type[BaseModel], error: dict[str, Any]) -> Problem:
    steps = [step for step in error["loc"] if step != "[key]"]
    path = ""
    for step in steps:
        path = join_path(path, step)
    if error["type"] == "extra_forbidden":
        return _unknown_field(document, model, steps, path)
    message, expected = _words(error, path)
    return problem(document, path, message, expected)


def _unknown_field(document: Document, model: type[BaseModel], steps: list[str | int], path: str) -> Problem:
    known = sorted(_fields_at(model, steps[:-1]))
    near = difflib.get_close_matches(str(steps[-1]), known, n=1, cutoff=0.6)
    expected = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
    return problem(document, path, f"unknown field {steps[-1]}", expected)


def _fields_at(model: type[BaseModel], steps: list[str | int]) -> Iterator[str]:
    """Outside names of the fields of the model that stands at a path."""
    here: Any = model
    for step in steps:
        if isinstance(step, int) or not _is_model(here):
            continue
        field = next((each for name, each in here.model_fields.items() if step in (each.alias, name)), None)
        here = _inner_model(field.annotation) if field else None
    if _is_model(here):
        hidden = {*SHOWN_FIELDS} if here is model else {*SET_BY_API}
        for name, field in here.model_fields.items():
            if (field.alias or name) not in hidden:
                yield field.alias or name


def _inner_model(annotation: Any) -> Any:
    """The model inside ``X | None``, ``tuple[X, ...]``, ``list[X]``."""
    if _is_model(annotation):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def _words(error: dict[str, Any], path: str) -> tuple[str, str]:
    """What is wrong, and what would be right."""
    kind, context, given = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "missing":
        return "is missing", _wanted(path)
    if kind == "value_error":
        message = str(context.get("error", error["msg"]))
        wrong, _, right = message.partition(": ")
        return wrong, right or _TYPES.get(_ADDRESSED.get(_last(path), ""), "")
    if kind == "string_pattern_mismatch":
        return f"{given!r} is not allowed here", _pattern_words(str(context.get("pattern", "")))
    if kind in ("enum", "literal_error"):
        return f"{given!r} is not one of the choices", f"one of {context['expected']}"
    if kind == "string_type":
        return f"is {_type(given)}, not text", f'text: put it in quotes, "{_plain(given)}"'
    if kind in _RANGE:
        show = _UNITS.get(_last(path), _plain)
        return f"{show(given)} is out of range", f"{_RANGE[kind]} {show(context[_LIMIT[kind]])}"
    if kind in ("too_short", "too_long"):
        return f"has {context['actual_length']} items", f"{_COUNT[kind]} {context[_LIMIT[kind]]}"
    if kind in _TYPES:
        return f"{_plain(given)} is not {_TYPES[kind]}", _TYPES[kind]
    return str(error["msg"]), ""


_RANGE = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_COUNT = {"too_short": "at least", "too_long": "at most"}
_LIMIT = {
    "greater_than": "gt",
    "greater_than_equal": "ge",
    "less_than": "lt",
    "less_than_equal": "le",
    "too_short": "min_length",
    "too_long": "max_length",
}
_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "ip_v4_address": "an IPv4 address, such as 198.19.1.10",
    "ip_v4_network": "an IPv4 prefix, such as 198.19.1.0/24",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


_ADDRESSED = {"address": "ip_v4_address", "addresses": "ip_v4_address", "prefixes": "ip_v4_network"}
_UNITS: dict[str, Callable[[Any], str]] = {
    "size": render_size,
    "memory": render_size,
    "diskSize": render_size,
    "bandwidthLimit": render_size,
    "recoveryPoint": render_duration,
    "keepSalvage": render_duration,
}


def _last(path: str) -> str:
    """The field's own name: ``spec.prefixes[0]`` -> ``prefixes``."""
    return path.rsplit(".", 1)[-1].partition("[")[0]


def _pattern_words(pattern: str) -> str:
    return next((words for part, words in _PATTERNS.items() if part in pattern), f"text that matches {pattern}")


def _wanted(path: str) -> str:
    examples = {"metadata.name": NAME_WORDS, "metadata": "metadata with a name", "spec": "a mapping of its fields"}
    return examples.get(path, "a value")


def _type(given: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if given is None else names.get(type(given), type(given).__name__)


def _plain(given: Any) -> str:
    text = json.dumps(given, default=str) if isinstance(given, dict | list | bool) else str(given)
    return text if len(text) <= 60 else text[:57] + "..."
