"""Letting a created process go on, without running the OCI runtime for it.

The init of a created container waits at the fifo `exec.fifo`: crun's for a byte to read, runc's for somebody to take its
byte. A `crun start` or `runc start` would outlive an engine that is killed and race with that of the next one; killed
itself between its steps, it leaves an init that waits for ever and looks like a running task. Here the fifo is removed
last, so whoever is killed in between leaves a fifo that nobody waits at any more, and the next start is free to try.
"""

import contextlib
import errno
import os
import select
import time
from pathlib import Path

from resources.errors import Unavailable

FIFO = "exec.fifo"
_TIMEOUT = 30.0
_LOOK = 10
"""Milliseconds between two looks whether runc's init still waits."""


def waits(pid: int, fifo: Path) -> bool:
    """Whether the process is an init that has not been started: both runtimes keep the fifo open until then."""
    with contextlib.suppress(OSError):
        wanted = fifo.stat()
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(f"/proc/{pid}/fd/{name}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False


def let_go(runtime: str, pid: int, fifo: Path) -> None:
    """Start the process that waits at `fifo`; one that waits no more, or is dead, is left as it is.

    Raises: Unavailable when it does not come to the fifo.
    """
    try:
        if runtime == "runc":
            _take_byte(pid, fifo)
        else:
            _give_byte(fifo)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENXIO, errno.EPIPE):  # nobody waits there
            raise
    fifo.unlink(missing_ok=True)


def _give_byte(fifo: Path) -> None:
    fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(fd, b"\0")
    finally:
        os.close(fd)


def _take_byte(pid: int, fifo: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        # With the fifo open here init's own open no longer blocks; it writes and closes.
        while not poll.poll(_LOOK):
            if not waits(pid, fifo):
                return
            if time.monotonic() > deadline:
                raise Unavailable("the created process does not come to its start", hint="is the host loaded?")
        os.read(fd, 1)
    finally:
        os.close(fd)
