"""Image: where content comes from and what is overridden of its config."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resources.meta import Model, Name
from resources.scalars import Duration, Text


class Build(Model):
    context: str
    dockerfile: str = "Dockerfile"
    target: str | None = None
    args: dict[str, Text] = Field(default_factory=dict)
    labels: dict[str, Text] = Field(default_factory=dict)
    cache_from: tuple[str, ...] = ()


class ImageSource(Model):
    registry: str | None = None
    archive: str | None = None
    layout: str | None = None
    rootfs: str | None = None
    build: Build | None = None

    @property
    def type(self) -> str:
        return next(n for n in ("registry", "archive", "layout", "rootfs", "build") if getattr(self, n) is not None)

    @model_validator(mode="after")
    def _one(self) -> Self:
        names = ("registry", "archive", "layout", "rootfs", "build")
        if sum(getattr(self, n) is not None for n in names) != 1:
            raise ValueError("say exactly one of registry, archive, layout, rootfs and build")
        return self


class ImageAuth(Model):
    secret: Name


class Verify(Model):
    keys: tuple[str, ...]


class ConfigOverrides(Model):
    """Overrides of the image's config; absent is the image's own, env is merged."""

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: dict[str, Text] = Field(default_factory=dict)
    user: str | None = None
    working_dir: str | None = None
    exposed_ports: tuple[str, ...] | None = None
    stop_signal: str | None = None


class ImageSpec(Model):
    source: Annotated[ImageSource, Field(alias="from")]
    platform: Annotated[str, Field(pattern=r"^linux/[a-z0-9]+(/[a-z0-9]+)?$")] | None = None
    pull: Literal["missing", "always", "never"] = "missing"
    auth: ImageAuth | None = None
    verify: Verify | None = None
    track: Duration | None = None
    config: ConfigOverrides = ConfigOverrides()
    tags: tuple[str, ...] = ()
    push: tuple[str, ...] = ()
