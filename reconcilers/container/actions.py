"""The actions that make a Container what it is to be (PURE)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from drivers.images.interface import ImageConfig
from drivers.network.interface import SandboxFiles
from drivers.runtime.interface import Limits, LogConfig
from drivers.volumes.interface import VolumeConfig
from reconcilers.container.network_actions import NetworkAction
from resources.container import ContainerSpec
from resources.container_parts import Health
from resources.secret import Sealed


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
class HostPath:
    """A path an operator names, and the dangers the manifest names with it."""

    path: Path
    dangerous: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InitProgram:
    """The static init of the host."""


@dataclass(frozen=True, slots=True)
class AnonymousAt:
    """A volume of the container's own, by its ID."""

    volume_id: str


@dataclass(frozen=True, slots=True)
class StageBind:
    task_id: str
    slot: str
    target: str
    source: "Path | HostPath | ProjectedAt | MountedAt | AnonymousAt | InitProgram"
    inner: str = ""
    create: bool = False

    def describe(self) -> str:
        return f"hold the source of {self.target}"


@dataclass(frozen=True, slots=True)
class CreateAnonymous:
    config: VolumeConfig
    target: str

    def describe(self) -> str:
        return f"make a volume for {self.target}, which the image asks for"


@dataclass(frozen=True, slots=True)
class DeleteAnonymous:
    volume_id: str

    def describe(self) -> str:
        return "delete a volume that an image asked for, with its data"


@dataclass(frozen=True, slots=True)
class CopyUpVolume:
    """As a job: copy what the image has at the target into the new volume, once."""

    uid: str
    task_id: str
    volume_id: str
    driver: str | None
    """None for a volume of the container's own."""
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
    quiet: ClassVar[bool] = True

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
    quiet: ClassVar[bool] = True

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
    | CreateAnonymous
    | DeleteAnonymous
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
    | NetworkAction
)
