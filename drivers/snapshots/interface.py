"""The contract of snapshot drivers, and of the mounts they describe.

Vocabulary. An *active* snapshot is writable and known by its `key`; a *committed* one is read-only and known by its
`name`; a *view* is an active snapshot that cannot be written. Only committed snapshots may be parents, and the empty
parent is "". Layers of images are committed under their chain ID (OCI image spec, config.md, "Layer ChainID"); the
writable layer of a container is an active snapshot keyed by its task ID.

A life of an image and a container::

    mounts = snapshotter.prepare("unpack-<digest>", "")      # extract layer 1 into snapshotter.directory(key)
    snapshotter.commit(chain_id_1, "unpack-<digest>")
    snapshotter.prepare("unpack-<digest2>", chain_id_1)       # layer 2 ...
    snapshotter.commit(chain_id_2, "unpack-<digest2>")
    mounts = snapshotter.prepare(task_id, chain_id_2)         # the container's root: the caller mounts these
    snapshotter.remove(task_id)

Nothing is mounted here. `mounts` are descriptions; whoever needs the tree mounts them (drivers.kernel.mount), which
makes a driver testable by comparing values.

Crash safety: metadata is the truth, directories are garbage-collected against it. A driver creates the directory under
a temporary name, records it, renames; it forgets the record first and deletes directories afterwards. `cleanup` deletes
every directory the metadata does not know.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount(2) to make: `type` is a file system ("overlay", "tmpfs") or "bind"; options as in fstab.

    For overlay `lower` lists the lower directories, uppermost first, apart from `options`, since 120 of them do not
    fit into one option page (host.md §8): mounters pass them one by one by fsconfig(2) where the kernel can.
    """

    type: str
    source: str
    options: tuple[str, ...] = ()
    lower: tuple[Path, ...] = ()


class SnapshotKind(StrEnum):
    ACTIVE = "active"
    COMMITTED = "committed"
    VIEW = "view"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    key: str
    """The key of an active snapshot or view, the name of a committed one."""
    parent: str
    kind: SnapshotKind
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the snapshot itself takes, its parents not counted."""

    bytes: int
    inodes: int


class Snapshotter(Protocol):
    """Stack file system changes. Methods may be called from many threads at once."""

    def stat(self, key: str) -> SnapshotInfo | None:
        """Return what is known of an active or committed snapshot, or None when there is none."""

    def prepare(self, key: str, parent: str) -> Sequence[Mount]:
        """Create the active snapshot `key` on the committed `parent` and return how to mount it.

        The same key with the same parent again is fine and keeps its content. The root directory of a new snapshot has
        the parent's owner and mode, 0:0 and 0755 without a parent.

        Raises: NotFound when the parent is not there, FailedPrecondition when it is not committed, Conflict when `key`
        exists with another parent or kind.
        """

    def view(self, key: str, parent: str) -> Sequence[Mount]:
        """Like prepare, read-only."""

    def mounts(self, key: str) -> Sequence[Mount]:
        """Describe the mounts of an active snapshot or view. Raises: NotFound."""

    def directory(self, key: str) -> Path:
        """Return the directory that holds the changes of an active snapshot themselves (overlay: the upper).

        The unpacker extracts straight into it: whiteouts in the driver's own form. Raises: NotFound, Unsupported.
        """

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        """Turn the active snapshot `key` into the committed `name`; its content is durable when this returns.

        With `parent` it is put on that committed snapshot instead of the one it was prepared on: how layers that were
        extracted side by side, each on "", become a stack. `name` there already with the same parent: the active one is
        dropped (two unpacks raced; layers are equal by their digest). Raises: NotFound, Conflict,
        FailedPrecondition (a view; a parent that is not committed).
        """

    def remove(self, key: str) -> None:
        """Forget a snapshot. Absent is fine. Raises: FailedPrecondition when it is a parent of others."""

    def usage(self, key: str) -> Usage:
        """Count what the snapshot itself holds. May walk the tree: never called from an act. Raises: NotFound."""

    def walk(self) -> Iterator[SnapshotInfo]:
        """Every snapshot, in no order."""

    def cleanup(self) -> int:
        """Delete what the metadata does not know (left by a crash, or under deletion); return how many directories went.

        May take long, but holds nobody up: directories are renamed away first.
        """

    def close(self) -> None:
        """Finish deletions under way and let go of the metadata; nothing may be called afterwards."""


class RootFilesystems(Protocol):
    """Mount snapshots where containers are made from: `<run root>/rootfs/<name>`.

    A name is a task ID, or a task ID, "." and a slot (`<id>.m3`: an image mounted into a container). Mounts are private
    and made in the host's mount namespace; a running container has its own copy of them.
    """

    def mount(self, name: str, mounts: Sequence[Mount]) -> Path:
        """Mount and return the folder. Mounted already: nothing is done.

        Raises: Unavailable with what the kernel said, ResourceExhausted.
        """

    def unmount(self, name: str) -> None:
        """Unmount, lazily if it is busy, and remove the folder. Absent is fine."""

    def path(self, name: str) -> Path: ...

    def mounted(self) -> frozenset[str]:
        """The names that are mounted now, from one read of mountinfo."""

    def cleanup(self, known: Sequence[str]) -> int:
        """Unmount and remove everything that is not `known` (by name). Return how many."""
