"""Sources of binds, held still at `<run root>/stage/<task id>/<slot>`.

A source is opened once and bound from its descriptor, so nothing that is renamed meanwhile is looked at again. The copy
is a slave of where it came from: mounts made there later are seen here, nothing done here is seen there.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from drivers.kernel.mount import bind_descriptor
from drivers.kernel.openat2 import Resolve, openat2
from drivers.kernel.private import PrivateFolder, is_mount_point, unmount_all
from drivers.volumes.names import checked_slot, checked_task, is_task
from resources.errors import EngineError, FailedPrecondition, InvalidArgument, ResourceExhausted

_OPEN = os.O_PATH | os.O_CLOEXEC
_INSIDE = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS


class BoundStage:
    def __init__(self, run_root: Path) -> None:
        self._folder = PrivateFolder(run_root / "stage")

    def stage(self, task_id: str, slot: str, source: Path, inner: str = "", *, create: bool = False) -> Path:
        target = self._folder.path / checked_task(task_id) / checked_slot(slot)
        with _opened(source, inner, create) as fd:
            status = os.fstat(fd)
            with self._folder.lock:
                if is_mount_point(target):
                    present = os.lstat(target)
                    if (present.st_dev, present.st_ino) == (status.st_dev, status.st_ino):
                        return target
                    unmount_all(target)
                _remove(target)
                try:
                    self._folder.open()
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    if stat.S_ISDIR(status.st_mode):
                        target.mkdir(mode=0o700)
                    else:
                        target.touch(mode=0o600)
                    node = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
                    bind_descriptor(fd, target, ("nosuid", "rslave") if node else ("nosuid", "nodev", "rslave"))
                except OSError as error:
                    raise ResourceExhausted(f"cannot hold {source} still: {error.strerror}") from error
        return target

    def unstage(self, task_id: str) -> None:
        folder = self._folder.path / checked_task(task_id)
        failures: list[EngineError] = []
        with self._folder.lock:
            with suppress(FileNotFoundError):
                for name in os.listdir(folder):
                    try:
                        unmount_all(folder / name)
                        _remove(folder / name)
                    except (EngineError, OSError) as error:
                        failures.append(FailedPrecondition(f"{folder / name} stays: {error}"))
                if not failures:
                    folder.rmdir()
            self._folder.release()
        if failures:
            raise ExceptionGroup(f"not everything staged for task {task_id[:12]} is gone", failures)

    def list(self) -> Sequence[str]:
        return [name for name in self._folder.names() if is_task(name)]


def _remove(target: Path) -> None:
    with suppress(FileNotFoundError):
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()


@contextmanager
def _opened(source: Path, inner: str, create: bool) -> Iterator[int]:
    parts = [part for part in inner.split("/") if part not in ("", ".")]
    if not source.is_absolute() or inner.startswith("/") or ".." in parts or "\0" in f"{source}{inner}":
        raise InvalidArgument(f"{source} {inner!r}: the source of a bind is absolute, what is inside it is not")
    fds: list[int] = []
    try:
        if create and not source.exists():
            source.mkdir(mode=0o755, parents=True, exist_ok=True)
        fds.append(os.open(source, _OPEN))
        for depth in range(1, len(parts) + 1):
            fds.append(_inside(fds[0], parts[:depth], fds[-1]))
        yield fds[-1]
    except OSError as error:
        what = f"{source}{f' (in it: {inner})' if inner else ''} cannot be bound: {error.strerror}"
        hint = "make it, or say `create: true`" if error.errno == errno.ENOENT else ""
        raise FailedPrecondition(what, hint=hint) from error
    finally:
        for fd in fds:
            os.close(fd)


def _inside(root: int, parts: list[str], parent: int) -> int:
    """Open what is at `parts` below `root`; a folder like its parent is made when nothing is."""
    path = "/".join(parts)
    with suppress(FileNotFoundError):
        return openat2(path, _OPEN, dir_fd=root, resolve=_INSIDE)
    # Whatever became of its name meanwhile, `parent` was reached inside the root: what is made is made inside.
    with suppress(FileExistsError):
        os.mkdir(parts[-1], 0o700, dir_fd=parent)
        fd = os.open(parts[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            status = os.fstat(parent)
            os.fchown(fd, status.st_uid, status.st_gid)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    return openat2(path, _OPEN, dir_fd=root, resolve=_INSIDE)
