"""Container: one process tree with its root file system, mounts, networks, limits and life cycle.

The models hold the canonical form: manifests.normalize has rewritten every short form. Defaults stand here and nowhere
else. A field that is None by default is the host's or the image's to fill.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

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
from resources.meta import Checked, Conflict, Model, Name, check_name
from resources.ports import overlap
from resources.scalars import Size, Text
from resources.words import (
    AbsolutePath,
    Argument,
    EnvName,
    Group,
    HostAddress,
    Hostname,
    ImageReference,
    LocalPath,
    User,
)


class ImageOf(Model):
    """An Image of these manifests, by name."""

    name: Name


def _shared(value: str) -> str:
    kind, colon, name = value.partition(":")
    if value not in ("private", "host"):
        if kind != "container" or not colon:
            raise ValueError("is one of private, host and container:NAME")
        check_name(name)
    return value


Shared = Annotated[str, AfterValidator(_shared)]
"""Whose namespace."""


class Dependency(Model):
    container: Name
    condition: Literal["started", "healthy", "completed"] = "started"
    restart: StrictBool = False


class ContainerSpec(Checked):
    image: ImageOf | ImageReference
    """A reference, or {name: …} for an Image of these manifests."""
    entrypoint: tuple[Argument, ...] | None = None
    """Absent: the image's; [] is none. Setting it drops the image's command."""
    command: tuple[Argument, ...] | None = None
    working_dir: AbsolutePath | None = None
    user: User | None = None
    """Name or number, with an optional group: "101:101"."""
    groups: tuple[Group, ...] = ()
    env: dict[EnvName, ValueFrom | Text] = Field(default_factory=dict)
    env_file: tuple[LocalPath, ...] = ()
    """Files of NAME=value lines, relative to the manifest."""
    hostname: Hostname | None = None
    mounts: tuple[Mount, ...] = ()
    networks: tuple[NetworkAttachment, ...] = (NetworkAttachment(name="bridge"),)
    ports: tuple[Port, ...] = ()
    dns: Dns = Dns()
    extra_hosts: dict[Hostname, HostAddress] = Field(default_factory=dict)
    """Names for /etc/hosts: an address, or host-gateway."""
    depends_on: tuple[Dependency, ...] = ()
    """Gates starting: a name, or {container, condition: started | healthy | completed, restart}."""
    resources: Resources = Resources()
    ulimits: dict[str, Ulimit] = Field(default_factory=dict)
    """By name: nofile, nproc, core, …"""
    restart: Restart = Restart()
    health: Health | Literal["none"] | None = None
    """A probe (exec, http or tcp); none drops the image's."""
    state: Literal["running", "paused", "stopped", "created"] | None = None
    """Absent: running at first, then a stop by hand is respected."""
    auto_remove: StrictBool = False
    stop: Stop = Stop()
    update: Update = Update()
    security: Security = Security()
    logging: Logging = Logging()
    init: StrictBool = False
    tty: StrictBool = False
    stdin: StrictBool = False
    shm_size: Size = 64 * 1024 * 1024
    pid: Shared = "private"
    ipc: Shared = "private"
    uts: Literal["private", "host"] = "private"
    cgroupns: Literal["private", "host"] = "private"
    snapshotter: Name | None = None

    def conflicts(self) -> Iterator[Conflict]:
        for number, network in enumerate(self.networks):
            if network.special and len(self.networks) > 1:
                yield ("networks", number), "host, none and {container: …} stand alone"
        alone = next((network for network in self.networks if network.special), None)
        if self.ports and alone is not None:
            yield ("ports",), _WITHOUT_PORTS.get(alone.name, "publish them with that container: leave ports out here")
        yield from self._mounts_apart()
        yield from _twice("networks", [network.name for network in self.networks], "the network {}")
        yield from _twice("dependsOn", [other.container for other in self.depends_on], "the container {}")
        yield from self._ports_apart()
        routes = [number for number, network in enumerate(self.networks) if network.default_route]
        if len(routes) > 1:
            yield ("networks", routes[1], "defaultRoute"), "another network has it already"

    def _ports_apart(self) -> Iterator[Conflict]:
        seen: dict[tuple[int, str], list[Port]] = {}
        for number, port in enumerate(self.ports):
            if port.host is None:
                continue
            others = seen.setdefault((port.host, port.protocol), [])
            other = next((one for one in others if overlap(one.address, port.address)), None)
            others.append(port)
            if other is not None:
                at = f" at {other.address}" if other.address else ""
                yield ("ports", number), f"the host's port {port.host}/{port.protocol}{at} stands twice"

    def _mounts_apart(self) -> Iterator[Conflict]:
        yield from _twice("mounts", [mount.target for mount in self.mounts], "the target {}")
        files = {mount.target for mount in self.mounts if mount.key is not None}
        for number, mount in enumerate(self.mounts):
            parents = (str(parent) for parent in PurePosixPath(mount.target).parents)
            file = next((parent for parent in parents if parent in files), None)
            if file is not None:
                yield ("mounts", number, "target"), f"lies below {file}, where another mount puts a file"


_WITHOUT_PORTS: Mapping[str | None, str] = {
    "host": "on the host's network the process' own port is open on the host: leave ports out",
    "none": "on no network nothing is reached from outside: leave ports out",
}


def _twice(field: str, values: list[str | None], what: str) -> Iterator[Conflict]:
    seen: set[str] = set()
    for number, value in enumerate(values):
        if value is None:
            continue
        if value in seen:
            yield (field, number), f"{what.format(value)} stands twice"
        seen.add(value)
