"""Snapshots on overlayfs: a directory of changes each (`fs`, and `work` for the kernel), stacked when mounted.

`root` holds metadata.db, snapshots/<random>/{fs,work}, and trash/ for what is being deleted.

index=off: the index would tie an upper to the very lower directories (by file handle) and would need work space that outlives
the mount, so restored or copied state would fail with ESTALE; what it buys, hard links that survive copy-up, images do not
expect. redirect_dir and metacopy are off because the upper must hold the changes by themselves to be committed, and because
an image could plant their xattrs.
"""

import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from drivers.kernel.syncfs import syncfs
from drivers.snapshots.interface import Mount, SnapshotInfo, SnapshotKind, Usage
from drivers.snapshots.metadata import Metadata, Record
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

_OPTIONS = ("redirect_dir=nofollow", "metacopy=off", "index=off")
_MAX_KEY = 512
_MAX_LAYERS = 500
"""The kernel's own limit for one overlay."""
_INLINE = 200
"""A tree of more entries than this is deleted by the background thread: nobody waits for it."""


class OverlaySnapshotter:
    def __init__(self, root: Path) -> None:
        self._snapshots = root / "snapshots"
        self._trash = root / "trash"
        for directory in (root, self._snapshots, self._trash):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)  # setuid files of images are below: nobody but us passes
        self._metadata = Metadata(root / "metadata.db")
        self._emptying = threading.Lock()

    def stat(self, key: str) -> SnapshotInfo | None:
        record = self._metadata.get(key)
        return record.info() if record else None

    def prepare(self, key: str, parent: str) -> Sequence[Mount]:
        return self._create(key, parent, SnapshotKind.ACTIVE)

    def view(self, key: str, parent: str) -> Sequence[Mount]:
        return self._create(key, parent, SnapshotKind.VIEW)

    def mounts(self, key: str) -> Sequence[Mount]:
        return self._mounts(self._uncommitted(key))

    def directory(self, key: str) -> Path:
        return self._fs(self._uncommitted(key).directory)

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        _checked(name)
        record = self._uncommitted(key)
        if record.kind is not SnapshotKind.ACTIVE:
            raise FailedPrecondition(f"snapshot {key!r} is a view and cannot be committed")
        below = record.parent if parent is None else parent
        if self._metadata.get(name) is None:
            self._sync(record)
        with self._metadata.transaction():
            present = self._metadata.get(name)
            if present and (present.kind is not SnapshotKind.COMMITTED or present.parent != below):
                raise Conflict(f"snapshot {name!r} exists already, {present.kind} on {present.parent or 'nothing'}")
            self._parent(below)
            if self._metadata.get(key) != record:
                raise Conflict(f"snapshot {key!r} was changed while it was committed")
            if not present:
                self._metadata.commit_as(name, key, below)
            else:
                self._metadata.delete(key)
        if present:
            self._discard(record.directory)
        else:
            shutil.rmtree(self._snapshots / record.directory / "work", ignore_errors=True)

    def remove(self, key: str) -> None:
        with self._metadata.transaction():
            record = self._metadata.get(key)
            if record is None:
                return
            children = self._metadata.children(key) if record.kind is SnapshotKind.COMMITTED else ()
            if children:
                users = ", ".join(sorted(c.key for c in children)[:3])
                raise FailedPrecondition(f"snapshot {key!r} is the parent of {users}", hint="remove those first")
            self._metadata.delete(key)
        self._discard(record.directory)

    def usage(self, key: str) -> Usage:
        record = self._metadata.get(key)
        if record is None:
            raise _absent(key)
        size = count = 0
        seen: set[int] = set()
        stack = [self._fs(record.directory)]
        while stack:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_ino in seen:
                        continue
                    if status.st_nlink > 1:
                        seen.add(status.st_ino)
                    size += status.st_blocks * 512
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(Path(entry.path))
        return Usage(size, count)

    def walk(self) -> Iterator[SnapshotInfo]:
        return iter([record.info() for record in self._metadata.all()])

    def cleanup(self) -> int:
        with self._metadata.exclusive():
            known = {record.directory for record in self._metadata.all()}
            unknown = [name for name in os.listdir(self._snapshots) if name not in known]
            for name in unknown:
                os.rename(self._snapshots / name, self._trash / f"{name}-{secrets.token_hex(4)}")
        count = len(os.listdir(self._trash))
        self._empty_trash()
        return count

    def close(self) -> None:
        self._empty_trash()
        self._metadata.close()

    def _create(self, key: str, parent: str, kind: SnapshotKind) -> Sequence[Mount]:
        _checked(key)
        present = self._metadata.get(key)
        if present is None:
            record = Record(key, parent, kind, secrets.token_hex(8))
            with self._metadata.transaction():
                below = self._parent(parent)
                present = self._metadata.get(key)
                if present is None:
                    self._make_directories(record, below)
                    self._metadata.insert(record)
                    present = record
        if present.kind is not kind or present.parent != parent:
            raise Conflict(f"snapshot {key!r} exists already, {present.kind} on {present.parent or 'nothing'}")
        return self._mounts(present)

    def _parent(self, parent: str) -> Record | None:
        if not parent:
            return None
        record = self._metadata.get(parent)
        if record is None:
            raise NotFound(f"the parent snapshot {parent!r} is not there", hint="unpack the image first")
        if record.kind is not SnapshotKind.COMMITTED:
            raise FailedPrecondition(f"the parent snapshot {parent!r} is not committed")
        return record

    def _make_directories(self, record: Record, below: Record | None) -> None:
        directory = self._snapshots / record.directory
        try:
            (directory / "fs").mkdir(parents=True)
            (directory / "work").mkdir(mode=0o700)
            if below:
                # The root of an overlay is its uppermost directory's: it must look like the parent's.
                status = self._fs(below.directory).stat()
                os.chown(directory / "fs", status.st_uid, status.st_gid)
                os.chmod(directory / "fs", status.st_mode & 0o7777)
            else:
                os.chmod(directory / "fs", 0o755)
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise ResourceExhausted(f"cannot make snapshot {record.key!r}: {error.strerror}") from error

    def _mounts(self, record: Record) -> Sequence[Mount]:
        own, *below = [self._fs(directory) for directory in self._metadata.chain(record.key)]
        if len(below) > _MAX_LAYERS:
            raise InvalidArgument(f"{len(below)} layers", hint=f"the kernel stacks at most {_MAX_LAYERS}")
        view = record.kind is SnapshotKind.VIEW
        if not below:
            return [Mount("bind", str(own), ("rbind", "ro" if view else "rw"))]
        if view:
            # With its own empty directory on top there are always the two that an overlay without an upper needs.
            return [Mount("overlay", "overlay", ("ro", *_OPTIONS), (own, *below))]
        options = (f"upperdir={own}", f"workdir={own.parent / 'work'}", *_OPTIONS)
        return [Mount("overlay", "overlay", options, tuple(below))]

    def _uncommitted(self, key: str) -> Record:
        record = self._metadata.get(key)
        if record is None or record.kind is SnapshotKind.COMMITTED:
            raise _absent(key)
        return record

    def _fs(self, directory: str) -> Path:
        return self._snapshots / directory / "fs"

    def _sync(self, record: Record) -> None:
        fd = os.open(self._fs(record.directory), os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(fd)
        except OSError as error:
            raise ResourceExhausted(f"cannot write snapshot {record.key!r} out: {error.strerror}") from error
        finally:
            os.close(fd)

    def _discard(self, directory: str) -> None:
        """The record is gone already. Whatever fails from here on is for `cleanup`."""
        try:
            os.rename(self._snapshots / directory, self._trash / directory)
        except OSError:
            return
        if _entries(self._trash / directory, _INLINE) < _INLINE:
            shutil.rmtree(self._trash / directory, ignore_errors=True)
        else:
            threading.Thread(target=self._empty_trash, name="snapshot-trash", daemon=True).start()

    def _empty_trash(self) -> None:
        with self._emptying:
            for name in os.listdir(self._trash):
                shutil.rmtree(self._trash / name, ignore_errors=True)


def _entries(tree: Path, enough: int) -> int:
    count = 0
    for _, directories, files in os.walk(tree):
        count += len(directories) + len(files)
        if count >= enough:
            break
    return count


def _checked(key: str) -> None:
    if not key or len(key) > _MAX_KEY or "\0" in key:
        raise InvalidArgument(f"{key[:80]!r} is no key of a snapshot", hint=f"1 to {_MAX_KEY} characters")


def _absent(key: str) -> NotFound:
    return NotFound(f"there is no active snapshot {key!r}")
