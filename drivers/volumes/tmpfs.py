"""Volumes in memory: a tmpfs each at `<run root>/volumes/<id>`, the data a folder in it.

The record, at `<root>/volumes-tmpfs/<id>.json`, survives a reboot; whether it was populated is a file in the tmpfs itself,
so that it is forgotten exactly when the data is. A released one stays mounted: there is nowhere else to keep the data.
"""

import os
import resource
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from drivers.kernel.mount import mount, unmount
from drivers.kernel.private import PrivateFolder, is_mount_point
from drivers.snapshots.interface import Mount
from drivers.volumes.interface import VolumeConfig, VolumeState
from drivers.volumes.names import checked_volume, is_volume
from drivers.volumes.owner import set_owner, with_owner
from drivers.volumes.records import Record, read_record, released_of, write_record
from drivers.volumes.users import check_unused
from resources.errors import FailedPrecondition, NotFound, ResourceExhausted

_DATA, _POPULATED, _SUFFIX = "data", "populated", ".json"
_PAGE = resource.getpagesize()


class TmpfsVolumes:
    """Without a size the kernel's own limit holds: half of the memory."""

    def __init__(self, root: Path, run_root: Path) -> None:
        self._root = root / "volumes-tmpfs"
        self._folder = PrivateFolder(run_root / "volumes")
        self._lock = threading.RLock()

    def validate(self, config: VolumeConfig) -> None:
        checked_volume(config.id)

    def create(self, config: VolumeConfig) -> None:
        self.validate(config)
        try:
            with self._lock:
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._create(config)
        except OSError as error:
            raise ResourceExhausted(f"cannot make volume {config.id}: {error.strerror}") from error

    def inspect(self, volume_id: str) -> VolumeState | None:
        record = self._record(volume_id)
        if record is None:
            return None
        point = self._point(volume_id, record)
        there, record = with_owner(point / _DATA, record)
        mounted = there and is_mount_point(point)
        return VolumeState(
            volume_id,
            record.claim,
            point / _DATA,
            mounted,
            _size(point, record) if mounted else record.size,
            record.uid,
            record.gid,
            record.mode,
            mounted and (point / _POPULATED).exists(),
            record.released,
            record.applied,
        )

    def mount(self, volume_id: str) -> None:
        with self._lock:
            self._mount(volume_id, self._known(volume_id))

    def delete(self, volume_id: str, *, data: bool) -> None:
        with self._lock:
            record = self._record(volume_id)
            if record is None:
                return
            point = self._point(volume_id, record)
            if is_mount_point(point):
                check_unused(volume_id, point / _DATA, point)
            if not data:
                if not record.released:
                    write_record(self._path(volume_id), replace(record, released=True))
                return
            self._unmount(point)
            self._path(volume_id).unlink()

    def mark_populated(self, volume_id: str) -> None:
        with self._lock:
            point = self._point(volume_id, self._known(volume_id))
            if not is_mount_point(point):
                raise FailedPrecondition(f"volume {volume_id} is not mounted")
            (point / _POPULATED).touch(mode=0o600)

    def list(self, prefix: str = "") -> Sequence[VolumeState]:
        wanted = (volume_id for volume_id in self._ids() if volume_id.startswith(prefix))
        return [state for volume_id in wanted if (state := self.inspect(volume_id))]

    def cleanup(self) -> int:
        """Retained data that a reboot has taken is no data any more."""
        count = 0
        with self._lock:
            for volume_id in self._ids():
                record = self._known(volume_id)
                if record.released and not is_mount_point(self._point(volume_id, record)):
                    self._path(volume_id).unlink()
                    count += 1
        return count

    def _create(self, config: VolumeConfig) -> None:
        record = self._record(config.id)
        if record is None or record.claim != config.claim:
            released = released_of(config, self._others())
            if record is None and released is not None:
                old = self._known(released)
                write_record(self._path(released), replace(old, folder=old.folder or released))
                os.rename(self._path(released), self._path(config.id))
                record = self._known(config.id)
        mode = 0o755 if config.mode is None else config.mode
        fresh = record or Record(config.claim, config.size, config.uid or 0, config.gid or 0, mode)
        wanted = replace(fresh, claim=config.claim, size=config.size, released=False, applied=config)
        if wanted != record:
            # First of all: what is mounted has a record.
            write_record(self._path(config.id), wanted)
        point = self._mount(config.id, wanted)
        if _size(point, wanted) != wanted.size or (record and record.size != wanted.size):
            _resize(point, wanted)
        owned = set_owner(point / _DATA, config, wanted)
        if owned != wanted:
            write_record(self._path(config.id), owned)

    def _mount(self, volume_id: str, record: Record) -> Path:
        point = self._point(volume_id, record)
        with self._folder.lock:
            if not is_mount_point(point):
                self._folder.open()
                point.mkdir(mode=0o700, exist_ok=True)
                mount(Mount("tmpfs", "tmpfs", (*_options(record), "private")), point)
            data = point / _DATA
            if not data.is_dir():
                data.mkdir(mode=0o700)
                set_owner(
                    data, VolumeConfig(volume_id, record.claim, None, record.uid, record.gid, record.mode), record
                )
        return point

    def _unmount(self, point: Path) -> None:
        with self._folder.lock:
            if is_mount_point(point):
                unmount(point, detach=False)
            with suppress(OSError):
                point.rmdir()
            self._folder.release()

    def _point(self, volume_id: str, record: Record) -> Path:
        return self._folder.path / checked_volume(record.folder or volume_id)

    def _path(self, volume_id: str) -> Path:
        return self._root / f"{checked_volume(volume_id)}{_SUFFIX}"

    def _record(self, volume_id: str) -> Record | None:
        return read_record(self._path(volume_id))

    def _known(self, volume_id: str) -> Record:
        record = self._record(volume_id)
        if record is None:
            raise NotFound(f"there is no volume {volume_id}")
        return record

    def _ids(self) -> Sequence[str]:
        names = (path.name.removesuffix(_SUFFIX) for path in self._root.glob(f"*{_SUFFIX}"))
        return sorted(name for name in names if is_volume(name))

    def _others(self) -> Sequence[tuple[str, Record]]:
        ids = sorted(self._ids(), key=lambda volume_id: self._path(volume_id).stat().st_mtime_ns)
        return [(volume_id, record) for volume_id in ids if (record := self._record(volume_id))]


def _options(record: Record) -> tuple[str, ...]:
    return ("nosuid", "nodev", "mode=0700", f"size={'50%' if record.size is None else record.size}")


def _resize(point: Path, record: Record) -> None:
    try:
        mount(Mount("tmpfs", "tmpfs", ("remount", *_options(record))), point)
    except FailedPrecondition as error:
        raise FailedPrecondition(
            f"the volume {record.claim} cannot be held to {record.size} bytes: there is more in it",
            hint="delete some of it, or allow more",
        ) from error


def _size(point: Path, record: Record) -> int | None:
    """The size as it was asked for where the kernel holds to that, rounded to pages; what it holds to otherwise."""
    if record.size is None:
        return None
    status = os.statvfs(point)
    actual = status.f_blocks * status.f_frsize
    return record.size if actual == -(-record.size // _PAGE) * _PAGE else actual
