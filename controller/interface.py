"""The contracts between the parts of the process: what a client brings, what the engine does, what a command talks to.

The engine (controller.engine) is the Backend; the API and the commands (controller.cli) are its callers. A command runs
in the engine's process, on a thread of its own, and reaches its user through a Session: standard streams, terminal,
files and environment are the client's, never the engine's (architecture.md §3).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from controller.images.interface import ImageOperations
from controller.plan import Plan
from controller.store.interface import Objects
from manifests.interface import Located
from resources.meta import Key, Ref
from resources.object import Object


@dataclass(frozen=True, slots=True)
class Content:
    """What a client read for one field (manifests.interface.Need)."""

    digest: str
    """`sha256:` and 64 hex digits."""
    size: int
    data: bytes | None = None
    """The content itself for files and variables; None for uploads."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One manifest with everything that was read for it."""

    located: Located
    contents: Mapping[str, Content] = field(default_factory=dict)
    """By the path of the field."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    manager: str = "cli"
    """Field manager."""
    owner: str = ""
    prune: bool = False
    """Delete what this owner has and the submissions do not name. Needs `owner`."""
    adopt: bool = False
    """Take over objects of another owner."""
    only_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    revision: int
    """The store's, after the write; the current one when nothing changed."""
    created: tuple[Ref, ...] = ()
    changed: tuple[Ref, ...] = ()
    deleted: tuple[Ref, ...] = ()
    unchanged: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineEvent:
    sequence: int
    time: datetime
    key: Key
    ref: Ref | None
    """What it was called then."""
    reason: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Uploads(Protocol):
    """Large content by digest, sent ahead of the objects that name it."""

    def has(self, digest: str) -> bool: ...

    def receive(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        """Keep it once it is verified. Raises: InvalidArgument (digest or size differ), ResourceExhausted."""


class EventLog(Protocol):
    """Durable and resumable: a sequence number never comes twice, also over restarts."""

    def read(self, since: int = 0, *, limit: int = 10_000) -> Sequence[EngineEvent]:
        """Events after that sequence number, oldest first."""

    def follow(self, since: int, stopped: Callable[[], bool]) -> Iterator[EngineEvent]: ...


class Stream(Protocol):
    """As drivers.runtime.interface.Stream; repeated here so that commands see no driver."""

    def fileno(self) -> int: ...
    def read(self) -> tuple[str, bytes] | None: ...
    def write(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    def wait(self) -> int: ...
    def kill(self, signal: int) -> None: ...
    def close(self) -> None: ...


class Operations(Protocol):
    """What is done to a container beside its desired state. Each leaves an event and changes no spec.

    `name` is a Ref of a Container; all raise NotFound for one that is not there, FailedPrecondition when it is not in a
    state for it.
    """

    def exec(
        self,
        name: Ref,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        user: str,
        working_dir: str,
        tty: bool,
        stdin: bool,
        rows: int,
        columns: int,
    ) -> Stream: ...

    def attach(self, name: Ref) -> Stream: ...

    def logs(
        self,
        name: Ref,
        *,
        tail: int | None,
        since: datetime | None,
        follow: bool,
        all_tasks: bool,
        stopped: Callable[[], bool],
    ) -> Iterator[tuple[datetime, str, bytes]]:
        """(time, stream, line). `follow` goes on over restarts of the container until it is deleted."""

    def kill(self, name: Ref, signal: str) -> None: ...

    def copy_out(self, name: Ref, path: str) -> Iterator[bytes]:
        """A tar of the path (drivers.copy)."""

    def copy_in(self, name: Ref, path: str, archive: BinaryIO) -> None: ...

    def stat(self, name: Ref, path: str) -> Mapping[str, Any] | None:
        """name, size, mode, mtime, linkTarget."""

    def top(self, name: Ref) -> Sequence[Mapping[str, Any]]:
        """Processes: pid, user, cpu time, command."""

    def stats(self, name: Ref) -> Mapping[str, int]: ...


class Retained(Protocol):
    """Data that `reclaim: retain` has kept of volumes whose object is gone."""

    def list(self, namespace: str | None = None) -> Sequence[Ref]:
        """What the volumes were called, by namespace and name."""

    def discard(self, ref: Ref) -> None:
        """Delete it for good. Raises: NotFound."""


class Backend(Protocol):
    """The engine as its callers see it. Thread-safe; every call is short but `wait` and the followers."""

    @property
    def objects(self) -> Objects: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def operations(self) -> Operations: ...
    @property
    def retained(self) -> Retained: ...
    @property
    def images(self) -> ImageOperations: ...

    def wanted(self, submissions: Sequence[Submission]) -> frozenset[str]:
        """Digests of uploads that are neither here nor already made into what their objects need."""

    def plan(self, submissions: Sequence[Submission], options: ApplyOptions) -> Plan:
        """What `apply` of the same would change, and what the loop would do to the host (drift included).

        Changes nothing. Raises: controller.admission.admit.Refused (problems with positions)."""

    def apply(self, submissions: Sequence[Submission], options: ApplyOptions, *, expect: int | None = None) -> Applied:
        """Write desired state, all or nothing, and wake the loop. `expect`: refuse with Conflict when the store's
        objects changed since that revision (a saved plan).

        Raises: controller.admission.admit.Refused, Conflict.
        """

    def delete(self, refs: Sequence[Ref], *, data: bool, cascade: bool, force: bool) -> tuple[Ref, ...]:
        """Mark for deletion (with `cascade` their users too) and wake the loop; return all that are marked.

        Raises: NotFound, FailedPrecondition naming the users of what is in use.
        """

    def edit(self, ref: Ref, change: Callable[[Object], Object], *, manager: str, reason: str) -> Object:
        """Change one object (compare and swap, retried) and wake the loop. Raises: NotFound, what `change` raises."""

    def rename(self, ref: Ref, name: str) -> Object: ...

    def changes(self, since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        """Keys whose object or status changed after that store revision, as they change; for waits and `get -w`."""

    def graph(self, submissions: Sequence[Submission], namespace: str | None) -> Sequence[tuple[Ref, Ref, str]]:
        """Edges (dependent, dependency, condition) of the submissions over what is stored; of the store alone without."""

    def settled(self, key: Key) -> bool:
        """Whether the loop has looked at the object's present generation and has nothing to do or to wait for now."""

    def seal(self, data: bytes) -> bytes:
        """Encrypt with the host's key: a saved plan holds what was submitted, secrets among it."""

    def unseal(self, data: bytes) -> bytes:
        """Raises: DataLoss when it was not sealed here, or was changed since."""

    def describe_host(self) -> Mapping[str, Any]:
        """version, pid, roots, runtime and why, snapshotter, kernel, counts of objects: for version, doctor, API."""

    def shutdown(self) -> None:
        """Begin to end the process; containers go on."""


class Session(Protocol):
    """The user's side of one command.

    Raises from every call: Cancelled when the client has gone or pressed Ctrl-C.
    """

    argv: Sequence[str]
    columns: int
    rows: int
    stdin_tty: bool
    stdout_tty: bool
    color: bool
    cwd: str

    def out(self, text: str | bytes) -> None: ...

    def err(self, text: str | bytes) -> None: ...

    def cancelled(self) -> bool: ...

    def find(self, path: str) -> Sequence[str]:
        """A file: itself. A folder: its *.yaml, *.yml, *.json, recursively, sorted. Raises: NotFound, InvalidArgument."""

    def read(self, path: str, limit: int) -> bytes:
        """A file of the client, `-` its standard input. Raises: NotFound, PermissionDenied, ResourceExhausted."""

    def digest(self, path: str) -> Content:
        """Digest and size of a file, or of a folder packed as a tar in a fixed order."""

    def send(self, path: str) -> Iterator[bytes]:
        """What `digest` was taken of."""

    def variable(self, name: str) -> str | None: ...

    def variables(self) -> Mapping[str, str]:
        """The whole environment, for --var-env."""

    def write(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """A new file, mode 0600, or one replaced atomically once all has come."""

    def ask(self, question: str, *, hidden: bool = False) -> str:
        """A line from the user's terminal; `hidden` shows nothing of it. Raises: InvalidArgument without a terminal."""

    def receive(self, path: str, chunks: Iterator[bytes], *, name: str = "") -> None:
        """Extract a tar with drivers.copy's safe extractor: into the folder `path`; with `name`, or where no such folder
        is, what it holds gets a new name. `-` passes the tar to standard output."""

    def pack(self, path: str, *, name: str = "") -> Iterator[bytes]:
        """A file or folder as a tar, for `cp` into a container, under its own name or another; `-` passes standard input
        on."""

    def interact(self, stream: Stream, *, tty: bool, stdin: bool, detachable: bool = False) -> int:
        """Join the user's terminal to a stream (raw mode, window size) until it ends; return its exit code. With
        `detachable`, Ctrl-P Ctrl-Q on a terminal leaves it, and 0 is returned."""
