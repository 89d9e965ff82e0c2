"""Volume: data with a life of its own."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from resources.container_parts import AbsolutePath, Id
from resources.meta import Model, Name
from resources.scalars import FileMode, Size, Text


class VolumeOwner(Model):
    uid: Id | None = None
    gid: Id | None = None
    mode: FileMode | None = None


class PopulateImage(Model):
    name: Name


class Populate(Model):
    archive: str | None = None
    image: PopulateImage | None = None
    path: AbsolutePath | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.archive is None) == (self.image is None):
            raise ValueError("say exactly one of archive and image")
        return self


class VolumeSpec(Model):
    driver: Literal["local", "tmpfs", "nfs", "btrfs", "remote"] = "local"
    size: Annotated[Size, Field(ge=1)] | None = None
    owner: VolumeOwner = VolumeOwner()
    populate: Populate | None = None
    reclaim: Literal["retain", "delete"] = "retain"
    snapshot_on_apply: StrictBool = False
    options: dict[str, Text] = Field(default_factory=dict)
