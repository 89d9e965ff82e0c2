"""Config: files and values for containers, in clear."""

from collections.abc import Iterator

from pydantic import Field

from resources.meta import Checked, Conflict, Model
from resources.scalars import Text
from resources.secret import DataKey, keys_twice
from resources.words import LocalPath


class ConfigSpec(Checked):
    data: dict[DataKey, Text] = Field(default_factory=dict)
    files: dict[DataKey, LocalPath] = Field(default_factory=dict)

    @property
    def key_names(self) -> frozenset[str]:
        return frozenset((*self.data, *self.files))

    def conflicts(self) -> Iterator[Conflict]:
        yield from keys_twice(data=self.data, files=self.files)


class ConfigContent(Model):
    """The effective spec of a Config: every key with its content, base64, and a digest to compare by."""

    entries: dict[DataKey, str] = Field(default_factory=dict)
    digests: dict[DataKey, str] = Field(default_factory=dict)
