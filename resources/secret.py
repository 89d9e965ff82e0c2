"""Secret: content shown nowhere. Stored and carried sealed; only the act that projects it opens the seal."""

from typing import Annotated

from pydantic import AfterValidator, Field

from resources.meta import Model, check_label_key
from resources.scalars import Text


def _key(value: str) -> str:
    if "/" in value or value.startswith("."):
        raise ValueError("a key becomes a file name: no '/', no leading '.'")
    return check_label_key(value)


DataKey = Annotated[str, AfterValidator(_key)]


class Generate(Model):
    length: Annotated[int, Field(ge=8, le=4096)] = 32


class SecretSpec(Model):
    """As written. Before it is stored, every value of `data` is replaced by "" and stands sealed in SecretContent."""

    data: dict[DataKey, Text] = Field(default_factory=dict)
    files: dict[DataKey, str] = Field(default_factory=dict)
    env: dict[DataKey, str] = Field(default_factory=dict)
    generate: dict[DataKey, Generate] = Field(default_factory=dict)


class Sealed(Model):
    """A value only the host's key opens. `digest` is keyed with it as well, so it tells equality and nothing else."""

    digest: str
    value: str
    """Base64 of nonce and ciphertext."""


class SecretContent(Model):
    """The effective spec of a Secret."""

    entries: dict[DataKey, Sealed] = Field(default_factory=dict)
