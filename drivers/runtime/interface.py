"""The contract of the runtime driver: tasks (the running process of a container), under an OCI runtime and conmon.

A task is known by its ID: 64 hex digits, the uid of the object (32) and its incarnation (32, zero-padded). A restart
of the same incarnation is a new *attempt* under the same ID: the old OCI container is deleted and created again on the
same writable layer.

Where things are: `<run root>/tasks/<id>/` holds bundle (config.json), sockets, conmon's pid, exit files: gone after a
reboot. `<root>/tasks/<id>/` holds `record.json` (what was applied, incarnation, attempts, exit code, finished at, boot
id) and the logs: there after a reboot.

Tasks outlive this process and are found again by `list`, in milliseconds, by reading files and /proc, without running
the runtime (host.md §1). A pid counts only together with its start time (/proc/PID/stat field 22).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class TaskStatus(StrEnum):
    PREPARED = "prepared"
    """A record, but no process: create was interrupted, or the process was deleted after its exit."""
    CREATED = "created"
    """The OCI runtime has created it; start has not been called."""
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """The process has exited; exit code and time are known, or known to be unknowable."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Cgroup limits, in the kernel's base units; None is no limit of ours."""

    memory: int | None = None
    memory_reservation: int | None = None
    swap: int | None = None
    """In addition to memory."""
    cpu_millis: int | None = None
    cpu_shares: int | None = None
    cpuset: str | None = None
    pids: int | None = None
    io_weight: int | None = None


@dataclass(frozen=True, slots=True)
class LogConfig:
    driver: str = "file"
    """`file` or `none`."""
    max_size: int = 10 * 1024 * 1024
    max_files: int = 3


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """Everything create needs. `spec` is a complete config.json by the OCI runtime spec, but for what only the driver
    knows: it fills `root.path`, `linux.cgroupsPath`, the seccomp default errno for its runtime, and checks rootfs."""

    id: str
    spec: Mapping[str, Any]
    rootfs: Path
    """Mounted by the caller."""
    cgroup_parent: str
    """Name of the group below the engine's own: one cgroup.kill ends a namespace."""
    applied: Mapping[str, Any]
    """Kept in the record: what this task was made from. Holds no secret."""
    attempt: int
    limits: Limits = field(default_factory=Limits)
    log: LogConfig = field(default_factory=LogConfig)
    terminal: bool = False
    stdin: bool = False
    masked: tuple[str, ...] = ()
    """Paths start verifies to be masked; the same list as spec's."""
    readonly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskState:
    id: str
    status: TaskStatus
    applied: Mapping[str, Any]
    attempt: int
    pid: int | None = None
    start_time: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    """None while running, and when it cannot be known (`exit_known` False)."""
    exit_known: bool = False
    oom_killed: bool = False
    recorded: bool = False
    """Whether the exit is in the record, so that it survives a reboot."""
    supervised: bool = True
    """Whether conmon lives."""
    rebooted: bool = False
    """The task ran under an earlier boot: its exit code is unknowable."""
    error: str = ""
    """Why the last attempt could not be created or started, as recorded by `record_failure`."""
    limits: Limits | None = None
    """What the cgroup says now, None when it is gone. Fields the driver cannot read back are None.

    `cpu_shares`, `cpuset` and `io_weight` have a value in the kernel even where no limit was asked for: what the spec
    is silent on is not compared. What the kernel merely rounds (pages, weights) is given as it was asked for."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What `annotate` has written."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """One process to run in a task (exec). `user` is numeric already: uid, gid, additional gids."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    """On top of the task's own."""
    cwd: str
    """"" is the task's own."""
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    terminal: bool = False
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = True
    rows: int = 0
    columns: int = 0


class Stream(Protocol):
    """A process' standard streams, as exec and attach give them. File descriptors are non-inheritable."""

    def fileno(self) -> int:
        """Becomes readable when `read` has something."""

    def read(self) -> tuple[str, bytes] | None:
        """Wait for output: (`stdout` | `stderr`, bytes); None when there will be no more. A tty is all `stdout`."""

    def write(self, data: bytes) -> None:
        """Write to standard input. Raises: FailedPrecondition when it is closed."""

    def close_stdin(self) -> None:
        """End of input. An attached task without a terminal sees it too, as it does when the last writer leaves."""

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; nothing happens without one."""

    def wait(self) -> int:
        """Exec: wait for the exit code (128 + n for a signal). Attach: the task's, -1 when unknown."""

    def kill(self, signal: int) -> None:
        """Exec: signal the process. Attach: nothing."""

    def close(self) -> None:
        """Let go. An exec still running is killed, an attached task goes on."""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    name: str
    path: Path
    version: str
    reason: str
    """Why this one: "preferred", or what the preferred one said when it was tried."""
    known_issues: tuple[str, ...] = ()


class Runtime(Protocol):
    """Run OCI tasks. Blocking, callable from many threads, never twice at once for one ID."""

    def info(self) -> RuntimeInfo:
        """Which runtime was chosen, by trying it, and why.

        Raises: Unavailable when none works, saying what to install.
        """

    def create(self, config: TaskConfig) -> None:
        """Write the record, then bundle, then create the OCI container under a conmon; the process waits to be started.

        Idempotent after a crash at any point: what an earlier try left (OCI state, conmon, cgroup) is removed first
        unless it is a created task of the same attempt. A running task is Conflict.

        Before the runtime is run, `dev`, `proc`, `sys` and what is below them in the root are checked for symlinks
        (threats.md F2). Raises: FailedPrecondition (guard, missing executable, bad rootfs), Unavailable, Conflict.
        """

    def start(self, task_id: str) -> None:
        """Start the created process, after masked and read-only paths were verified in its mountinfo; a task that fails
        the check is killed before it runs. Started already: fine.

        Raises: FailedPrecondition, e.g. the executable is not there; NotFound when nothing was created.
        """

    def state(self, task_id: str) -> TaskState | None: ...

    def list(self, prefix: str = "") -> Sequence[TaskState]:
        """Every task with a record or a bundle, whose ID begins so: with a uid, the lives of one container."""

    def kill(self, task_id: str, signal: int, *, everything: bool = False) -> None:
        """Signal the process, or every process of its cgroup. Not running: fine."""

    def pause(self, task_id: str) -> None: ...

    def resume(self, task_id: str) -> None: ...

    def update(self, task_id: str, limits: Limits) -> None:
        """Change the limits of a running task, untouched otherwise. Lower before raise where the kernel wants an order.

        Raises: FailedPrecondition when the kernel refuses (memory below use), naming the limit.
        """

    def record_exit(self, task_id: str) -> None:
        """Write exit code, time and OOM of a stopped task into its record, so that they survive a reboot."""

    def record_applied(self, task_id: str, applied: Mapping[str, Any]) -> None:
        """Replace what the record says was applied, after a hot change. Durable."""

    def record_failure(self, task_id: str, attempt: int, error: str) -> None:
        """Write that an attempt could not be created or started; makes the record when there is none."""

    def annotate(self, task_id: str, notes: Mapping[str, Any]) -> None:
        """Merge small JSON values that shall survive the engine but not a reboot (last health, asked-for stop)."""

    def delete(self, task_id: str, *, record: bool = True) -> None:
        """Remove process (killed if it lives), OCI state, cgroups, bundle, sockets; with `record` also record and logs.

        Complete whatever an earlier delete left. Absent is fine. Raises: ExceptionGroup of what could not be removed.
        """

    def exec(self, task_id: str, process: ProcessConfig) -> Stream:
        """Run a process in the task. It dies with this process, as in Docker.

        Raises: FailedPrecondition when the task is not running, or the executable cannot be run; NotFound.
        """

    def attach(self, task_id: str) -> Stream:
        """Join the task's own streams, from now on; several may. Raises: FailedPrecondition, NotFound."""

    def stats(self, task_id: str) -> Mapping[str, int]:
        """Counters of now: memory, cpu_nanos, pids, throttled_nanos … for stats. Empty when it is not running."""

    def exits(self) -> Iterator[str]:
        """Yield the ID of a task whenever one may have exited or been paused, OOM-killed …; blocks. Hints only."""

    def cleanup(self, known: Sequence[str]) -> int:
        """Remove every trace (cgroups, bundles, OCI state, conmon, records) of tasks not `known`."""

    def close(self) -> None:
        """Let go of pidfds and threads; tasks go on."""
