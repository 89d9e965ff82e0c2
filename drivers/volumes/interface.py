"""The contract of volume drivers, of projected files (secrets and configs), and of copy-up.

A volume lives by its own ID (the uid of its object), independent of containers, shared by any number of them. Its
data is never deleted but by `delete(data=True)`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class VolumeConfig:
    id: str
    """32 hex digits: the uid of the Volume object, or what stands in for one."""
    claim: str
    """`namespace/name`: retained data is found again by it."""
    size: int | None = None
    """Bytes, enforced; None is no limit."""
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class VolumeState:
    id: str
    claim: str
    path: Path
    """Where the data is, once mounted, to be bound into containers."""
    mounted: bool
    """Whether `path` is usable now (a tmpfs volume after a reboot is not)."""
    size: int | None
    uid: int
    gid: int
    mode: int
    populated: bool
    """Whether copy-up or populate has been done, or found the volume not empty, once."""
    released: bool = False
    """Retained data whose object is gone."""
    applied: VolumeConfig | None = None
    """What `create` was last called with: where it says what is wanted and the host says otherwise, somebody else did it."""


class VolumeDriver(Protocol):
    def validate(self, config: VolumeConfig) -> None:
        """Raises: Unsupported with the reason when this driver cannot enforce `size` here. Pure but for probing."""

    def create(self, config: VolumeConfig) -> None:
        """Make the volume, or take back released data of the same claim (which then carries the new ID).

        Idempotent. Owner and mode are set at creation and when they differ; never on what is below the root.

        Raises: Unsupported, ResourceExhausted, Conflict when the claim is held by another live volume.
        """

    def inspect(self, volume_id: str) -> VolumeState | None: ...

    def mount(self, volume_id: str) -> None:
        """Make `path` usable (tmpfs: mounted; size-limited local: loop file system mounted). Idempotent."""

    def delete(self, volume_id: str, *, data: bool) -> None:
        """Unmount, and delete the data or leave it as released. Absent is fine.

        `data=True` on a released volume deletes it as well. Raises: FailedPrecondition when it is still mounted
        somewhere (names the task).
        """

    def mark_populated(self, volume_id: str) -> None: ...

    def list(self, prefix: str = "") -> Sequence[VolumeState]:
        """Live and released ones whose ID begins so."""

    def cleanup(self) -> int:
        """Delete half-made and half-deleted volumes; never data. Return how many."""


class CopyUp(Protocol):
    def copy_up(self, source_root: Path, path: str, target: Path) -> None:
        """Copy the content of `path` inside the root file system `source_root` into the empty directory `target`.

        `path` is resolved inside the root only (openat2 RESOLVE_IN_ROOT). Keeps owner, mode, times, links, xattrs;
        devices and fifos too, never follows a link out. `target` not empty, or no such folder in the root: nothing is
        done. An interrupted copy starts again from nothing. The root directory's own owner and mode are taken over too.
        `target` is the `path` of a volume. May take long: for jobs.

        Raises: ResourceExhausted, FailedPrecondition.
        """


class Populator(Protocol):
    """Seed a volume from an archive: tar, plain or compressed with gzip or zstd."""

    def extract(self, archive: Path, target: Path, *, progress: Callable[[int], None] | None = None) -> None:
        """Extract into the empty directory `target`, the `path` of a volume, hostile input as it may be.

        `target` not empty: nothing is done. An interrupted one starts again from nothing. Names like whiteouts are plain
        files. `progress` is told the bytes of the archive read so far, and may raise to stop it. May take long: for jobs.

        Raises: NotFound, InvalidArgument naming the entry, ResourceExhausted, DataLoss.
        """


class Projector(Protocol):
    """Files of Secrets and Configs as folders and files in memory (tmpfs), swapped atomically.

    `<run root>/projected/<id>/..data -> ..<version>/`, one file a key beside it as a link, as Kubernetes does for
    config maps: readers see the old set or the new set, never a mixture.
    """

    def project(
        self,
        projection_id: str,
        version: str,
        files: Mapping[str, bytes],
        *,
        mode: int,
        uid: int,
        gid: int,
        in_place: bool = False,
    ) -> None:
        """Make the folder hold exactly `files`. Same version again, and nothing altered: nothing is written.

        With `in_place` each key is a plain file that is rewritten where it is: a bind of that one file shows the new
        content, which the swap of a folder cannot do. Readers may then see a mixture within one file. A projection stays
        what it was made as. Raises: InvalidArgument for an id, a version or a key that cannot be a name, Conflict when
        `in_place` differs, ResourceExhausted.
        """

    def version(self, projection_id: str) -> str | None:
        """The version that was projected last and wholly; None when there is none."""

    def intact(self, projection_id: str, files: Mapping[str, bytes]) -> bool:
        """Tell whether the folder holds exactly `files`, whatever the version says: False is drift."""

    def path(self, projection_id: str, key: str | None = None) -> Path:
        """The folder, or the file of one key, to be bound into a container. A single key must be projected `in_place`."""

    def delete(self, projection_id: str) -> None:
        """Absent is fine."""

    def list(self) -> Iterator[str]: ...


class Stage(Protocol):
    """Sources of binds, held still: what a config.json names as the source of a mount is a path of ours under the run
    root, which nobody in a container can swap between a check and the runtime's mount (threats.md VOL-01).

    Everything is kept at `<run root>/stage/<task id>/<slot>`, a bind mount made from an open descriptor.
    """

    def stage(self, task_id: str, slot: str, source: Path, inner: str = "", *, create: bool = False) -> Path:
        """Bind `inner`, resolved inside `source` only (openat2 RESOLVE_IN_ROOT, no magic links), and return where.

        `source` itself is a host path an operator named: it is followed as usual, but must be absolute. `create` makes
        a missing `source` as a folder; `inner` is made when missing (a subPath of a volume). A folder, a regular file, a
        socket or a device; the target has the same type. Staged already: nothing is done.

        Raises: FailedPrecondition when it is not there, InvalidArgument.
        """

    def unstage(self, task_id: str) -> None:
        """Unmount and remove everything staged for the task. Absent is fine."""

    def list(self) -> Sequence[str]:
        """Task IDs something is staged for."""
