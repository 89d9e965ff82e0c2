"""Paths inside a root that belongs to a container, which may change everything below it at any time.

Only the kernel resolves (openat2, RESOLVE_IN_ROOT): links start and stop at the root, also while they are swapped. What
was found is a descriptor, and it is that which is read or written, never its name again.
"""

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.kernel.openat2 import Resolve, openat2
from resources.errors import InvalidArgument, NotFound

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_RESOLVE = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS


@contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """Raises: NotFound."""
    try:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"the root {root} is not there: {error.strerror}", hint="does the container run?") from error
    try:
        yield fd
    finally:
        os.close(fd)


def normal(path: str) -> bytes:
    """An absolute path without doubled slashes and dots. Raises: InvalidArgument."""
    raw = os.fsencode(path)
    if b"\0" in raw or len(raw) > 4096:
        raise InvalidArgument(f"{path[:80]!r} is not a path", hint="at most 4096 bytes, and no NUL")
    return posixpath.normpath(b"/" + raw.lstrip(b"/"))


def last_name(path: str) -> bytes:
    return normal(path).rpartition(b"/")[2] or b"."


def locate(root: int, path: str) -> int | None:
    """An O_PATH descriptor of what is there. A link itself, unless the path ends with a slash.

    Raises: InvalidArgument.
    """
    flags = os.O_PATH | (os.O_DIRECTORY if path.endswith(("/", "/.")) else os.O_NOFOLLOW)
    try:
        return openat2(normal(path), flags, dir_fd=root, resolve=_RESOLVE)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise InvalidArgument(f"{path[:200]!r} cannot be opened: {error.strerror}") from error


def open_folder(root: int, path: bytes) -> int:
    """Raises: OSError."""
    return openat2(path, FOLDER, dir_fd=root, resolve=_RESOLVE)


def handle(fd: int) -> str:
    """A name for what a descriptor is open on, be it a link: for calls that take no O_PATH descriptor."""
    return f"/proc/self/fd/{fd}"


__all__ = ["FOLDER", "handle", "last_name", "locate", "normal", "open_folder", "opened_root"]
