"""The envelope of every object: metadata, spec as written, effective spec, status."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from resources.config import ConfigContent, ConfigSpec
from resources.container import ContainerSpec
from resources.image import ImageSpec
from resources.kinds import DEFAULTS_VERSION, Kind
from resources.meta import Key, Metadata, Model, ObjectMeta, Ref
from resources.network import NetworkSpec
from resources.secret import SecretContent, SecretSpec
from resources.volume import VolumeSpec

SPECS: Mapping[Kind, type[Model]] = {
    Kind.IMAGE: ImageSpec,
    Kind.CONTAINER: ContainerSpec,
    Kind.NETWORK: NetworkSpec,
    Kind.VOLUME: VolumeSpec,
    Kind.SECRET: SecretSpec,
    Kind.CONFIG: ConfigSpec,
}
EFFECTIVE: Mapping[Kind, type[Model]] = {**SPECS, Kind.SECRET: SecretContent, Kind.CONFIG: ConfigContent}
"""The model of each kind's effective spec: the spec with its defaults, but for the two kinds that carry content."""


class Input(Model):
    """Content a client read for a manifest: a file, archive, folder (as tar) or variable. Large content is in the upload
    area of the engine under its digest; small content is here."""

    digest: str
    size: int


class Suspension(Model):
    state: Literal["stopped", "paused"]
    by: str
    """The field manager, as in `cli`."""
    at: datetime


class Manifest(Model):
    """One document of the user's, parsed, normalised and valid."""

    kind: Kind
    metadata: Metadata
    spec: Any
    """An instance of SPECS[kind]."""

    @property
    def ref(self) -> Ref:
        return Ref(kind=self.kind, namespace=self.metadata.namespace, name=self.metadata.name)


class Object(Model):
    """One object as the store keeps it."""

    kind: Kind
    metadata: ObjectMeta
    spec: Any
    """As written: SPECS[kind]; `spec.written()` is what the user wrote, normalised."""
    effective: Any
    """EFFECTIVE[kind], every default filled in at admission."""
    inputs: dict[str, Input] = Field(default_factory=dict)
    """Content behind paths of the spec (`from.archive`, `populate.archive`), by the path of the field."""
    defaults_version: int = DEFAULTS_VERSION
    restart_request: str = ""
    """A restart, or a start of what has ended, asked for by hand: the loop makes it happen once."""
    suspension: Suspension | None = None
    """Set when somebody stopped or paused it by hand: respected until a start, a resume, or a manifest with `state`."""

    @property
    def ref(self) -> Ref:
        return Ref(kind=self.kind, namespace=self.metadata.namespace, name=self.metadata.name)

    @property
    def key(self) -> Key:
        return Key(kind=self.kind, uid=self.metadata.uid)

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None


def decode_object(data: Mapping[str, Any]) -> Object:
    """Read the JSON form that `encode_object` makes. Raises: pydantic.ValidationError."""
    kind = Kind(data["kind"])
    envelope = Object.parse({**data, "spec": None, "effective": None})
    return envelope.model_copy(
        update={
            "spec": SPECS[kind].parse(data["spec"]),
            "effective": EFFECTIVE[kind].parse(data["effective"]),
        }
    )


def encode_object(item: Object) -> dict[str, Any]:
    return {
        **item.model_dump(mode="json", exclude={"spec", "effective"}, exclude_defaults=True),
        "spec": item.spec.written(),
        "effective": item.effective.full(),
    }
