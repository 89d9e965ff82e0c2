"""The run root in memory, whatever the host's /run is: what lies there must not outlive a boot, and a config.json, which
holds the secrets of an environment, must not reach a disk."""

import os
from contextlib import suppress
from pathlib import Path

from drivers.kernel.mount import mount, mounts, unmount
from drivers.kernel.private import is_mount_point
from drivers.kernel.statfs import is_in_memory
from drivers.snapshots.interface import Mount
from resources.errors import FailedPrecondition, Unavailable

MODE = 0o711
"""Members of the group pass to the sockets; every folder below is closed to them."""


class RunRoot:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.fresh = False
        """Whether `open` has mounted it: nothing of an earlier life is in it."""

    def open(self) -> None:
        """Raises: FailedPrecondition for a folder on a disk that holds something already, Unavailable."""
        try:
            self._path.mkdir(mode=MODE, parents=True, exist_ok=True)
            if not is_in_memory(self._path):
                if os.listdir(self._path):
                    raise FailedPrecondition(
                        f"{self._path} is on a disk and is not empty", hint="empty it, or give another --run-root"
                    )
                options = ("nosuid", "nodev", "noexec", f"mode={MODE:04o}", "private")
                mount(Mount("tmpfs", "tmpfs", options), self._path)
                self.fresh = True
            self._path.chmod(MODE)
        except OSError as error:
            raise Unavailable(f"the run root {self._path} cannot be made: {error.strerror}") from error

    def release(self) -> None:
        """Unmount it, if it is a mount of its own with nothing mounted in it. Whether anything lives there is for the
        caller to know."""
        inside = f"{self._path}/"
        if is_mount_point(self._path) and not any(found.target.startswith(inside) for found in mounts()):
            with suppress(FailedPrecondition):
                unmount(self._path)
