"""syncfs(2): make one file system durable, not all of them as sync(2) does."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def syncfs(fd: int) -> None:
    """Write out the file system that `fd` is on. Raises: OSError, also for an earlier failed write-back."""
    if _libc.syncfs(ctypes.c_int(fd)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
