"""The shape of everything declared: ``apiVersion/kind/metadata/spec/status``, as kubectl users know it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from gemel.core.identity import Name

API_VERSION = "gemel/v1"

LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9A-Z]([-_./a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$")]


class Model(BaseModel):
    """Frozen, camelCase outside, snake_case inside, and no unknown field passes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, use_enum_values=False
    )

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class Metadata(Model):
    """``uid``, ``generation`` and ``creation_timestamp`` are set by the API; ``generation`` grows with each
    change of ``spec``; ``resource_version`` is the store revision of the last change, for optimistic
    concurrency."""

    name: Name
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    uid: uuid.UUID | None = None
    generation: int = 0
    resource_version: int | None = None
    creation_timestamp: datetime | None = None


S = TypeVar("S", bound=Model)


class Resource(Model, Generic[S]):
    """``status`` is what gemel observed: never written by a person, kept under its own store key."""

    api_version: Literal["gemel/v1"]
    kind: str
    metadata: Metadata
    spec: S
    status: dict[str, Any] | None = None


class Selector(Model):
    """All of these labels, as in kubectl."""

    match_labels: dict[LabelKey, LabelValue] = Field(min_length=1)

    def matches(self, labels: dict[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.match_labels.items())
