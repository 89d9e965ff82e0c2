"""Where a population from an image reads: a view of its layers, mounted as long as the copy takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.snapshots.interface import RootFilesystems, Snapshotter


class SeedViews:
    def __init__(self, snapshotter: Snapshotter, root_filesystems: RootFilesystems) -> None:
        self._snapshotter = snapshotter
        self._mounts = root_filesystems

    @contextmanager
    def mounted(self, uid: str, chain_id: str) -> Iterator[Path]:
        try:
            yield self._mounts.mount(_mount_name(uid), self._snapshotter.view(_view_key(uid), chain_id))
        finally:
            self.drop(uid)

    def drop(self, uid: str) -> None:
        self._mounts.unmount(_mount_name(uid))
        self._snapshotter.remove(_view_key(uid))

    def left(self, uid: str) -> bool:
        return self._snapshotter.stat(_view_key(uid)) is not None or _mount_name(uid) in self._mounts.mounted()


def _view_key(uid: str) -> str:
    return f"populate-{uid}"


def _mount_name(uid: str) -> str:
    # Where the task of a container has its incarnation, a volume has none.
    return f"{uid:0<64}.populate"
