"""Secret: content shown nowhere. Stored and carried sealed; only the act that projects it opens the seal."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from resources.meta import NAME, Checked, Conflict, Model
from resources.scalars import Text
from resources.words import LocalPath, Variable


def _key(value: str) -> str:
    if NAME.fullmatch(value) is None:
        raise ValueError(
            "a key becomes the name of a file: a letter or digit, then up to 127 letters, digits, '_', '.' or '-'"
        )
    return value


DataKey = Annotated[str, AfterValidator(_key), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]


def keys_twice(**fields: Mapping[str, Any]) -> Iterator[Conflict]:
    """Keys that more than one of the fields gives."""
    first: dict[str, str] = {}
    for name, entries in fields.items():
        for key in entries:
            if first.setdefault(key, name) != name:
                yield (name, key), f"stands in {first[key]} too"


class Generate(Model):
    length: Annotated[int, Field(ge=8, le=4096)] = 32


class SecretSpec(Checked):
    """As written. Before it is stored, every value of `data` is replaced by "" and stands sealed in SecretContent."""

    data: dict[DataKey, Text] = Field(default_factory=dict)
    files: dict[DataKey, LocalPath] = Field(default_factory=dict)
    """Files of the client, relative to the manifest."""
    env: dict[DataKey, Variable] = Field(default_factory=dict)
    """Environment variables of the client."""
    generate: dict[DataKey, Generate] = Field(default_factory=dict)
    """Made by the engine once, and kept."""

    @property
    def key_names(self) -> frozenset[str]:
        return frozenset((*self.data, *self.files, *self.env, *self.generate))

    def conflicts(self) -> Iterator[Conflict]:
        yield from keys_twice(data=self.data, files=self.files, env=self.env, generate=self.generate)


class Sealed(Model):
    """A value only the host's key opens. `digest` is keyed with it as well, so it tells equality and nothing else."""

    digest: str
    value: str
    """Base64 of nonce and ciphertext."""


class SecretContent(Model):
    """The effective spec of a Secret."""

    entries: dict[DataKey, Sealed] = Field(default_factory=dict)
