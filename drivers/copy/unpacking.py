"""Unpacking a tar below a folder of a container's tree, which the container may change at the same time.

A parent is resolved inside the root for each entry anew and is a descriptor from then on; the last component is made with
O_EXCL and follows nothing. So whatever is swapped meanwhile, everything lands somewhere inside the root.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from drivers.copy.tree import FOLDER, handle, open_folder
from drivers.images.extract import is_kept
from drivers.images.limits import Limits
from drivers.images.tar import Entry, TarReader, Type, printable
from drivers.images.treepath import clean
from drivers.kernel.statfs import is_kernel_file_system
from resources.errors import EngineError, FailedPrecondition, InvalidArgument, ResourceExhausted

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {Type.CHAR: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK, Type.FIFO: stat.S_IFIFO}
_CHUNK = 1 << 20
_TRIES = 100
"""How often the container may put something in the way again before it is told so."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_REFUSED = (errno.EROFS, errno.EPERM, errno.EACCES, errno.EBUSY)


class Unpacker:
    """`base` is the normal path of the folder to unpack below."""

    def __init__(self, root: int, base: bytes, limits: Limits) -> None:
        self._root = root
        self._base = base
        self._limits = limits
        self._parent: tuple[bytes, int] | None = None
        self._times: dict[bytes, int] = {}

    def close(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def run(self, reader: TarReader) -> None:
        """Raises: InvalidArgument, FailedPrecondition, ResourceExhausted, each naming the entry."""
        for entry in reader:
            try:
                self._one(entry, reader)
            except OSError as error:
                raise _explained(entry, error) from error
            except FailedPrecondition as error:
                raise FailedPrecondition(f"{printable(entry.name)}: {error.message}", hint=error.hint) from error
        self._set_times()

    def _one(self, entry: Entry, reader: TarReader) -> None:
        path = clean(entry.name, self._limits)
        if not path:
            if entry.type is not Type.DIRECTORY:
                raise InvalidArgument(f"{printable(entry.name)}: no name, and no folder")
            return  # the folder that was asked for: it is there, and stays as it is
        if entry.type is Type.DIRECTORY:
            self._make_folder(path, entry)
            return
        folder, _, name = path.rpartition(b"/")
        parent = self._parent_of(folder)
        if entry.type is Type.FILE:
            self._file(parent, name, entry, reader)
        elif entry.type is Type.HARDLINK:
            self._hard_link(parent, name, path, entry)
        elif entry.type is Type.SYMLINK:
            _replace(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
            _dress(parent, name, entry, stat.S_IFLNK)
        else:
            kind, device = _NODES[entry.type], os.makedev(entry.major, entry.minor)
            _replace(parent, name, lambda: os.mknod(name, kind | 0o600, device, dir_fd=parent))
            _dress(parent, name, entry, kind)

    def _parent_of(self, folder: bytes) -> int:
        if self._parent is None or self._parent[0] != folder:
            fd = self._folder(folder)
            self.close()
            self._parent = folder, fd
        return self._parent[1]

    def _folder(self, path: bytes) -> int:
        """Open a folder, links followed inside the root; make it, and those above it, when it is not there."""
        try:
            return _guarded(open_folder(self._root, self._base + b"/" + path))
        except FileNotFoundError:
            if not path:
                raise
        above, _, name = path.rpartition(b"/")
        holder = self._folder(above)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=holder)
            return _guarded(os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=holder))
        finally:
            os.close(holder)

    def _make_folder(self, path: bytes, entry: Entry) -> None:
        fd = self._folder(path)
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = entry.mtime_ns

    def _file(self, parent: int, name: bytes, entry: Entry, reader: TarReader) -> None:
        try:
            made: list[int] = []
            _replace(parent, name, lambda: made.append(os.open(name, _NEW, 0o600, dir_fd=parent)))
            fd = made[0]
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            fd = _mounted_file(parent, name)
        try:
            while data := reader.read(_CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _hard_link(self, parent: int, name: bytes, path: bytes, entry: Entry) -> None:
        target = clean(entry.link, self._limits)
        if not target or target == path:
            raise InvalidArgument(f"{printable(entry.name)}: a hard link to itself or to nothing")
        folder, _, other = target.rpartition(b"/")
        source = _guarded(open_folder(self._root, self._base + b"/" + folder))
        try:
            _replace(
                parent,
                name,
                lambda: os.link(other, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
            )
        finally:
            os.close(source)

    def _set_times(self) -> None:
        for path, mtime in self._times.items():
            with suppress(OSError):  # removed or replaced since
                fd = open_folder(self._root, self._base + b"/" + path)
                try:
                    os.utime(fd, ns=(mtime, mtime))
                finally:
                    os.close(fd)


def _guarded(fd: int) -> int:
    """Nothing is written into file systems that are interfaces of the kernel: a write there is an order to the host."""
    if is_kernel_file_system(fd):
        os.close(fd)
        raise FailedPrecondition(
            "nothing is copied into a file system of the kernel", hint="`lading exec` can write there"
        )
    return fd


def _replace(parent: int, name: bytes, make: Callable[[], object]) -> None:
    """Make something where something else may be, a folder excepted. Raises: OSError."""
    for attempt in range(_TRIES):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        try:
            make()
            return
        except FileExistsError:
            if attempt == _TRIES - 1:
                raise


def _mounted_file(parent: int, name: bytes) -> int:
    """A mount point cannot be replaced: a file mounted there is written in place."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode) or is_kernel_file_system(found):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return os.open(handle(found), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    finally:
        os.close(found)


def _dress(parent: int, name: bytes, entry: Entry, kind: int) -> None:
    """Owner, mode and time of what was just made, and of nothing that was put in its place."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(fd)
        if stat.S_IFMT(status.st_mode) != kind or status.st_nlink != 1 or status.st_uid != 0:
            return
        os.chown(handle(fd), entry.uid, entry.gid)
        if kind != stat.S_IFLNK:
            os.chmod(handle(fd), entry.mode)
        os.utime(handle(fd), ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def _set_xattrs(fd: int, entry: Entry) -> None:
    for name, value in entry.xattrs.items():
        if is_kept(name):
            with suppress(OSError):  # this file system keeps none, or not this one
                os.setxattr(fd, name, value)


def _explained(entry: Entry, error: OSError) -> EngineError:
    what = f"{printable(entry.name)}: {os.strerror(error.errno or errno.EIO)}"
    if error.errno in _FULL:
        return ResourceExhausted(what, hint="make room and try again")
    if error.errno in _REFUSED:
        return FailedPrecondition(what, hint="is the root read-only, or is something mounted there?")
    return InvalidArgument(what)
