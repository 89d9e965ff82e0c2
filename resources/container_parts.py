"""The parts of a Container's spec, each a frozen model with its defaults."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, model_validator

from resources.meta import Model, Name
from resources.scalars import Cpus, Duration, FileMode, Size, Text

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


def _absolute(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts or "\0" in value or not value.isprintable():
        raise ValueError("must be an absolute path without '..' or control characters")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _inside(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or "\0" in value or not value.isprintable():
        raise ValueError("must be a relative path without '..' or control characters")
    return value


def _ipv4(value: str) -> str:
    return str(ipaddress.IPv4Address(value))


def _ipv6(value: str) -> str:
    return str(ipaddress.IPv6Address(value))


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _mac(value: str) -> str:
    if _MAC.fullmatch(value) is None or int(value[:2], 16) & 1:
        raise ValueError('must be a unicast MAC address such as "02:42:0a:2a:00:0a"')
    return value.lower()


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
InnerPath = Annotated[str, AfterValidator(_inside)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Id = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ValueFrom(Model):
    """A value kept elsewhere: one key of a Secret or Config."""

    secret: Name | None = None
    config: Name | None = None
    key: str

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret is None) == (self.config is None):
            raise ValueError("say exactly one of secret and config")
        return self


class TmpfsMount(Model):
    size: Size | None = None
    mode: FileMode = 0o1777


class ImageMount(Model):
    name: Name


class SignalChange(Model):
    signal: str


class Mount(Model):
    """Exactly one of volume, bind, tmpfs, secret, config, image says where from."""

    volume: Name | None = None
    bind: AbsolutePath | None = None
    tmpfs: TmpfsMount | None = None
    secret: Name | None = None
    config: Name | None = None
    image: ImageMount | None = None
    target: AbsolutePath
    read_only: StrictBool = False
    sub_path: InnerPath | None = None
    copy_up: StrictBool = True
    propagation: Literal["rprivate", "private", "rshared", "shared", "rslave", "slave"] = "rprivate"
    create: StrictBool = False
    key: str | None = None
    mode: FileMode | None = None
    uid: Id = 0
    gid: Id = 0
    on_change: Literal["none", "restart"] | SignalChange = "none"

    @property
    def source(self) -> str:
        """Which of the six it is."""
        return next(s for s in ("volume", "bind", "tmpfs", "secret", "config", "image") if getattr(self, s) is not None)

    @model_validator(mode="after")
    def _one(self) -> Self:
        names = ("volume", "bind", "tmpfs", "secret", "config", "image")
        given = [n for n in names if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("say exactly one of volume, bind, tmpfs, secret, config and image")
        if self.target == "/":
            raise ValueError("target: the root itself cannot be mounted over")
        allowed = {
            "volume": {"read_only", "sub_path", "copy_up"},
            "bind": {"read_only", "propagation", "create"},
            "tmpfs": {"read_only"},
            "secret": {"key", "mode", "uid", "gid", "on_change"},
            "config": {"key", "mode", "uid", "gid", "on_change"},
            "image": {"sub_path"},
        }[given[0]] | {given[0], "target"}
        other = [n for n in sorted(self.changed_fields()) if n not in allowed]
        if other:
            alias = type(self).model_fields[other[0]].alias or other[0]
            raise ValueError(f"{alias}: has no meaning for a {given[0]} mount")
        return self


class NetworkAttachment(Model):
    name: Name | None = None
    container: Name | None = None
    aliases: tuple[str, ...] = ()
    ipv4: Annotated[str, AfterValidator(_ipv4)] | None = None
    ipv6: Annotated[str, AfterValidator(_ipv6)] | None = None
    mac: Annotated[str, AfterValidator(_mac)] | None = None
    default_route: StrictBool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.name is None) == (self.container is None):
            raise ValueError("say exactly one of name and container")
        if (self.container or self.name in ("host", "none")) and self.model_fields_set - {
            "name",
            "container",
        }:
            raise ValueError("aliases, addresses and defaultRoute have no meaning for host, none or {container: …}")
        return self


class Port(Model):
    """One port; manifests.normalize has taken ranges apart. `host` absent: a free one."""

    container: PortNumber
    host: PortNumber | None = None
    address: Annotated[str, AfterValidator(_address)] | None = None
    protocol: Literal["tcp", "udp"] = "tcp"


class Dns(Model):
    servers: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Resources(Model):
    memory: Size | None = None
    memory_reservation: Size | None = None
    swap: Size | None = None
    cpus: Cpus | None = None
    cpu_shares: Annotated[int, Field(ge=2, le=262144)] | None = None
    cpuset: Annotated[str, Field(pattern=r"^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$")] | None = None
    pids: Annotated[int, Field(ge=1)] = 2048
    io_weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] = 0
    rootfs: Size | None = None


class Ulimit(Model):
    soft: Annotated[int, Field(ge=-1)]
    hard: Annotated[int, Field(ge=-1)]


class Backoff(Model):
    initial: Duration = 100
    max: Duration = 30_000


class Restart(Model):
    policy: Literal["always", "on-failure", "unless-stopped", "never"] = "never"
    max_retries: Annotated[int, Field(ge=0)] = 0
    """0 is no limit."""
    backoff: Backoff = Backoff()


class HttpProbe(Model):
    port: PortNumber
    path: Annotated[str, Field(pattern=r"^/[\x21-\x7e]*$")] = "/"


class TcpProbe(Model):
    port: PortNumber


class Health(Model):
    exec: tuple[str, ...] | None = None
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    interval: Duration = 30_000
    timeout: Duration = 5_000
    retries: Annotated[int, Field(ge=1)] = 3
    start_period: Duration = 0
    on_failure: Literal["none", "restart"] = "none"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(probe is not None for probe in (self.exec, self.http, self.tcp)) != 1:
            raise ValueError("say exactly one of exec, http and tcp")
        if self.exec is not None and not self.exec:
            raise ValueError("exec: needs a command")
        if self.interval <= 0 or self.timeout <= 0:
            raise ValueError("interval and timeout must be more than 0")
        return self


class Stop(Model):
    signal: str | None = None
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
    devices: tuple[str, ...] = ()
    sysctls: dict[str, Text] = Field(default_factory=dict)
    dangerous: tuple[str, ...] = ()


class Logging(Model):
    driver: Literal["file", "journald", "syslog", "none"] = "file"
    max_size: Size = 10 * 1024 * 1024
    max_files: Annotated[int, Field(ge=1, le=1000)] = 3
    options: dict[str, Text] = Field(default_factory=dict)
