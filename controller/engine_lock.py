"""One engine a state root: held by a lock that ends with its process, however it ends."""

import contextlib
import fcntl
import os
from pathlib import Path

from resources.errors import FailedPrecondition


class EngineLock:
    """Raises: FailedPrecondition naming the process that holds it."""

    def __init__(self, root: Path) -> None:
        # On the folder, which nobody removes by mistake as a file in it may be; the file says whose it is.
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        file = root / "engine.lock"
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise FailedPrecondition(
                f"another engine (pid {_holder(file) or 'unknown'}) serves {root}",
                hint="talk to that one, end it with `lading shutdown`, or give another --root",
            ) from None
        with contextlib.suppress(OSError):  # a full disk, say
            file.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        os.close(self._fd)


def _holder(file: Path) -> str:
    try:
        return file.read_bytes()[:32].decode(errors="replace").strip()
    except OSError:
        return ""
