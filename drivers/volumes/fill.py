"""Fill a volume once: all of it is written beside the data, then moved in, so that a crash leaves nothing half done.

What is being written lies in the volume's own folder, which no container sees: nobody can put links in its way. The data
folder itself stays the same one, for it may be bound into containers already.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drivers.kernel.rename import rename_new
from drivers.kernel.syncfs import syncfs
from resources.errors import FailedPrecondition, ResourceExhausted

_WRITING, _WHOLE = ".filling", ".filled"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_NOT_KEPT = ("trusted.overlay.", "user.overlay.")
_NOT_HERE = (errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.ERANGE)


def fill(target: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make the content in a new folder, unless `target` holds something. One at a time: others wait.

    The root of `target` looks afterwards as `write` left that folder, which looks as `target` did at first.

    Raises: ResourceExhausted, FailedPrecondition, and what `write` raises.
    """
    try:
        parent = os.open(target.parent, _DIRECTORY)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)
            whole = target.parent / _WHOLE
            if whole.exists() or _written(target, parent, write):
                _move(whole, target)
        finally:
            os.close(parent)
    except OSError as error:
        kind = ResourceExhausted if error.errno in _FULL else FailedPrecondition
        raise kind(f"cannot fill {target}: {error.strerror}", hint="the volume is as it was before") from error


def _written(target: Path, parent: int, write: Callable[[Path], None]) -> bool:
    writing = target.parent / _WRITING
    if writing.exists():
        shutil.rmtree(writing)
    if os.listdir(target):
        return False
    writing.mkdir(mode=0o700)
    try:
        status = target.stat()
        os.chown(writing, status.st_uid, status.st_gid)
        os.chmod(writing, stat.S_IMODE(status.st_mode))
        write(writing)
        syncfs(parent)
        os.rename(writing, target.parent / _WHOLE)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    return True


def _move(whole: Path, target: Path) -> None:
    source, destination = os.open(whole, _DIRECTORY), os.open(target, _DIRECTORY)
    status = os.fstat(source)  # its times change with what is moved out
    try:
        for name in os.listdir(source):
            # Something a container made of that name meanwhile is newer than what the volume begins with.
            rename_new(name, src_dir_fd=source, dst_dir_fd=destination)
        copy_attributes(source, destination)
        os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(source)
        os.close(destination)
    shutil.rmtree(whole)


def copy_attributes(source: int, destination: int) -> None:
    """Owner first (it drops setuid bits), then mode, then xattrs (owner drops capabilities too), times last."""
    status = os.fstat(source)
    os.fchown(destination, status.st_uid, status.st_gid)
    os.fchmod(destination, stat.S_IMODE(status.st_mode))
    for name in _xattrs(source):
        try:
            os.setxattr(destination, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def _xattrs(fd: int) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listxattr(fd) if not name.startswith(_NOT_KEPT)]
    return []
