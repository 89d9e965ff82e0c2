"""openat2(2): open a path that must stay below a directory, whatever symbolic links the tree holds."""

import ctypes
import errno
import os
from enum import IntFlag

_SYS_OPENAT2 = 437  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Resolve(IntFlag):
    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    """Leaving the directory is an error (EXDEV)."""
    IN_ROOT = 0x10
    """The directory is the root: absolute links and `..` start and stop there."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(path: str | bytes | os.PathLike[str], flags: int, *, dir_fd: int, resolve: Resolve, mode: int = 0) -> int:
    """Open `path` relative to `dir_fd` and return the descriptor (close-on-exec always).

    Raises: OSError with the kernel's errno: EXDEV when the path leaves the directory under BENEATH, ELOOP for a link that is
    not allowed, EAGAIN never (raced renames are tried again a few times first).
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, int(resolve))
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise OSError(errno.EINVAL, "path holds a NUL byte")
    for _ in range(64):
        fd = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(dir_fd),
            ctypes.c_char_p(raw),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        # EAGAIN: somebody renamed something below the root while the kernel looked; the man page says try again.
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code), os.fsdecode(raw))
