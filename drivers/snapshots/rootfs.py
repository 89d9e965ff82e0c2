"""Root file systems of containers, mounted at `<run root>/rootfs/<name>`."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drivers.kernel.mount import mount, mounts
from drivers.kernel.private import PrivateFolder, is_mount_point, unmount_all
from drivers.snapshots.interface import Mount
from drivers.snapshots.names import checked_name, is_name
from resources.errors import FailedPrecondition, InvalidArgument, Unavailable, Unsupported


class MountedRootFilesystems:
    def __init__(self, run_root: Path) -> None:
        self._folder = PrivateFolder(run_root / "rootfs")

    def mount(self, name: str, mounts: Sequence[Mount]) -> Path:
        path = self.path(name)
        if not mounts:
            raise InvalidArgument(f"nothing to mount for {name}")
        with self._folder.lock:
            if is_mount_point(path):
                return path
            try:
                self._folder.open()
                path.mkdir(mode=0o700, exist_ok=True)
                for description in mounts:
                    mount(description, path)
            except (FailedPrecondition, Unsupported) as error:
                self.unmount(name)
                raise Unavailable(error.message, hint=error.hint) from error
            except BaseException:
                self.unmount(name)
                raise
        return path

    def unmount(self, name: str) -> None:
        path = self.path(name)
        with self._folder.lock:
            unmount_all(path)
            with suppress(FileNotFoundError):
                path.rmdir()
            self._folder.release()

    def path(self, name: str) -> Path:
        return self._folder.path / checked_name(name)

    def mounted(self) -> frozenset[str]:
        prefix = os.path.realpath(self._folder.path) + "/"
        targets = (m.target.removeprefix(prefix) for m in mounts() if m.target.startswith(prefix))
        return frozenset(name for name in targets if is_name(name))

    def cleanup(self, known: Sequence[str]) -> int:
        strangers = [name for name in self._folder.names() if is_name(name) and name not in set(known)]
        for name in strangers:
            self.unmount(name)
        with self._folder.lock:
            self._folder.release()
        return len(strangers)
