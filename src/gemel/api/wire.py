"""Bodies of requests and answers, as OpenAPI shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

from gemel.catalog.kind import CellType, Kind

MAX_DOCUMENTS = 500
"""In one apply: the region's etcd takes 1024 operations a transaction, two of which are the audit trail's."""


class Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Wish(Body):
    """What a client sends: nothing unknown passes, and a number is not made of text."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True)


class ProblemBody(Body):
    file: str = ""
    document: int = 0
    line: int | None = None
    path: str = ""
    message: str
    expected: str = ""


class ErrorBody(Body):
    """``error`` is a word for programs, ``message`` what happened to what, ``hint`` what to do next."""

    error: str
    message: str
    hint: str = ""
    problems: list[ProblemBody] | None = None


class ColumnBody(Body):
    title: str
    path: str
    type: CellType
    wide: bool


class KindBody(Body):
    kind: str
    singular: str
    plural: str
    short_names: list[str]
    declared: bool
    doc: str
    columns: list[ColumnBody]
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    """Of ``spec``; absent for shown kinds."""

    @classmethod
    def of(cls, kind: Kind) -> "KindBody":
        columns = [ColumnBody(title=c.title, path=c.path, type=c.type, wide=c.wide) for c in kind.columns]
        return cls(
            kind=kind.name,
            singular=kind.singular,
            plural=kind.plural,
            short_names=list(kind.short_names),
            declared=kind.declared,
            doc=kind.doc,
            columns=columns,
            json_schema=kind.spec.model_json_schema(by_alias=True) if kind.spec else None,
        )


class KindsBody(Body):
    items: list[KindBody]


class ObjectBody(Body):
    """A resource, or a record that is shown like one. ``spec`` by its kind: see ``GET /v1/kinds``."""

    api_version: Literal["gemel/v1"]
    kind: str
    metadata: dict[str, Any]
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class ListBody(Body):
    kind: str
    items: list[ObjectBody]
    revision: int
    """Of the store; a watch that starts after it misses nothing."""


class DocumentWish(Wish):
    file: Annotated[str, StringConstraints(max_length=4096)] = ""
    index: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    line: Annotated[int, Field(ge=1, le=100_000_000)] = 1
    object: JsonValue


class ApplyWish(Wish):
    dry_run: bool = False
    documents: Annotated[list[DocumentWish], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class ResultBody(Body):
    kind: str
    name: str
    action: Literal["created", "configured", "unchanged", "deleted", "requested"]
    resource_version: int | None = None
    """After the change; absent for what is deleted, requested, or only tried."""


class ResultsBody(Body):
    results: list[ResultBody]
    revision: int | None = None
    """Of the transaction; absent when nothing had to change."""


class MoveWish(Wish):
    to: Annotated[str, StringConstraints(min_length=1, max_length=63)]


class MigrateWish(Wish):
    to: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None


class EventBody(Body):
    id: str
    at: datetime
    type: Literal["Normal", "Warning"]
    reason: str
    about: dict[str, str]
    epoch: int | None = None
    message: str
    source: str


class EventsBody(Body):
    items: list[EventBody]
    revision: int


class AuditChangeBody(Body):
    verb: str
    kind: str
    name: str
    action: str
    before: int | None = None
    after: int | None = None
    detail: str = ""


class AuditBody(Body):
    id: str
    at: datetime
    user: str
    role: str
    outcome: Literal["done", "denied"]
    changes: list[AuditChangeBody]


class AuditsBody(Body):
    items: list[AuditBody]
    revision: int


class InvitationBody(Body):
    """All that a machine needs to join: the document for ``gemel host join``. It holds a secret."""

    region: str
    host: str
    site: str
    api: list[str]
    store: list[str]
    ca: str
    token: str
    expires: datetime


class JoinWish(Wish):
    host: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    token: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    csr: Annotated[str, StringConstraints(min_length=1, max_length=16384)]
    """PEM of a request for an EC P-256 key with the common name ``agent``."""


class JoinBody(Body):
    region: str
    host: str
    site: str
    address: str
    certificate: str
    ca: str
    store: list[str]
    ttl: float
    margin: float
    """Seconds; of the host's lease."""


class HealthBody(Body):
    status: Literal["ok"]
    version: str
