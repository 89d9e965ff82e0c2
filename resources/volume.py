"""Volume: data with a life of its own."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from resources.meta import Checked, Conflict, Model, Name
from resources.scalars import FileMode, Size, Text
from resources.words import AbsolutePath, Id, LocalPath


class VolumeOwner(Model):
    uid: Id | None = None
    gid: Id | None = None
    mode: FileMode | None = None


class PopulateImage(Model):
    name: Name


class Populate(Checked):
    """Content for the volume, put there once, while it is empty."""

    archive: LocalPath | None = None
    image: PopulateImage | None = None
    path: AbsolutePath | None = None

    def conflicts(self) -> Iterator[Conflict]:
        if (self.archive is None) == (self.image is None):
            yield (), "say exactly one of archive and image"
        elif self.archive is not None and self.path is not None:
            yield ("path",), "has a meaning only beside image"


class VolumeSpec(Model):
    driver: Literal["local", "tmpfs", "nfs", "btrfs", "remote"] = "local"
    size: Annotated[Size, Field(ge=1)] | None = None
    """Enforced where the driver can; refused with a reason where it cannot."""
    owner: VolumeOwner = VolumeOwner()
    populate: Populate | None = None
    reclaim: Literal["retain", "delete"] = "retain"
    """What deleting the object does to the data; what is retained the same namespace/name takes back."""
    snapshot_on_apply: StrictBool = False
    options: dict[str, Text] = Field(default_factory=dict)
