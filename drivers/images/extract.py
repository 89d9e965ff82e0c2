"""Extract one layer into the directory of an overlay snapshot.

Hostile input all the way: a parent is only ever reached through treepath, a last component only by *at() calls that follow
nothing and create anew (O_EXCL), whatever was there is removed first. Whiteouts become overlayfs's own: a character device
0:0, and trusted.overlay.opaque on a folder. Owner before mode (chown drops setuid), then xattrs (chown drops
capabilities too), times last; those of folders at the end, when nothing changes them any more.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from drivers.images.limits import DEFAULT, Limits
from drivers.images.tar import Entry, TarReader, Type, printable
from drivers.images.treepath import OPAQUE, Directories, NeedsLower, clean, is_whiteout, status_of
from resources.errors import EngineError, InvalidArgument, ResourceExhausted

WHITEOUT, OPAQUE_MARK, META = b".wh.", b".wh..wh..opq", b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = 1 << 20
_CHECK_SPACE = 64 << 20
_CHECK_ENTRIES = 10_000
_NODES = {Type.CHAR: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK, Type.FIFO: stat.S_IFIFO}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(slots=True)
class Extracted:
    """What came of a layer."""

    entries: int = 0
    bytes: int = 0
    root_seen: bool = False
    """Whether the layer says how its root folder looks; if not, that of the layer below holds."""
    root_opaque: bool = False
    """Whether nothing of the layers below is to be seen at all."""
    dropped_xattrs: Counter[str] = field(default_factory=Counter)


def extract(
    reader: TarReader,
    directory: Path,
    lower: Sequence[Path] | None,
    limits: Limits = DEFAULT,
    *,
    whiteouts: bool = True,
) -> Extracted:
    """Extract every entry. `lower`: the folders of the layers below, uppermost first; () for the lowest layer, None when
    they are not known yet. Without `whiteouts` it is no layer: names like theirs are plain names.

    Raises: NeedsLower when `lower` is None and the layer cannot be understood without; InvalidArgument naming the entry;
    ResourceExhausted.
    """
    extractor = _Extractor(directory, lower, limits, whiteouts)
    try:
        return extractor.run(reader)
    finally:
        extractor.close()


def is_kept(name: bytes) -> bool:
    return name == b"security.capability" or (
        name.startswith(b"user.") and not name.startswith(b"user.overlay.") and len(name) > 5
    )


class _Extractor:
    def __init__(self, directory: Path, lower: Sequence[Path] | None, limits: Limits, whiteouts: bool) -> None:
        self._directories = Directories(directory, lower, limits)
        self._whiteouts = whiteouts
        self._limits = limits
        self._result = Extracted()
        self._times: dict[bytes, int] = {}
        self._until_check = 0

    def close(self) -> None:
        self._directories.close()

    def run(self, reader: TarReader) -> Extracted:
        self._check_space()
        for entry in reader:
            try:
                self._one(entry, reader)
            except OSError as error:
                raise _explained(entry, error) from error
            self._result.entries += 1
            if self._result.entries % _CHECK_ENTRIES == 0:
                self._check_space()
        self._set_times()
        return self._result

    def _one(self, entry: Entry, reader: TarReader) -> None:
        path = clean(entry.name, self._limits)
        *folders, base = path.split(b"/")
        if self._whiteouts and any(part.startswith(META) for part in folders):
            return  # what aufs kept for itself
        if self._whiteouts and any(part.startswith(WHITEOUT) for part in folders):
            raise InvalidArgument(f"{printable(entry.name)}: a folder named like a whiteout")
        if self._whiteouts and base.startswith(WHITEOUT):
            self._whiteout(path, base, entry)
        elif not path:
            self._root(entry)
        elif entry.type is Type.DIRECTORY:
            self._folder(path, entry)
        elif entry.type is Type.CHAR and not entry.major and not entry.minor:
            self._hide(path)  # overlayfs would take it for a whiteout anyway
        else:
            self._leaf(path, entry, reader)

    def _root(self, entry: Entry) -> None:
        if entry.type is not Type.DIRECTORY:
            raise InvalidArgument(f"{printable(entry.name)}: the root is not a folder")
        self._result.root_seen = True
        # Archives of temporary folders have a root that only root can enter: nobody means that.
        self._finish_directory(self._directories.root, entry, entry.mode | 0o555)
        self._times[b""] = entry.mtime_ns

    def _whiteout(self, path: bytes, base: bytes, entry: Entry) -> None:
        folder = path.rpartition(b"/")[0]
        if base == OPAQUE_MARK:
            if folder:
                os.setxattr(self._directories.open(folder), OPAQUE, b"y")
            else:
                self._result.root_opaque = True
            return
        if base.startswith(META):
            return
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InvalidArgument(f"{printable(entry.name)}: a whiteout of nothing that can be named")
        self._hide(folder + b"/" + hidden if folder else hidden)

    def _hide(self, path: bytes) -> None:
        """Hide what the layers below have; what this layer itself has stays (whiteouts hold for lower layers only)."""
        parent, name = self._directories.parent(path)
        status = status_of(parent, name)
        if status is None:
            os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=parent)
        elif stat.S_ISDIR(status.st_mode):
            fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
            try:
                os.setxattr(fd, OPAQUE, b"y")
            finally:
                os.close(fd)

    def _folder(self, path: bytes, entry: Entry) -> None:
        parent, name = self._directories.parent(path)
        status = status_of(parent, name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            if status is not None:
                os.unlink(name, dir_fd=parent)
                self._directories.flush()
                parent, name = self._directories.parent(path)
            os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        try:
            if status is not None and is_whiteout(status):
                os.setxattr(fd, OPAQUE, b"y")
            self._finish_directory(fd, entry, entry.mode)
        finally:
            os.close(fd)
        self._directories.copied.pop(path, None)
        self._times[path] = entry.mtime_ns

    def _finish_directory(self, fd: int, entry: Entry, mode: int) -> None:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, mode)
        self._xattrs(fd, entry)

    def _leaf(self, path: bytes, entry: Entry, reader: TarReader) -> None:
        if entry.type is Type.HARDLINK:
            target = clean(entry.link, self._limits)
            if target == path:
                raise InvalidArgument(f"{printable(entry.name)}: a hard link to itself")
            self._copy_up(target, entry)
        parent, name = self._clear(path)
        if entry.type is Type.FILE:
            self._file(parent, name, entry, reader)
        elif entry.type is Type.SYMLINK:
            if not entry.link:
                raise InvalidArgument(f"{printable(entry.name)}: a link to nothing")
            os.symlink(entry.link, name, dir_fd=parent)
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            self._drop(entry)
            self._touch(parent, name, entry)
        elif entry.type is Type.HARDLINK:
            source, other = self._directories.parent(clean(entry.link, self._limits))
            status = status_of(source, other)
            if status is None or is_whiteout(status) or stat.S_ISDIR(status.st_mode):
                raise _no_target(entry)
            os.link(other, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        else:
            os.mknod(name, _NODES[entry.type] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            _set_mode(parent, name, entry.mode)
            self._drop(entry)
            self._touch(parent, name, entry)

    def _file(self, parent: int, name: bytes, entry: Entry, reader: TarReader) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            while data := reader.read(_WRITE):
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                self._count(len(data))
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            self._xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _clear(self, path: bytes) -> tuple[int, bytes]:
        """Remove what this layer put at `path` before: of entries with one name the last wins."""
        parent, name = self._directories.parent(path)
        status = status_of(parent, name)
        if status is None:
            return parent, name
        self._directories.flush()
        parent, name = self._directories.parent(path)
        if stat.S_ISDIR(status.st_mode):
            _remove_tree(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        return parent, name

    def _copy_up(self, path: bytes, entry: Entry) -> None:
        """Have the target of a hard link in this layer: an own copy when it is in a lower one, which stays untouched."""
        try:
            directory = self._directories.existing(path.rpartition(b"/")[0] or b".")
        except OSError:
            directory = None
        if directory is not None:
            try:
                if status_of(directory, path.rpartition(b"/")[2]) is not None:
                    return
            finally:
                os.close(directory)
        resolved = self._directories.resolve(path)
        found = self._directories.find(resolved)
        if found is None or not stat.S_ISREG(found[1].st_mode):
            raise _no_target(entry)
        layer, status = found
        if layer == self._directories.path:
            return
        parent, name = self._directories.parent(resolved)
        source = os.open(layer + b"/" + resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            while sent := os.sendfile(fd, source, None, 1 << 24):
                self._count(sent)
            os.fchown(fd, status.st_uid, status.st_gid)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            for attribute in os.listxattr(source):
                if is_kept(os.fsencode(attribute)):
                    os.setxattr(fd, attribute, os.getxattr(source, attribute))
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(source)
            os.close(fd)

    def _touch(self, parent: int, name: bytes, entry: Entry) -> None:
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _xattrs(self, fd: int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not is_kept(name) or len(name) > 255 or len(value) > self._limits.max_xattr:
                self._result.dropped_xattrs[printable(name)] += 1
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.EINVAL, errno.ERANGE):
                    raise
                self._result.dropped_xattrs[printable(name)] += 1

    def _drop(self, entry: Entry) -> None:
        self._result.dropped_xattrs.update(printable(name) for name in entry.xattrs)

    def _count(self, size: int) -> None:
        self._result.bytes += size
        self._until_check -= size
        if self._until_check <= 0:
            self._check_space()

    def _check_space(self) -> None:
        self._until_check = _CHECK_SPACE
        free = os.fstatvfs(self._directories.root)
        reserve = min(int(free.f_blocks * free.f_frsize * self._limits.min_free_ratio), self._limits.min_free_cap)
        if free.f_bavail * free.f_frsize < reserve:
            raise ResourceExhausted(
                f"{free.f_bavail * free.f_frsize >> 20} MiB are free where images are unpacked, "
                f"{reserve >> 20} MiB are kept free",
                hint="`lading image prune`, or a larger disk",
            )

    def _set_times(self) -> None:
        for path, mtime in {**self._directories.copied, **self._times}.items():
            with suppress(OSError):  # removed or replaced since, or a link that now goes round
                fd = self._directories.existing(path or b".")
                if fd is not None:
                    try:
                        os.utime(fd, ns=(mtime, mtime))
                    finally:
                        os.close(fd)


def _set_mode(parent: int, name: bytes, mode: int) -> None:
    """chmod of a node, which is not opened for it, and of nothing that a link leads to: chmod follows links."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _no_target(entry: Entry) -> InvalidArgument:
    return InvalidArgument(f"{printable(entry.name)}: a hard link to {printable(entry.link)}, which is no file here")


def _remove_tree(parent: int, name: bytes) -> None:
    """Remove a folder and all in it, iteratively: archives may nest deeper than Python recurses."""
    stack: list[tuple[int, bytes, int]] = [(parent, name, os.open(name, _OPEN_DIRECTORY, dir_fd=parent))]
    try:
        while stack:
            holder, own, fd = stack[-1]
            deeper: bytes | None = None
            with os.scandir(fd) as children:
                for child in children:
                    if child.is_dir(follow_symlinks=False):
                        deeper = os.fsencode(child.name)
                        break
                    os.unlink(child.name, dir_fd=fd)
            if deeper is not None:
                stack.append((fd, deeper, os.open(deeper, _OPEN_DIRECTORY, dir_fd=fd)))
                continue
            stack.pop()
            os.close(fd)
            os.rmdir(own, dir_fd=holder)
    finally:
        for _, _, fd in stack:
            os.close(fd)


def _explained(entry: Entry, error: OSError) -> EngineError:
    what = f"{printable(entry.name)}: {os.strerror(error.errno or errno.EIO)}"
    if error.errno in _FULL:
        return ResourceExhausted(what, hint="make room and try again")
    return InvalidArgument(what)


__all__ = ["Extracted", "NeedsLower", "extract"]
