"""Copy what an image has at a mount point into the empty volume that is mounted there."""

import errno
import os
import stat
from pathlib import Path

from drivers.kernel.openat2 import Resolve, openat2
from drivers.volumes.fill import copy_attributes, fill
from resources.errors import FailedPrecondition

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHILD = _DIRECTORY | os.O_NOFOLLOW
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24
_MAX_DEPTH = 300


class DescriptorCopyUp:
    def copy_up(self, source_root: Path, path: str, target: Path) -> None:
        source = _resolved(source_root, path)
        if source is None:
            return
        try:
            fill(target, lambda folder: _Copy(folder).run(source))
        finally:
            os.close(source)


def _resolved(source_root: Path, path: str) -> int | None:
    """Raises: FailedPrecondition."""
    try:
        root = os.open(source_root, _DIRECTORY)
        try:
            return openat2(path, _DIRECTORY, dir_fd=root, resolve=Resolve.IN_ROOT | Resolve.NO_MAGICLINKS)
        finally:
            os.close(root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and source_root.is_dir():
            return None
        raise FailedPrecondition(f"cannot read {path} in the image: {error.strerror}") from error


class _Copy:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links: dict[tuple[int, int], bytes] = {}
        """Where the first of several names of one file was copied to."""

    def run(self, source: int) -> None:
        self._root = os.open(self._folder, _CHILD)
        try:
            self._children(source, self._root, b"", 0)
            copy_attributes(source, self._root)
        finally:
            os.close(self._root)

    def _children(self, source: int, target: int, path: bytes, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise OSError(errno.ELOOP, "the folders are nested too deeply")
        for text in os.listdir(source):
            name = os.fsencode(text)
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._directory(source, target, name, path + name, depth)
            elif not self._linked(status, target, name, path + name):
                self._leaf(source, target, name, status)

    def _directory(self, source: int, target: int, name: bytes, path: bytes, depth: int) -> None:
        inside = os.open(name, _CHILD, dir_fd=source)
        try:
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, _CHILD, dir_fd=target)
            try:
                self._children(inside, made, path + b"/", depth + 1)
                copy_attributes(inside, made)
            finally:
                os.close(made)
        finally:
            os.close(inside)

    def _linked(self, status: os.stat_result, target: int, name: bytes, path: bytes) -> bool:
        if status.st_nlink == 1:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        os.link(first, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
        return True

    def _leaf(self, source: int, target: int, name: bytes, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            _file(source, target, name)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            # Nobody else is in this folder, and a node is not a link: the name is the node.
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _file(source: int, target: int, name: bytes) -> None:
    given = os.open(name, _SOURCE, dir_fd=source)
    try:
        if not stat.S_ISREG(os.fstat(given).st_mode):
            raise OSError(errno.EBUSY, f"{os.fsdecode(name)!r} changes while it is copied")
        made = os.open(name, _CREATE, 0o600, dir_fd=target)
        try:
            while os.sendfile(made, given, None, _CHUNK):
                pass
            copy_attributes(given, made)
        finally:
            os.close(made)
    finally:
        os.close(given)
