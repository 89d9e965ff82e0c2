"""What is observed of a Container (PURE).

An incarnation is one life of a container: everything of it is named from its task ID, the uid and the number of the
incarnation. So a crash leaves nothing that the next look does not find.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drivers.images.interface import Image
from drivers.network.interface import Sandbox, SandboxFiles
from drivers.runtime.interface import TaskState, TaskStatus
from drivers.volumes.interface import VolumeConfig, VolumeState
from reconcilers.container.network_model import Networking
from reconcilers.interface import JobState
from resources.kinds import Kind
from resources.meta import Key

TASK_ID = re.compile(r"(?P<uid>[0-9a-f]{32})[0-9a-f]{32}")
UNKNOWN = "(known after apply)"
PROBES, IO = "probes", "io"
"""Pools of jobs."""
ALIVE = (TaskStatus.CREATED, TaskStatus.RUNNING, TaskStatus.PAUSED)
"""There is a process, though it may not have begun yet."""


class Account(Protocol):
    """Who a process runs as, looked up in the image."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def home(self) -> str: ...


class Host(Protocol):
    """What of this machine finds its way into containers."""

    def gateway(self, *, host_network: bool) -> str:
        """The address that `host-gateway` stands for."""

    def init_program(self) -> Path | None:
        """A static init that can be bound into any root; None when none is installed."""

    def masked(self) -> Sequence[str]:
        """Paths of this host's own hardware to hide from containers, beside those that are hidden everywhere."""


def task_id(uid: str, number: int) -> str:
    return f"{uid}{number:032x}"


def number_of(name: str) -> int:
    return int(name[32:64], 16)


def jobs_of(uid: str) -> str:
    return f"container:{uid}"


def probe_job(uid: str) -> str:
    return f"{jobs_of(uid)}/probe"


def copy_up_job(uid: str, volume_id: str) -> str:
    return f"{jobs_of(uid)}/copy-up-{volume_id}"


def anonymous_prefix(uid: str) -> str:
    """What the IDs of all anonymous volumes of a container begin with."""
    return uid[:16]


def anonymous_volume(uid: str, target: str) -> VolumeConfig:
    """The volume behind a VOLUME of the image: it belongs to the container, over all its lives."""
    digest = hashlib.sha256(target.encode()).hexdigest()[:16]
    return VolumeConfig(anonymous_prefix(uid) + digest, f"{uid}/{digest}")


def owner_of(volume: VolumeState) -> str:
    """The uid of the container that an anonymous volume belongs to."""
    return volume.claim.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Incarnation:
    """What is there of one life."""

    id: str
    task: TaskState | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    """Parents by key: the writable layer under the task ID, image mounts under `<task ID>.<slot>`."""
    mounted: frozenset[str] = frozenset()
    """Names of its mounted root file systems."""
    sandbox: Sandbox | None = None
    staged: bool = False
    projections: Mapping[str, "Projection"] = field(default_factory=dict)
    named: bool = False
    """The resolver may serve it."""

    @property
    def applied(self) -> Mapping[str, Any]:
        return self.task.applied if self.task else {}

    @property
    def alive(self) -> bool:
        return self.task is not None and self.task.status in ALIVE


@dataclass(frozen=True, slots=True)
class Projection:
    version: str | None
    intact: bool = True


@dataclass(frozen=True, slots=True)
class VolumeView:
    """The volume behind a mount, as its driver sees it."""

    uid: str
    driver: str
    state: VolumeState | None
    seeded: bool = True
    """Its manifest names nothing to populate it with, or that has been done."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A namespace of another container to join."""

    token: str
    """Changes when it has become another one."""
    path: Path | None = None
    sandbox_id: str = ""
    host: bool = False
    """Of a sandbox: it has no namespace but the host's."""


@dataclass(frozen=True, slots=True)
class Observed:
    uid: str
    incarnations: tuple[Incarnation, ...] = ()
    """Oldest first."""
    image: Image | None = None
    """None when some of its content is not here."""
    unpacked: bool = False
    outdated: frozenset[str] = frozenset()
    """When planning: targets of images that are to be made of something else than they are; "" is that of the root."""
    images: Mapping[str, Image] = field(default_factory=dict)
    """Images mounted, by target, as far as they are here and unpacked."""
    volumes: Mapping[str, VolumeView] = field(default_factory=dict)
    """By target."""
    anonymous: Mapping[str, VolumeState] = field(default_factory=dict)
    """Volumes of its own that its image asks for, or once did, by ID."""
    started: Mapping[str, str] = field(default_factory=dict)
    """For each dependency whose restart is ours too and that runs: which of its lives and attempts."""
    shared: Mapping[str, Shared] = field(default_factory=dict)
    """`network`, `pid`, `ipc`, as far as the other container has them."""
    files: SandboxFiles | None = None
    """What its hostname, hosts and resolv.conf shall say; None where it uses another container's."""
    files_match: bool = True
    network: Networking = field(default_factory=Networking)
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    log_size: int = 0

    @property
    def current(self) -> Incarnation | None:
        return self.incarnations[-1] if self.incarnations else None


def key_of(name: str) -> Key:
    """The object that something named from a task ID belongs to."""
    return Key(kind=Kind.CONTAINER, uid=name[:32])
