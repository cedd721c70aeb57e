"""What a kind is to those who list, show and change it. Data only: the kinds themselves are in registry.py."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gemel.core import layout
from gemel.core.resource import Model, Resource


class CellType(StrEnum):
    """How a face renders a value. A value that is already text is shown as it is."""

    TEXT = "text"
    NUMBER = "number"
    SIZE = "size"
    """Bytes, or text such as 4Gi."""
    SECONDS = "seconds"
    """A duration in seconds."""
    MOMENT = "moment"
    """An instant (RFC 3339), usually shown as the time since then."""
    FLAG = "flag"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``gemel get``: ``path`` is dotted, from the object's root (``spec.site``)."""

    title: str
    path: str
    type: CellType = CellType.TEXT
    wide: bool = False
    """Only with ``-o wide``."""


class Writer(StrEnum):
    """Who may change objects of a kind."""

    ADMIN = "admin"
    OPERATOR = "operator"
    NOBODY = "nobody"
    """Shown kinds: records of what gemel decided and saw."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    singular: str
    plural: str
    short_names: tuple[str, ...]
    doc: str
    columns: tuple[Column, ...]
    writer: Writer
    model: type[Resource[Any]] | None = None
    """The declared shape; None for shown kinds."""
    spec: type[Model] | None = None
    sources: tuple[str, ...] = ()
    """Prefixes of the store that an object of this kind is shown from."""
    kept: tuple[str, ...] = ()
    """Fields of ``spec`` (outside names) that verbs change: an apply that leaves them out keeps them."""

    @property
    def declared(self) -> bool:
        return self.model is not None

    @property
    def words(self) -> tuple[str, ...]:
        """Every word by which a person may call this kind, lower case."""
        return (self.name.lower(), self.singular, self.plural, *self.short_names)

    def key(self, name: str) -> str:
        return layout.resource(self.name, name)

    def known_model(self) -> type[Resource[Any]]:
        if self.model is None:
            raise TypeError(f"{self.name} is shown from records; nobody declares it")
        return self.model
