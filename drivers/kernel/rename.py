"""renameat2(2): a rename that replaces nothing."""

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_NOREPLACE = 1


def rename_new(name: str, *, src_dir_fd: int, dst_dir_fd: int) -> bool:
    """Move `name` from one directory to the other; False when there is something of that name already.

    Raises: OSError.
    """
    raw = os.fsencode(name)
    if _libc.renameat2(ctypes.c_int(src_dir_fd), raw, ctypes.c_int(dst_dir_fd), raw, ctypes.c_uint(_NOREPLACE)) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    raise OSError(code, os.strerror(code), name)
