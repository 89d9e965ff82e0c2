"""Folders of the run root that mounts are made in."""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drivers.kernel.mount import mount, unmount
from drivers.snapshots.interface import Mount
from resources.errors import EngineError, FailedPrecondition


class PrivateFolder:
    """A tmpfs of its own: private, so that what is mounted in it is seen nowhere else, and another file system than all
    that is mounted in it, so that one stat tells whether something is. It comes with the first entry and goes with the last.

    It is unbindable too: a container that is given the host's whole tree gets nothing of it and keeps nothing busy.
    """

    def __init__(self, path: Path, *, preferred: Sequence[str] = (), bindable: bool = False) -> None:
        """`preferred` are mount options that older kernels may lack; `bindable` for files that lie in the tmpfs itself."""
        self.path = path
        self.lock = threading.RLock()
        """Held from `open` until there is an entry, and from the last one's removal to `release`."""
        self._preferred = tuple(preferred)
        self._propagation = "private" if bindable else "unbindable"

    def open(self) -> None:
        if is_mount_point(self.path):
            return
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = ("nosuid", "nodev", "noexec", "mode=0700")
        try:
            mount(Mount("tmpfs", "tmpfs", (*options, *self._preferred, self._propagation)), self.path)
        except EngineError:
            if not self._preferred:
                raise
            mount(Mount("tmpfs", "tmpfs", (*options, self._propagation)), self.path)

    def release(self) -> None:
        """Unmount it when it is empty."""
        if is_mount_point(self.path) and not os.listdir(self.path):
            with suppress(FailedPrecondition):
                unmount(self.path, detach=False)
        with suppress(OSError):
            self.path.rmdir()

    def names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []


def is_mount_point(path: Path) -> bool:
    """Whether another file system than that of its folder is mounted on `path`."""
    try:
        return os.lstat(path).st_dev != os.lstat(path.parent).st_dev
    except (FileNotFoundError, NotADirectoryError):
        return False


def unmount_all(path: Path) -> None:
    while is_mount_point(path):
        unmount(path)
