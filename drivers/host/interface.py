"""What this machine has, and what of it the engine lacks: facts are read, findings follow from them purely.

A finding says what is so, why it matters and how to mend it. Only `install` changes the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Something of the engine works less well, or is refused, without it."""
    MISSING = "missing"
    """The engine cannot run containers without it."""


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    """A stable word, as in `cgroup`."""
    level: Level
    what: str
    why: str = ""
    fix: str = ""
    package: str = ""
    """Debian's and Ubuntu's name of the package that mends it."""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    path: Path | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class CgroupFacts:
    mode: str
    """v1, hybrid or v2; empty when none is mounted."""
    controllers: frozenset[str] = frozenset()
    """Usable ones."""
    unmounted: tuple[str, ...] = ()
    """On a hybrid host: controllers nobody has mounted as v1."""


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """The OCI runtime that was chosen by trying."""

    name: str = ""
    version: str = ""
    reason: str = ""
    """Why this one; when none works, what each said."""
    holes: tuple[str, ...] = ()
    """Known holes of this version, each with what guards against it."""


@dataclass(frozen=True, slots=True)
class SpaceFacts:
    """The file system of the state root."""

    path: str
    free: int
    total: int
    inodes_free: int
    inodes_total: int
    """0 where the file system does not count them (btrfs)."""


@dataclass(frozen=True, slots=True)
class Facts:
    root_user: bool
    kernel: str
    architecture: str
    cgroup: CgroupFacts
    runtime: RuntimeFacts
    tools: Mapping[str, Tool]
    namespaces: frozenset[str]
    overlay_error: str
    """Why an overlay could not be mounted on the state root; empty when it could."""
    overlay_by_layer: bool
    """The kernel takes an overlay's layers one by one (6.8)."""
    space: SpaceFacts
    open_files: int
    """The hard limit."""
    seccomp: bool
    apparmor: bool
    user_namespaces: int
    run_file_system: str
    """The type of the file system of the run root."""
    clock_behind: float
    """By how many seconds the clock is behind the newest file of this program; 0 when it is not."""
    group: str | None
    """Members of the group that may use the socket, by name; None when there is no such group."""
    network_errors: Mapping[str, str] = field(default_factory=dict)
    """What networks need and could not be had, with why: `links`, `firewall`, `conntrack`, `forwarding`."""
    obstacles: tuple[str, ...] = ()
    """Firewalls of others that are in the way of containers, or leave them open: a line each, with what to do."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install` did, in order, for a person to read."""

    steps: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


class Host(Protocol):
    """This machine. Blocking; `facts` takes some hundred milliseconds, most of them for a container that is tried."""

    def facts(self) -> Facts: ...

    def install(self, findings: Sequence[Finding]) -> Installed:
        """Mend what a package or a group mends. Never raises for what could not be done: it is told instead."""
