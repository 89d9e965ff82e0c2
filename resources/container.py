"""Container: one process tree with its root file system, mounts, networks, limits and life cycle.

The models hold the canonical form: manifests.normalize has rewritten every short form. Defaults stand here and nowhere
else. A field that is None by default is the host's or the image's to fill.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, model_validator

from resources.container_parts import (
    Dns,
    Health,
    Logging,
    Mount,
    NetworkAttachment,
    Port,
    Resources,
    Restart,
    Security,
    Stop,
    Ulimit,
    Update,
    ValueFrom,
)
from resources.meta import Model, Name
from resources.scalars import Size, Text


class ImageOf(Model):
    """An Image of these manifests, by name."""

    name: Name


def _env_name(value: str) -> str:
    if not value or "=" in value or "\0" in value or not value.isprintable():
        raise ValueError("the name of a variable is printable and has no '='")
    return value


EnvName = Annotated[str, AfterValidator(_env_name)]


class Dependency(Model):
    container: Name
    condition: Literal["started", "healthy", "completed"] = "started"
    restart: StrictBool = False


class ContainerSpec(Model):
    image: ImageOf | str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()
    env: dict[EnvName, ValueFrom | Text] = Field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    hostname: str | None = None
    mounts: tuple[Mount, ...] = ()
    networks: tuple[NetworkAttachment, ...] = (NetworkAttachment(name="bridge"),)
    ports: tuple[Port, ...] = ()
    dns: Dns = Dns()
    extra_hosts: dict[str, str] = Field(default_factory=dict)
    depends_on: tuple[Dependency, ...] = ()
    resources: Resources = Resources()
    ulimits: dict[str, Ulimit] = Field(default_factory=dict)
    restart: Restart = Restart()
    health: Health | Literal["none"] | None = None
    state: Literal["running", "paused", "stopped", "created"] | None = None
    auto_remove: StrictBool = False
    stop: Stop = Stop()
    update: Update = Update()
    security: Security = Security()
    logging: Logging = Logging()
    init: StrictBool = False
    tty: StrictBool = False
    stdin: StrictBool = False
    shm_size: Size = 64 * 1024 * 1024
    pid: str = "private"
    ipc: str = "private"
    uts: Literal["private", "host"] = "private"
    cgroupns: Literal["private", "host"] = "private"
    snapshotter: str | None = None

    @model_validator(mode="after")
    def _alone(self) -> Self:
        special = [n for n in self.networks if n.name in ("host", "none") or n.container]
        if special and len(self.networks) > 1:
            raise ValueError("networks: host, none and {container: …} stand alone")
        if special and self.ports:
            raise ValueError("ports: not with the networks host, none or {container: …}")
        targets = [mount.target for mount in self.mounts]
        double = next((t for t in targets if targets.count(t) > 1), None)
        if double:
            raise ValueError(f"mounts: two mounts have the target {double}")
        return self
