"""Files and folders of ours alone, above all in the run root. Whatever else lies in the place of one is taken away: nothing in
memory that is not ours can be lost there. Nothing here ever waits, follows a link, or reads without a bound.
"""

import errno
import os
import stat
from contextlib import suppress

_NEVER_WAIT = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_MAX_DEPTH = 64
TEMPORARY = ".new-"
"""How the name of a file begins that is being written."""


def read(path: str, limit: int) -> bytes:
    """Raises: OSError, also for what is no regular file or is longer than that."""
    fd = os.open(path, os.O_RDONLY | _NEVER_WAIT)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        found = bytearray()
        if status.st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        while data := os.read(fd, min(status.st_size + 1, limit + 1)):
            found += data
            if len(found) > limit:  # it grows while it is read
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return bytes(found)
    finally:
        os.close(fd)


def replace(folder: str, name: str, data: bytes) -> None:
    """The file as a whole; the folder is made where it is not there. Raises: OSError with the path, and leaves nothing behind."""
    path, temporary = f"{folder}/{name}", f"{folder}/{TEMPORARY}{name}"
    try:
        fd = _new(folder, temporary)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        try:
            os.rename(temporary, path)
        except IsADirectoryError:
            clear(path)
            os.rename(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise OSError(error.errno, error.strerror, path) from None


def held_open(path: str, flags: int) -> int:
    """A descriptor of a regular file that is made where it is not there. Raises: OSError."""
    while True:
        try:
            fd = os.open(path, flags | os.O_CREAT | _NEVER_WAIT, 0o600)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
                raise
        else:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
        clear(path)


def make_folder(path: str) -> None:
    """Raises: OSError."""
    keep_folder(path)
    os.makedirs(path, mode=0o700, exist_ok=True)


def keep_folder(path: str) -> None:
    """Nothing lies there but a folder, or nothing at all. Raises: OSError."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)


def clear(path: str) -> None:
    """Whatever it is, a folder with all that is in it. Raises: OSError where something is mounted, which stays."""
    with suppress(FileNotFoundError):
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            _clear_folder(path, status.st_dev, _MAX_DEPTH)
        else:
            os.unlink(path)


def reason(error: OSError) -> str:
    """For users: where, and what is the matter there."""
    said = error.strerror or (os.strerror(error.errno) if error.errno else "it cannot be used")
    where = error.filename if isinstance(error.filename, str) else ""
    return f"{where}: {said}" if where else said


def _new(folder: str, path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEVER_WAIT
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        clear(path)
    except (FileNotFoundError, NotADirectoryError):
        make_folder(folder)
    return os.open(path, flags, 0o600)


def _clear_folder(path: str, device: int, depth: int) -> None:
    with os.scandir(path) as entries:
        found = [(one.path, one.stat(follow_symlinks=False)) for one in entries]
    for inside, status in found:
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(inside)
        elif status.st_dev == device and depth:
            _clear_folder(inside, device, depth - 1)
    os.rmdir(path)
