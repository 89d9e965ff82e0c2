"""Finding the directory of an entry inside a layer that is being extracted, and inside the layers below it.

Nothing here ever leaves the layer: the kernel resolves below its root (openat2, RESOLVE_IN_ROOT), and what it cannot
find is walked by hand, component by component, links expanded here.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from drivers.images.limits import Limits
from drivers.images.tar import printable
from drivers.kernel.openat2 import Resolve, openat2
from resources.errors import InvalidArgument

OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOFOLLOW = _DIRECTORY | os.O_NOFOLLOW
_MAX_LINKS = 40
_MAX_CACHED = 256
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class NeedsLower(Exception):
    """The layer speaks of something that only the layers below it can have."""


def clean(name: bytes, limits: Limits) -> bytes:
    """Return a path relative to the root, without `.`, `..` and doubled slashes; b"" is the root itself.

    Raises: InvalidArgument when it climbs out, or is longer or deeper than the limits.
    """
    if len(name) > limits.max_path:
        raise InvalidArgument(f"{printable(name)}…: the path has {len(name)} bytes", hint=f"at most {limits.max_path}")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise InvalidArgument(f"{printable(name)}: the path leads out of the layer")
            parts.pop()
        elif len(part) > limits.max_component:
            raise InvalidArgument(f"{printable(name)}: a name of {len(part)} bytes", hint="at most 255")
        else:
            parts.append(part)
    if len(parts) > limits.max_depth:
        raise InvalidArgument(f"{printable(name)}: {len(parts)} folders deep", hint=f"at most {limits.max_depth}")
    return b"/".join(parts)


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def status_of(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


class MergedLayers:
    """What the layer and those below it show at a path, as overlayfs would merge them.

    Paths here cross no link: every component is seen to be a directory before the next one is looked at. Only this process
    changes the layer under extraction, nobody the committed ones.
    """

    def __init__(self, root: Path, lower: Sequence[Path] | None) -> None:
        self._layers = [os.fsencode(layer) for layer in (root, *(lower or ()))]
        self._complete = lower is not None

    def find(self, path: bytes) -> tuple[bytes, os.stat_result] | None:
        """The uppermost thing at a path, as (layer, status). Raises: NeedsLower when layers not known decide it."""
        layers, complete = self._layers, self._complete
        found: tuple[bytes, os.stat_result] | None = None
        parts = path.split(b"/") if path else []
        for depth in range(1, len(parts) + 1):
            if found and not stat.S_ISDIR(found[1].st_mode):
                return None
            here = b"/" + b"/".join(parts[:depth])
            found, layers, sealed = self._level(layers, here)
            complete = complete or sealed
            if found is None:
                if not complete:
                    raise NeedsLower(printable(path))
                return None
        return found

    @staticmethod
    def _level(layers: Sequence[bytes], here: bytes) -> tuple[tuple[bytes, os.stat_result] | None, list[bytes], bool]:
        """What is at `here`, the layers that have a part in it, and whether something hides all below."""
        found: tuple[bytes, os.stat_result] | None = None
        merged: list[bytes] = []
        for layer in layers:
            try:
                status = os.lstat(layer + here)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(status.st_mode):
                if found is None and not is_whiteout(status):
                    found = (layer, status)
                return found, merged, True
            found = found or (layer, status)
            merged.append(layer)
            if _is_opaque(layer + here):
                return found, merged, True
        return found, merged, False


class Directories:
    """Descriptors of the directories of a layer, made on the way where they are missing, and cached."""

    def __init__(self, root: Path, lower: Sequence[Path] | None, limits: Limits) -> None:
        self.root = os.open(root, _NOFOLLOW)
        self.path = os.fsencode(root)
        self._merged = MergedLayers(root, lower)
        self._limits = limits
        self._cache: dict[bytes, int] = {}
        self.copied: dict[bytes, int] = {}
        """Directories taken over from below, and their times."""

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory that holds `path`, and the last component."""
        directory, _, name = path.rpartition(b"/")
        return self.open(directory), name

    def open(self, path: bytes) -> int:
        fd = self._cache.get(path)
        if fd is not None:
            return fd
        if not path:
            return self.root
        if len(self._cache) >= _MAX_CACHED:
            self.flush()
        found = self._find(path)
        fd = self._cache[path] = self._make(path) if found is None else found
        return fd

    def existing(self, path: bytes) -> int | None:
        """The directory as this layer has it, without making it."""
        try:
            return openat2(path, _DIRECTORY, dir_fd=self.root, resolve=Resolve.IN_ROOT | Resolve.NO_MAGICLINKS)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def flush(self) -> None:
        """Forget the descriptors: a directory or a link was replaced."""
        for fd in self._cache.values():
            os.close(fd)
        self._cache.clear()

    def close(self) -> None:
        self.flush()
        os.close(self.root)

    def find(self, path: bytes) -> tuple[bytes, os.stat_result] | None:
        """What is at a path that crosses no link, in this layer or below. Raises: NeedsLower."""
        return self._merged.find(path)

    def resolve(self, path: bytes) -> bytes:
        """`path` with the links in all but its last component replaced, in this layer and below."""
        directory, _, name = path.rpartition(b"/")
        return b"/".join([*self._resolved(directory), name])

    def _find(self, path: bytes) -> int | None:
        try:
            return self.existing(path)
        except OSError as error:
            reason = "goes round in links" if error.errno == errno.ELOOP else error.strerror
            raise InvalidArgument(f"{printable(path)}: the path {reason}") from error

    def _make(self, path: bytes) -> int:
        parts = self._resolved(path)
        for depth in range(1, len(parts)):
            os.close(self._enter(b"/".join(parts[:depth])))
        return self._enter(b"/".join(parts))

    def _resolved(self, path: bytes) -> list[bytes]:
        """The components of `path` once every link is followed, as a container with these layers would follow it."""
        done: list[bytes] = []
        todo = path.split(b"/") if path else []
        links = 0
        while todo:
            part = todo.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            target = self._link_at(b"/".join([*done, part]))
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS or len(todo) > self._limits.max_path:
                raise InvalidArgument(f"{printable(path)}: the path goes round in links")
            if target.startswith(b"/"):
                done.clear()
            todo = target.split(b"/") + todo
        return done

    def _link_at(self, path: bytes) -> bytes | None:
        found = self._merged.find(path)
        if found and stat.S_ISLNK(found[1].st_mode):
            return os.readlink(found[0] + b"/" + path)
        return None

    def _strict(self, path: bytes) -> int | None:
        try:
            return openat2(path or b".", _DIRECTORY, dir_fd=self.root, resolve=Resolve.BENEATH | Resolve.NO_SYMLINKS)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def _enter(self, path: bytes) -> int:
        """Open the directory at a path without links; make it, like the one below it, when it is not there."""
        there = self._strict(path)  # b"" is the root
        if there is not None:
            return there
        holder = self._strict(path.rpartition(b"/")[0])
        if holder is None:
            raise InvalidArgument(f"{printable(path)}: a file where a folder should be")
        try:
            name = path.rpartition(b"/")[2]
            status = status_of(holder, name)
            if status is not None and not is_whiteout(status):
                raise InvalidArgument(f"{printable(path)}: a file where a folder should be")
            if status is not None:
                os.unlink(name, dir_fd=holder)
            found = None if status is not None else self.find(path)
            os.mkdir(name, 0o755, dir_fd=holder)
            fd = os.open(name, _NOFOLLOW, dir_fd=holder)
            self._dress(fd, path, found, opaque=status is not None)
            return fd
        finally:
            os.close(holder)

    def _dress(self, fd: int, path: bytes, found: tuple[bytes, os.stat_result] | None, *, opaque: bool) -> None:
        if found and stat.S_ISDIR(found[1].st_mode):
            os.fchown(fd, found[1].st_uid, found[1].st_gid)
            os.fchmod(fd, stat.S_IMODE(found[1].st_mode))
            self.copied[path] = found[1].st_mtime_ns
        else:
            os.fchown(fd, 0, 0)
            os.fchmod(fd, 0o755)
        if opaque:
            os.setxattr(fd, OPAQUE, b"y")


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
