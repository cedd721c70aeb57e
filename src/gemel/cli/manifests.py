"""Manifests from files, folders and standard input, and what is wrong with them in a person's words."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemel.catalog.manifest import Document, Problem, locate, parse_manifest
from gemel.cli.exits import CommandFailed, Exit
from gemel.cli.failure import InvalidDocuments, render_problem

SUFFIXES = (".yaml", ".yml", ".json")


class Invalid(CommandFailed):
    """Problems, one per line, nothing changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(Exit.USAGE, f"{count}: nothing was changed")
        self.lines = tuple(
            render_problem(each.file, each.line, each.document, each.path, each.message, each.expected)
            for each in problems
        )


def read_documents(sources: Sequence[str]) -> tuple[Document, ...]:
    """All documents of all sources, in order; a folder's files by name. Raises CommandFailed(USAGE)."""
    if not sources:
        raise CommandFailed(Exit.USAGE, "no manifest", "name a file, a folder or - by -f")
    documents: list[Document] = []
    problems: list[Problem] = []
    for name, text in _texts(sources):
        manifest = parse_manifest(text, name)
        documents += manifest.documents
        problems += manifest.problems
    if problems:
        raise Invalid(problems)
    if not documents:
        raise CommandFailed(Exit.USAGE, f"no document in {', '.join(sources)}")
    return tuple(documents)


def _texts(sources: Sequence[str]) -> list[tuple[str, str]]:
    texts: list[tuple[str, str]] = []
    for source in sources:
        if source == "-":
            texts.append(("-", sys.stdin.read()))
            continue
        for path in _files(Path(source)):
            try:
                texts.append((str(path), path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise CommandFailed(Exit.USAGE, f"cannot read {path}: {getattr(error, 'strerror', error)}") from error
    return texts


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise CommandFailed(Exit.USAGE, f"there is no manifest in {path}", f"files end in {', '.join(SUFFIXES)}")
    return found


def place_problems(refusal: InvalidDocuments, documents: Sequence[Document]) -> Invalid:
    """The API's problems, each with the line that it stands on here."""
    problems = tuple(_problem(problem) for problem in refusal.problems)
    return Invalid(locate(problems, tuple(documents)))


def _problem(body: Mapping[str, Any]) -> Problem:
    document, line = body.get("document"), body.get("line")
    return Problem(
        file=str(body.get("file") or "-"),
        document=document if isinstance(document, int) else 0,
        path=str(body.get("path") or ""),
        message=str(body.get("message") or "refused"),
        expected=str(body.get("expected") or ""),
        line=line if isinstance(line, int) else None,
    )


def identity_of(document: Document) -> tuple[str, str]:
    """Kind and name as written, for a document that may be anything."""
    found = document.object if isinstance(document.object, Mapping) else {}
    metadata = found.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return str(found.get("kind") or ""), str(name or "")
