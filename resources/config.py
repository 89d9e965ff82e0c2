"""Config: files and values for containers, in clear."""

from pydantic import Field

from resources.meta import Model
from resources.scalars import Text
from resources.secret import DataKey


class ConfigSpec(Model):
    data: dict[DataKey, Text] = Field(default_factory=dict)
    files: dict[DataKey, str] = Field(default_factory=dict)


class ConfigContent(Model):
    """The effective spec of a Config: every key with its content, base64, and a digest to compare by."""

    entries: dict[DataKey, str] = Field(default_factory=dict)
    digests: dict[DataKey, str] = Field(default_factory=dict)
