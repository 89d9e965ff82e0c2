"""Packing: a tree of a container as a tar stream, while the container may change it.

Every entry is opened without following or touching it (O_PATH) and only then looked at: a fifo or a device that takes the
place of a file in between is never opened for reading.
"""

import os
import stat
from collections.abc import Iterator

from drivers.copy.tree import FOLDER, handle
from drivers.images.extract import is_kept
from drivers.images.limits import Limits
from drivers.images.tar import Entry, Type, printable
from drivers.images.tarwriter import END, header, padding
from drivers.kernel.statfs import is_kernel_file_system
from resources.errors import DataLoss, ResourceExhausted

_CHUNK = 1 << 20
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TYPES = {
    stat.S_IFREG: Type.FILE,
    stat.S_IFDIR: Type.DIRECTORY,
    stat.S_IFLNK: Type.SYMLINK,
    stat.S_IFCHR: Type.CHAR,
    stat.S_IFBLK: Type.BLOCK,
    stat.S_IFIFO: Type.FIFO,
}
_Level = tuple[int, Iterator["os.DirEntry[str]"], bytes]


class Packer:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._kernel: dict[int, bool] = {}

    def archive(self, fd: int, name: bytes) -> Iterator[bytes]:
        """The whole archive of what `fd` is open on, which is closed at the end."""
        levels: list[_Level] = []
        try:
            yield from self._entry(fd, name, levels)
            while levels:
                directory, children, above = levels[-1]
                child = next(children, None)
                if child is None:
                    levels.pop()
                    children.close()  # type: ignore[attr-defined]
                    os.close(directory)
                    continue
                raw = os.fsencode(child.name)
                try:
                    found = os.open(raw, _ENTRY, dir_fd=directory)
                except FileNotFoundError:
                    continue  # removed meanwhile
                yield from self._entry(found, above + b"/" + raw, levels)
        except OSError as error:
            raise DataLoss(f"the copy is not complete: {error.strerror}", hint="try again") from error
        finally:
            for directory, children, _ in levels:
                children.close()  # type: ignore[attr-defined]
                os.close(directory)
        yield END

    def _entry(self, fd: int, name: bytes, levels: list[_Level]) -> Iterator[bytes]:
        try:
            status = os.fstat(fd)
            kind = _TYPES.get(stat.S_IFMT(status.st_mode))
            if kind is None:
                return  # a socket
            first = self._first_name(status, name) if kind is not Type.DIRECTORY else None
            if first is not None:
                yield header(_described(Type.HARDLINK, name, status, link=first))
            elif kind is Type.FILE:
                if not self._of_kernel(fd, status):
                    yield from _content(fd, name)
            elif kind is Type.DIRECTORY:
                yield header(_described(kind, name + b"/", status, xattrs=_xattrs(fd)))
                if not self._of_kernel(fd, status):
                    self._descend(fd, name, levels)
            else:
                link = os.readlink(b"", dir_fd=fd) if kind is Type.SYMLINK else b""
                yield header(_described(kind, name, status, link=link))
        finally:
            os.close(fd)

    def _descend(self, fd: int, name: bytes, levels: list[_Level]) -> None:
        if len(levels) >= self._limits.max_depth:
            raise ResourceExhausted(f"{printable(name)}: more than {self._limits.max_depth} folders deep")
        directory = os.open(handle(fd), FOLDER)
        levels.append((directory, os.scandir(directory), name))

    def _first_name(self, status: os.stat_result, name: bytes) -> bytes | None:
        """The entry that is the same file already; None for the first."""
        if status.st_nlink < 2:
            return None
        key = (status.st_dev, status.st_ino)
        first = self._first_names.setdefault(key, name)
        return None if first is name else first

    def _of_kernel(self, fd: int, status: os.stat_result) -> bool:
        known = self._kernel.get(status.st_dev)
        if known is None:
            known = self._kernel[status.st_dev] = is_kernel_file_system(fd)
        return known


def _content(fd: int, name: bytes) -> Iterator[bytes]:
    file = os.open(handle(fd), _FILE)
    try:
        status = os.fstat(file)
        yield header(_described(Type.FILE, name, status, xattrs=_xattrs(file)))
        left = status.st_size
        while left and (data := os.read(file, min(_CHUNK, left))):
            left -= len(data)
            yield data
        while left:  # it has shrunk
            zeros = bytes(min(_CHUNK, left))
            left -= len(zeros)
            yield zeros
        yield padding(status.st_size)
    finally:
        os.close(file)


def _described(
    kind: Type, name: bytes, status: os.stat_result, *, link: bytes = b"", xattrs: dict[bytes, bytes] | None = None
) -> Entry:
    return Entry(
        kind,
        name,
        link,
        status.st_size if kind is Type.FILE else 0,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        xattrs or {},
    )


def _xattrs(fd: int) -> dict[bytes, bytes]:
    path = handle(fd)
    try:
        names = [os.fsencode(name) for name in os.listxattr(path)]
        return {name: os.getxattr(path, name) for name in names if is_kept(name)}
    except OSError:
        return {}  # no xattrs there, or removed between the two calls
