"""Pure: how what a manifest declares differs from what the region has, as a unified diff."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from gemel.catalog.kind import Kind
from gemel.cli.yamltext import render_yaml

_DECLARED = ("name", "labels", "annotations")
"""Metadata that people write; the rest is the API's."""


def declared_part(
    document: Mapping[str, Any], kind: Kind, kept_from: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a person declares in an object, its defaults filled in, so that leaving one out is no difference.

    Fields that verbs change (``kind.kept``) are taken from ``kept_from`` when the document leaves them out:
    applying it would keep them too. A document that is not valid is shown as it was written.
    """
    spec = dict(document.get("spec") or {})
    if kept_from is not None:
        live = kept_from.get("spec") or {}
        spec |= {field: live[field] for field in kind.kept if field not in spec and field in live}
    metadata = document.get("metadata") or {}
    try:
        if kind.spec is not None:
            spec = kind.spec.model_validate(spec).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValidationError:
        pass
    return {
        "apiVersion": document.get("apiVersion"),
        "kind": kind.name,
        "metadata": {field: metadata[field] for field in _DECLARED if metadata.get(field)},
        "spec": spec,
    }


def plan_diff(live: Mapping[str, Any] | None, wanted: Mapping[str, Any], kind: Kind) -> list[str]:
    """Lines of a unified diff from the region's object to the manifest's; none when they agree."""
    name = (wanted.get("metadata") or {}).get("name")
    before = render_yaml(declared_part(live, kind)).splitlines() if live is not None else []
    after = render_yaml(declared_part(wanted, kind, live)).splitlines()
    label = f"{kind.singular}/{name}"
    lines = difflib.unified_diff(before, after, f"region {label}", f"manifest {label}", lineterm="", n=4)
    return list(lines)


def colour(lines: list[str]) -> Iterator[str]:
    """With the colours that people know from git."""
    for line in lines:
        if line.startswith(("---", "+++")):
            yield f"\x1b[1m{line}\x1b[0m"
        elif line.startswith("@@"):
            yield f"\x1b[36m{line}\x1b[0m"
        elif line.startswith("+"):
            yield f"\x1b[32m{line}\x1b[0m"
        elif line.startswith("-"):
            yield f"\x1b[31m{line}\x1b[0m"
        else:
            yield line
