"""Image: where content comes from and what is overridden of its config."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from resources.meta import Checked, Conflict, Model, Name
from resources.scalars import Duration, Text
from resources.words import (
    AbsolutePath,
    Argument,
    EnvName,
    ExposedPort,
    ImageReference,
    LocalPath,
    Platform,
    Signal,
    Tag,
    User,
)

_SOURCES = ("registry", "archive", "layout", "rootfs", "build")


class Build(Model):
    context: LocalPath
    dockerfile: LocalPath = "Dockerfile"
    target: str | None = None
    args: dict[str, Text] = Field(default_factory=dict)
    labels: dict[str, Text] = Field(default_factory=dict)
    cache_from: tuple[str, ...] = ()


class ImageSource(Checked):
    """Exactly one of them."""

    registry: ImageReference | None = None
    archive: LocalPath | None = None
    """docker save or OCI archive; plain, gzip or zstd."""
    layout: LocalPath | None = None
    """Folder with an OCI image layout."""
    rootfs: LocalPath | None = None
    """A bare root file system: tar or folder."""
    build: Build | None = None

    @property
    def type(self) -> str:
        return next(name for name in _SOURCES if getattr(self, name) is not None)

    def conflicts(self) -> Iterator[Conflict]:
        if sum(getattr(self, name) is not None for name in _SOURCES) != 1:
            yield (), "say exactly one of registry, archive, layout, rootfs and build"


class ImageAuth(Model):
    secret: Name


class Verify(Model):
    keys: tuple[LocalPath, ...]


class ConfigOverrides(Model):
    """Overrides of the image's config; absent is the image's own, env is merged."""

    entrypoint: tuple[Argument, ...] | None = None
    command: tuple[Argument, ...] | None = None
    env: dict[EnvName, Text] = Field(default_factory=dict)
    user: User | None = None
    working_dir: AbsolutePath | None = None
    exposed_ports: tuple[ExposedPort, ...] | None = None
    stop_signal: Signal | None = None


class ImageSpec(Model):
    source: Annotated[ImageSource, Field(alias="from")]
    platform: Platform | None = None
    pull: Literal["missing", "always", "never"] = "missing"
    auth: ImageAuth | None = None
    verify: Verify | None = None
    track: Duration | None = None
    config: ConfigOverrides = ConfigOverrides()
    tags: tuple[Tag, ...] = ()
    """Further local names."""
    push: tuple[Tag, ...] = ()
