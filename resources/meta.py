"""What every object has: identity, metadata, conditions. Frozen; unknown fields are errors; JSON keys are camelCase."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from resources import paths
from resources.kinds import Kind
from resources.scalars import Text

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
LABEL_KEY = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}/)?[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


def check_name(value: str) -> str:
    if NAME.fullmatch(value) is None:
        raise ValueError("a name is a letter or digit, then up to 127 letters, digits, '_', '.' or '-'")
    return value


def check_label_key(value: str) -> str:
    if LABEL_KEY.fullmatch(value) is None:
        raise ValueError("a key is letters, digits, '_', '.' and '-', with an optional prefix and '/'")
    return value


Name = Annotated[str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]
LabelKey = Annotated[str, AfterValidator(check_label_key)]
Conflict: TypeAlias = tuple[tuple[str | int, ...], str]
"""(steps to the field, by JSON names; what is wrong). No steps: it concerns the whole."""


class Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def parse(cls, data: Any) -> Self:
        """Validate plain JSON data strictly (lists become tuples, nothing else is converted).

        Raises: pydantic.ValidationError, whose `loc` paths use the JSON names.
        """
        return cls.model_validate_json(json.dumps(data))

    def written(self) -> dict[str, Any]:
        """The JSON form of the fields that were set, as a manifest would write them."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changed_fields(self) -> set[str]:
        """Names of the fields whose value is not the default."""
        fields = type(self).model_fields
        return {
            name for name, info in fields.items() if getattr(self, name) != info.get_default(call_default_factory=True)
        }

    def full(self) -> dict[str, Any]:
        """The JSON form with every default filled in."""
        return self.model_dump(mode="json", exclude_none=True)


class Checked(Model):
    """A model whose fields must also agree with each other.

    `conflicts` of a spec (not of a part of one) must hold for any subset of the fields: manifests.decode asks it of what is
    right in a spec when some of it is wrong. It reads no required field.
    """

    def conflicts(self) -> Iterator[Conflict]:
        yield from ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for steps, message in self.conflicts():
            raise ValueError(f"{paths.joined(steps)}: {message}" if steps else message)
        return self


class Ref(Model):
    """What a user calls an object: kind, namespace, name. str() is `container/web`."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"

    def seen_from(self, namespace: str) -> str:
        """As it is called in what is said of an object of that namespace: `container/web of namespace shop`."""
        return str(self) if self.namespace == namespace else f"{self} of namespace {self.namespace}"


class Key(Model):
    """What the engine calls an object: kind and uid. The work queue carries these and nothing else."""

    kind: Kind
    uid: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}:{self.uid[:12]}"


class OwnerReference(Model):
    kind: Kind
    name: str
    uid: str
    controller: bool = False


class FieldManager(Model):
    """Who last set which fields: `apply:<owner>`, `cli`, `api`. Paths as `spec.image`."""

    name: str
    fields: tuple[str, ...]
    time: datetime


class Metadata(Model):
    name: Name
    namespace: Name = "default"
    labels: dict[LabelKey, Text] = Field(default_factory=dict)
    annotations: dict[LabelKey, Text] = Field(default_factory=dict)


class ObjectMeta(Metadata):
    """Metadata as stored: what the engine adds to what the user writes."""

    uid: str
    generation: int = 1
    """Counts changes of the effective spec."""
    resource_version: int = 0
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    delete_data: bool = False
    """The deletion was asked for with --data."""
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    field_managers: tuple[FieldManager, ...] = ()
    owner: str = ""
    """The owner an `apply --owner` gave it; --prune goes by it."""
    implied: bool = False
    """Nobody declared it: it came with the first container that needs it, and goes with the last."""


class Condition(Model):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime


class Status(Model):
    """A report: may be thrown away and rebuilt. Never an input to diff."""

    phase: str = "Pending"
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    fields: dict[str, Any] = Field(default_factory=dict)
    """What each kind reports (container: pid, startedAt, exitCode, restarts, image …), camelCase keys, flat in JSON output."""

    def condition(self, type: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type), None)

    @property
    def ready(self) -> bool:
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"
