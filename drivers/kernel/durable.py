"""Files that are there completely or not at all, also after a power cut."""

import contextlib
import itertools
import os
import threading
from pathlib import Path

from drivers.kernel import files

_counter = itertools.count()


def write_durable(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` and return once its content and its name are on the disk."""
    write_atomic(path, content, mode, sync=True)
    sync_directory(path.parent)


def write_atomic(path: Path, content: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
    """Replace `path` in one step, whatever lies there; for file systems that a reboot empties anyway."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.{next(_counter)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(fd)
        try:
            os.rename(temporary, path)
        except IsADirectoryError:
            # What lies on a disk may be somebody's data: there only an empty one makes way.
            if sync:
                os.rmdir(path)
            else:
                files.clear(str(path))
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
