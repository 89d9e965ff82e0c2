"""pidfds: a process that cannot be confused with a later one of the same pid, and its exit status from the kernel.

PIDFD_GET_INFO (6.13, exit status since 6.15) tells the wait status even to a process that is not the parent, and also
when whoever was the parent is dead: it needs nothing but a pidfd that was opened while the process lived.
"""

import errno
import fcntl
import os
import struct

from drivers.kernel.process import start_time

_INFO_EXIT = 1 << 3
_INFO_SIZE = 80
_PIDFD_GET_INFO = (3 << 30) | (_INFO_SIZE << 16) | (0xFF << 8) | 11
_EXIT_CODE_OFFSET = 60


def open_pidfd(pid: int, started: int | None = None) -> int | None:
    """Open a pidfd; None when the process is gone, or is a later one than the one that started at `started`."""
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise
    if started is not None and start_time(pid) != started:
        os.close(fd)
        return None
    return fd


def exit_status(fd: int) -> int | None:
    """The wait status of a process that was reaped; None while it is not, and on kernels before 6.15."""
    buffer = bytearray(_INFO_SIZE)
    struct.pack_into("=Q", buffer, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(fd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", buffer, 0)
    if not mask & _INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", buffer, _EXIT_CODE_OFFSET)
    return int(status)


def exit_code(status: int) -> int:
    """The code of a wait status as shells and Docker give it: 128 + n for a signal."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
