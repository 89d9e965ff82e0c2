"""What is observed of a Container, and the actions that make it so (PURE).

An incarnation is one life of a container: everything of it is named from its task ID, the uid and the number of the
incarnation. So a crash leaves nothing that the next look does not find.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from drivers.images.interface import Image, ImageConfig
from drivers.network.interface import Sandbox, SandboxFiles
from drivers.runtime.interface import Limits, LogConfig, TaskState
from drivers.volumes.interface import VolumeState
from reconcilers.interface import JobState
from resources.container import ContainerSpec
from resources.container_parts import Health
from resources.kinds import Kind
from resources.meta import Key
from resources.secret import Sealed

TASK_ID = re.compile(r"(?P<uid>[0-9a-f]{32})[0-9a-f]{32}")
PROBES, IO = "probes", "io"
"""Pools of jobs."""


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


def task_id(uid: str, number: int) -> str:
    return f"{uid}{number:032x}"


def number_of(name: str) -> int:
    return int(name[32:64], 16)


def probe_job(uid: str) -> str:
    return f"container:{uid}/probe"


def copy_up_job(uid: str, volume_id: str) -> str:
    return f"container:{uid}/copy-up-{volume_id}"


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

    @property
    def applied(self) -> Mapping[str, Any]:
        return self.task.applied if self.task else {}


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


@dataclass(frozen=True, slots=True)
class Observed:
    uid: str
    incarnations: tuple[Incarnation, ...] = ()
    """Oldest first."""
    image: Image | None = None
    """None when some of its content is not here."""
    unpacked: bool = False
    images: Mapping[str, Image] = field(default_factory=dict)
    """Images mounted, by target, as far as they are here and unpacked."""
    volumes: Mapping[str, VolumeView] = field(default_factory=dict)
    """By target."""
    started: Mapping[str, str] = field(default_factory=dict)
    """For each dependency whose restart is ours too and that runs: which of its lives and attempts."""
    shared: Mapping[str, Shared] = field(default_factory=dict)
    """`network`, `pid`, `ipc`, as far as the other container has them."""
    files: SandboxFiles | None = None
    """What its hostname, hosts and resolv.conf shall say; None where it uses another container's."""
    files_match: bool = True
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    log_size: int = 0

    @property
    def current(self) -> Incarnation | None:
        return self.incarnations[-1] if self.incarnations else None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a process is made from."""

    name: str
    namespace: str
    hostname: str
    spec: ContainerSpec
    image: ImageConfig
    env: Mapping[str, Sealed | str]
    """Values from Secrets (sealed) and Configs (base64), by variable; the others are in `spec`."""


# ---- actions


@dataclass(frozen=True, slots=True)
class PrepareSnapshot:
    key: str
    parent: str
    view: bool = False

    def describe(self) -> str:
        return "prepare a view of the image" if self.view else "prepare the writable layer"


@dataclass(frozen=True, slots=True)
class MountRootfs:
    name: str

    def describe(self) -> str:
        return "mount the root file system" if "." not in self.name else "mount an image"


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    sandbox_id: str
    pid: int | None = None
    """The process whose namespace it is, when only its name has been lost."""

    def describe(self) -> str:
        return "make the network namespace" if self.pid is None else "name the network namespace again"


@dataclass(frozen=True, slots=True)
class WriteSandboxFiles:
    sandbox_id: str
    files: SandboxFiles

    def describe(self) -> str:
        return "write hostname, hosts and resolv.conf"


@dataclass(frozen=True, slots=True)
class ProjectContent:
    projection_id: str
    what: str
    version: str
    files: Mapping[str, Sealed | str]
    """Sealed values of a Secret, base64 of a Config."""
    mode: int
    uid: int
    gid: int
    in_place: bool

    def describe(self) -> str:
        return f"write the files of {self.what}"


@dataclass(frozen=True, slots=True)
class ProjectedAt:
    projection_id: str
    key: str | None


@dataclass(frozen=True, slots=True)
class MountedAt:
    """An image mount, by the name it is mounted under."""

    name: str


@dataclass(frozen=True, slots=True)
class InitProgram:
    """The static init of the host."""


@dataclass(frozen=True, slots=True)
class StageBind:
    task_id: str
    slot: str
    target: str
    source: "Path | ProjectedAt | MountedAt | InitProgram"
    inner: str = ""
    create: bool = False

    def describe(self) -> str:
        return f"hold the source of {self.target}"


@dataclass(frozen=True, slots=True)
class CopyUpVolume:
    """As a job: copy what the image has at the target into the new volume, once."""

    uid: str
    task_id: str
    volume_id: str
    driver: str
    target: str
    attempt: int

    def describe(self) -> str:
        return f"fill the volume at {self.target} with the image's content"


@dataclass(frozen=True, slots=True)
class CreateTask:
    task_id: str
    attempt: int
    recipe: Recipe
    binds: tuple[StageBind, ...]
    sandbox_id: str
    """Whose network namespace is joined; "" for the host's."""
    files_id: str
    """Whose hostname, hosts and resolv.conf are bound."""
    shared: Mapping[str, Path]
    applied: Mapping[str, Any]
    limits: Limits
    log: LogConfig

    def describe(self) -> str:
        return "create the process" if self.attempt == 1 else f"create the process (attempt {self.attempt})"


@dataclass(frozen=True, slots=True)
class StartTask:
    task_id: str
    attempt: int

    def describe(self) -> str:
        return "start the process"


@dataclass(frozen=True, slots=True)
class SignalTask:
    task_id: str
    attempt: int
    signal: int
    stopping: datetime | None = None
    """Set when it shall end: since when, so that it is known when to kill it."""
    everything: bool = False

    def describe(self) -> str:
        return f"send signal {self.signal}"


@dataclass(frozen=True, slots=True)
class PauseTask:
    task_id: str

    def describe(self) -> str:
        return "pause the processes"


@dataclass(frozen=True, slots=True)
class ResumeTask:
    task_id: str

    def describe(self) -> str:
        return "resume the processes"


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    task_id: str
    limits: Limits

    def describe(self) -> str:
        return "set the limits of the cgroup"


@dataclass(frozen=True, slots=True)
class RecordExit:
    task_id: str
    exit_code: int | None
    oom_killed: bool

    def describe(self) -> str:
        code = "an unknown code" if self.exit_code is None else str(self.exit_code)
        return f"exited with {code}{', out of memory' if self.oom_killed else ''}"


@dataclass(frozen=True, slots=True)
class RecordApplied:
    task_id: str
    applied: Mapping[str, Any]

    def describe(self) -> str:
        return "record what is applied"


@dataclass(frozen=True, slots=True)
class StartProbe:
    """As a job: probe once and note the answer."""

    quiet: ClassVar[bool] = True
    """Not worth an event each time."""

    uid: str
    task_id: str
    attempt: int
    started_at: datetime
    check: Health
    sandbox_id: str
    """"" for the host's network."""
    recipe: Recipe
    account: Mapping[str, Any]
    """uid, gid, groups, home: as found when the task was made."""

    def describe(self) -> str:
        return "probe its health"


@dataclass(frozen=True, slots=True)
class RotateLog:
    task_id: str
    max_size: int
    max_files: int

    def describe(self) -> str:
        return "rotate the log"


@dataclass(frozen=True, slots=True)
class DeleteTask:
    task_id: str

    def describe(self) -> str:
        return "delete the process and its record"


@dataclass(frozen=True, slots=True)
class Unstage:
    task_id: str

    def describe(self) -> str:
        return "let go of the sources of its mounts"


@dataclass(frozen=True, slots=True)
class DeleteProjection:
    projection_id: str

    def describe(self) -> str:
        return "delete the files of a secret or config"


@dataclass(frozen=True, slots=True)
class UnmountRootfs:
    name: str

    def describe(self) -> str:
        return "unmount the root file system" if "." not in self.name else "unmount an image"


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    key: str

    def describe(self) -> str:
        return "remove the view of an image" if "." in self.key else "remove the writable layer"


@dataclass(frozen=True, slots=True)
class DropSandbox:
    sandbox_id: str

    def describe(self) -> str:
        return "drop the network namespace"


@dataclass(frozen=True, slots=True)
class ForgetJob:
    job_id: str

    def describe(self) -> str:
        return "forget its jobs"


ContainerAction = (
    PrepareSnapshot
    | MountRootfs
    | CreateSandbox
    | WriteSandboxFiles
    | ProjectContent
    | StageBind
    | CopyUpVolume
    | CreateTask
    | StartTask
    | SignalTask
    | PauseTask
    | ResumeTask
    | UpdateLimits
    | RecordExit
    | RecordApplied
    | StartProbe
    | RotateLog
    | DeleteTask
    | Unstage
    | DeleteProjection
    | UnmountRootfs
    | RemoveSnapshot
    | DropSandbox
    | ForgetJob
)


def key_of(name: str) -> Key:
    """The object that something named from a task ID belongs to."""
    return Key(kind=Kind.CONTAINER, uid=name[:32])
