"""An in-memory twin of a snapshot driver: the same answers, no mounts; directories only when given a root."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from drivers.snapshots.interface import Mount, SnapshotInfo, SnapshotKind, Usage
from drivers.snapshots.names import checked_name
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, Unsupported


class FakeSnapshotter:
    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._snapshots: dict[str, SnapshotInfo] = {}
        self._directories: dict[str, Path] = {}
        self._count = 0

    def stat(self, key: str) -> SnapshotInfo | None:
        return self._snapshots.get(key)

    def prepare(self, key: str, parent: str) -> Sequence[Mount]:
        return self._create(key, parent, SnapshotKind.ACTIVE)

    def view(self, key: str, parent: str) -> Sequence[Mount]:
        return self._create(key, parent, SnapshotKind.VIEW)

    def mounts(self, key: str) -> Sequence[Mount]:
        info = self._uncommitted(key)
        options = ("ro",) if info.kind is SnapshotKind.VIEW else ("rw",)
        lower: list[Path] = []
        parent = info.parent
        while parent:
            lower.append(self._directories.get(parent, Path("/fake") / parent))
            parent = self._snapshots[parent].parent
        return [Mount("fake", key, options, tuple(lower))]

    def directory(self, key: str) -> Path:
        self._uncommitted(key)
        if self._root is None:
            raise Unsupported("this snapshot driver keeps nothing on disk")
        return self._directories[key]

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        with self._lock:
            info = self._uncommitted(key)
            if info.kind is not SnapshotKind.ACTIVE:
                raise FailedPrecondition(f"snapshot {key!r} is a view and cannot be committed")
            below = info.parent if parent is None else parent
            wanted = SnapshotInfo(name, below, SnapshotKind.COMMITTED)
            present = self._snapshots.get(name)
            if present and present != wanted:
                raise Conflict(f"snapshot {name!r} exists already")
            self._check_parent(below)
            del self._snapshots[key]
            directory = self._directories.pop(key, None)
            self._snapshots[name] = wanted
            if directory and not present:
                self._directories[name] = directory

    def remove(self, key: str) -> None:
        with self._lock:
            info = self._snapshots.get(key)
            if info and info.kind is SnapshotKind.COMMITTED and any(s.parent == key for s in self.walk()):
                raise FailedPrecondition(f"snapshot {key!r} is a parent of others")
            self._snapshots.pop(key, None)
            self._directories.pop(key, None)

    def usage(self, key: str) -> Usage:
        if key not in self._snapshots:
            raise NotFound(f"there is no snapshot {key!r}")
        files = list(self._directories[key].rglob("*")) if key in self._directories else []
        return Usage(sum(f.lstat().st_blocks * 512 for f in files), len(files))

    def walk(self) -> Iterator[SnapshotInfo]:
        with self._lock:
            return iter(list(self._snapshots.values()))

    def cleanup(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is held."""

    def _create(self, key: str, parent: str, kind: SnapshotKind) -> Sequence[Mount]:
        if not key:
            raise InvalidArgument("a snapshot without a key")
        with self._lock:
            wanted = SnapshotInfo(key, parent, kind)
            present = self._snapshots.get(key)
            if present and present != wanted:
                raise Conflict(f"snapshot {key!r} exists already")
            if not present:
                self._check_parent(parent)
                self._snapshots[key] = wanted
                if self._root:
                    self._count += 1
                    self._directories[key] = self._root / str(self._count)
                    self._directories[key].mkdir(parents=True)
            return self.mounts(key)

    def _check_parent(self, parent: str) -> None:
        info = self._snapshots.get(parent)
        if parent and info is None:
            raise NotFound(f"the parent snapshot {parent!r} is not there")
        if info and info.kind is not SnapshotKind.COMMITTED:
            raise FailedPrecondition(f"the parent snapshot {parent!r} is not committed")

    def _uncommitted(self, key: str) -> SnapshotInfo:
        info = self._snapshots.get(key)
        if info is None or info.kind is SnapshotKind.COMMITTED:
            raise NotFound(f"there is no active snapshot {key!r}")
        return info


class Breakable:
    """What the twins of drivers share: every writing call is noted, and calls can be made to fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and what it was about, in order."""
        self._failures: dict[str, list[Exception]] = {}

    def fail(self, method: str, error: Exception, times: int = 1) -> None:
        """Make the next calls of `method` raise, before they do anything."""
        self._failures.setdefault(method, []).extend([error] * times)

    def _called(self, method: str, subject: str) -> None:
        self.calls.append((method, subject))
        if self._failures.get(method):
            raise self._failures[method].pop(0)


class FakeRootFilesystems(Breakable):
    """`host` is what is mounted, by name: a second object on the same one is the engine's next life."""

    def __init__(self, host: dict[str, tuple[Mount, ...]] | None = None) -> None:
        super().__init__()
        self.host = {} if host is None else host

    def mount(self, name: str, mounts: Sequence[Mount]) -> Path:
        self._called("mount", checked_name(name))
        if not mounts:
            raise InvalidArgument(f"nothing to mount for {name}")
        self.host.setdefault(name, tuple(mounts))
        return self.path(name)

    def unmount(self, name: str) -> None:
        self._called("unmount", checked_name(name))
        self.host.pop(name, None)

    def path(self, name: str) -> Path:
        return Path("/fake/rootfs") / checked_name(name)

    def mounted(self) -> frozenset[str]:
        return frozenset(self.host)

    def cleanup(self, known: Sequence[str]) -> int:
        strangers = set(self.host) - set(known)
        for name in strangers:
            self.unmount(name)
        return len(strangers)

    def break_mount(self, name: str) -> None:
        """Someone else unmounts it."""
        del self.host[name]

    def reboot(self) -> None:
        self.host.clear()
