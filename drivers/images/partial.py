"""A blob on its way in: what has come of it, kept in ingest/ under its digest so that another attempt goes on there."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from drivers.images.interface import Descriptor
from drivers.kernel.durable import sync_directory
from resources.errors import DataLoss, EngineError, ResourceExhausted, Unavailable

_PIECE = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def storage_error(error: OSError) -> EngineError:
    if error.errno in _NO_ROOM:
        return ResourceExhausted(f"no room for the content: {error.strerror}", hint="`lading image prune`")
    return DataLoss(f"cannot store the content: {error.strerror}")


class Partial:
    """Written from its start to its end, in one process at a time; every byte is hashed as it is written or found."""

    def __init__(self, path: Path, target: Path, expected: Descriptor, check: Callable[[], None]) -> None:
        """`check` is called now and then while what is there is hashed. Raises: Unavailable when another process has it."""
        self._path = path
        self._target = target
        self._expected = expected
        self._hash = hashlib.sha256()
        self.size = 0
        self._committed = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock()
            self._take_up(check)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> "Partial":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.size and not self._committed:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)

    @property
    def left(self) -> int:
        return self._expected.size - self.size

    def write(self, data: bytes) -> None:
        """Raises: ResourceExhausted (nothing is kept then), DataLoss."""
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            if error.errno in _NO_ROOM:
                self.restart()
            raise storage_error(error) from error
        self.size += len(data)

    def restart(self) -> None:
        """Forget what is there; where nothing follows, no file is left."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def verified(self) -> bool:
        return self.size == self._expected.size and f"sha256:{self._hash.hexdigest()}" == self._expected.digest

    def commit(self) -> None:
        """Make it a blob. Raises: DataLoss when it does not verify, and nothing of it is kept."""
        if not self.verified():
            found = f"{self.size} bytes with digest sha256:{self._hash.hexdigest()}"
            self.restart()
            raise DataLoss(
                f"content of {found} where {self._expected.size} bytes with digest {self._expected.digest} were promised",
                hint="damaged or tampered with on the way, or at the registry",
            )
        try:
            os.fchmod(self._fd, 0o400)
            os.fsync(self._fd)
            os.rename(self._path, self._target)
            self._committed = True
            sync_directory(self._target.parent)
        except OSError as error:
            raise storage_error(error) from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another process is fetching {self._expected.digest}") from None
        status = os.fstat(self._fd)
        if not status.st_nlink:
            raise Unavailable(f"{self._expected.digest} has just been fetched or given up elsewhere")

    def _take_up(self, check: Callable[[], None]) -> None:
        if os.fstat(self._fd).st_size > self._expected.size:
            self.restart()
        while data := os.read(self._fd, _PIECE):
            check()
            self._hash.update(data)
            self.size += len(data)
