"""The parts of a Container's spec, each a frozen model with its defaults."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from resources.meta import Checked, Conflict, Model, Name
from resources.scalars import MAX_INTEGER, Cpus, Duration, FileMode, Size, Text
from resources.secret import DataKey
from resources.words import (
    AbsolutePath,
    Address,
    Argument,
    Cpuset,
    Device,
    DnsName,
    DnsOption,
    Hostname,
    Id,
    InnerPath,
    Ipv4,
    Ipv6,
    Mac,
    PortNumber,
    Signal,
    UrlPath,
)

MAX_COUNT = 2**31 - 1


class ValueFrom(Checked):
    """A value kept elsewhere: one key of a Secret or Config."""

    secret: Name | None = None
    config: Name | None = None
    key: DataKey

    def conflicts(self) -> Iterator[Conflict]:
        if (self.secret is None) == (self.config is None):
            yield (), "say exactly one of secret and config"


class TmpfsMount(Model):
    size: Size | None = None
    mode: FileMode = 0o1777


class ImageMount(Model):
    name: Name


class SignalChange(Model):
    signal: Signal


_SOURCES = {
    "volume": {"read_only", "sub_path", "copy_up"},
    "bind": {"read_only", "propagation", "create"},
    "tmpfs": {"read_only"},
    "secret": {"key", "mode", "uid", "gid", "on_change"},
    "config": {"key", "mode", "uid", "gid", "on_change"},
    "image": {"sub_path"},
}
"""What a mount may come from, and the fields that have a meaning for each."""


class Mount(Checked):
    """Exactly one of volume, bind, tmpfs, secret, config, image says where from."""

    volume: Name | None = None
    bind: AbsolutePath | None = None
    tmpfs: TmpfsMount | None = None
    secret: Name | None = None
    config: Name | None = None
    image: ImageMount | None = None
    target: AbsolutePath
    read_only: StrictBool = False
    """Volume, bind and tmpfs; secrets, configs and images always are."""
    sub_path: InnerPath | None = None
    """Volume and image: a folder of it instead of the whole."""
    copy_up: StrictBool = True
    """Volume: the image's content at the target goes into the volume while it is empty."""
    propagation: Literal["rprivate", "private", "rshared", "shared", "rslave", "slave"] = "rprivate"
    create: StrictBool = False
    """Bind: make the folder when it is missing."""
    key: DataKey | None = None
    """Secret and config: one key as a file; absent, a folder with a file a key."""
    mode: FileMode | None = None
    """Quoted, as in "0400"."""
    uid: Id = 0
    gid: Id = 0
    on_change: Literal["none", "restart"] | SignalChange = "none"
    """Secret and config: what a change of content does: none, restart or {signal: SIGHUP}."""

    @property
    def source(self) -> str:
        """Which of the six it is."""
        return next(name for name in _SOURCES if getattr(self, name) is not None)

    def conflicts(self) -> Iterator[Conflict]:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            yield (), "say exactly one of volume, bind, tmpfs, secret, config and image"
            return
        if self.target == "/":
            yield ("target",), "the root itself cannot be mounted over"
        allowed = _SOURCES[given[0]] | {given[0], "target"}
        for name in sorted(self.changed_fields() - allowed):
            yield (type(self).model_fields[name].alias or name,), f"has no meaning for a {given[0]} mount"


class NetworkAttachment(Checked):
    """One network the container is on, or another container's sandbox."""

    name: Name | None = None
    container: Name | None = None
    aliases: tuple[Hostname, ...] = ()
    ipv4: Ipv4 | None = None
    ipv6: Ipv6 | None = None
    mac: Mac | None = None
    default_route: StrictBool = False

    @property
    def special(self) -> bool:
        """Stands alone: the host's network, none, another's sandbox."""
        return self.container is not None or self.name in ("host", "none")

    def conflicts(self) -> Iterator[Conflict]:
        if (self.name is None) == (self.container is None):
            yield (), "say exactly one of name and container"
        elif self.special and self.changed_fields() - {"name", "container"}:
            yield (), "aliases, addresses and defaultRoute have no meaning for host, none or {container: …}"


class Port(Model):
    """One port; manifests.normalize has taken ranges apart. `host` absent: a free one."""

    container: PortNumber
    host: PortNumber | None = None
    address: Address | None = None
    protocol: Literal["tcp", "udp"] = "tcp"


class Dns(Model):
    servers: tuple[Address, ...] = ()
    search: tuple[DnsName, ...] = ()
    options: tuple[DnsOption, ...] = ()


class Resources(Checked):
    memory: Size | None = None
    memory_reservation: Size | None = None
    swap: Size | None = None
    """In addition to memory."""
    cpus: Cpus | None = None
    cpu_shares: Annotated[int, Field(ge=2, le=262144)] | None = None
    cpuset: Cpuset | None = None
    pids: Annotated[int, Field(ge=1, le=2**22)] = 2048
    io_weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] = 0
    rootfs: Size | None = None

    def conflicts(self) -> Iterator[Conflict]:
        if self.memory is None:
            if self.swap is not None:
                yield ("swap",), "is in addition to memory, which is not limited"
        elif self.memory_reservation is not None and self.memory_reservation > self.memory:
            yield ("memoryReservation",), "is more than memory"


class Ulimit(Checked):
    """-1 is no limit."""

    soft: Annotated[int, Field(ge=-1, le=MAX_INTEGER)]
    hard: Annotated[int, Field(ge=-1, le=MAX_INTEGER)]

    def conflicts(self) -> Iterator[Conflict]:
        if self.hard >= 0 and not 0 <= self.soft <= self.hard:
            yield ("soft",), "is more than hard"


class Backoff(Checked):
    initial: Duration = 100
    max: Duration = 30_000

    def conflicts(self) -> Iterator[Conflict]:
        if self.initial > self.max:
            yield ("initial",), "is longer than max"


class Restart(Model):
    policy: Literal["always", "on-failure", "unless-stopped", "never"] = "never"
    max_retries: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    """0 is no limit."""
    backoff: Backoff = Backoff()


class HttpProbe(Model):
    port: PortNumber
    path: UrlPath = "/"


class TcpProbe(Model):
    port: PortNumber


class Health(Checked):
    exec: tuple[Argument, ...] | None = None
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    interval: Duration = 30_000
    timeout: Duration = 5_000
    retries: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 3
    start_period: Duration = 0
    on_failure: Literal["none", "restart"] = "none"

    def conflicts(self) -> Iterator[Conflict]:
        if sum(probe is not None for probe in (self.exec, self.http, self.tcp)) != 1:
            yield (), "say exactly one of exec, http and tcp"
        if self.exec is not None and not self.exec:
            yield ("exec",), "needs a command"
        for name in ("interval", "timeout"):
            if getattr(self, name) <= 0:
                yield (name,), "must be more than 0"


class Stop(Model):
    signal: Signal | None = None
    """None: the image's, or SIGTERM."""
    timeout: Duration = 10_000


class Update(Model):
    strategy: Literal["recreate", "start-first"] = "recreate"
    drain: Duration = 10_000
    deadline: Duration = 120_000
    shared_volumes: StrictBool = False


class Capabilities(Model):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class UserNamespaceSize(Model):
    size: Annotated[int, Field(ge=1, le=2**24)]


class Security(Model):
    profile: Literal["baseline", "compat", "restricted"] = "baseline"
    run_as_non_root: StrictBool = False
    capabilities: Capabilities = Capabilities()
    privileged: StrictBool = False
    read_only_root: StrictBool = False
    no_new_privileges: StrictBool | None = None
    """None: what the profile says (baseline and restricted true, compat false)."""
    seccomp: str = "default"
    apparmor: str = "default"
    user_namespace: Literal["host", "auto"] | UserNamespaceSize = "host"
    devices: tuple[Device, ...] = ()
    sysctls: dict[str, Text] = Field(default_factory=dict)
    dangerous: tuple[str, ...] = ()


class Logging(Model):
    driver: Literal["file", "journald", "syslog", "none"] = "file"
    max_size: Size = 10 * 1024 * 1024
    max_files: Annotated[int, Field(ge=1, le=1000)] = 3
    options: dict[str, Text] = Field(default_factory=dict)
