"""One engine a state root: held by a lock that ends with its process, however it ends."""

import fcntl
import os
from pathlib import Path

from resources.errors import FailedPrecondition


class EngineLock:
    """Raises: FailedPrecondition naming the process that holds it."""

    def __init__(self, root: Path) -> None:
        self._fd = os.open(root / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise FailedPrecondition(
                f"another engine (pid {holder or 'unknown'}) serves {root}",
                hint="talk to that one, end it with `lading shutdown`, or give another --root",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)
