"""Volumes as folders on the disk: `<root>/volumes/<id>/` holds the record and, beside it, `data` or an `image`.

A volume with a size is an ext4 file system in `image`, mounted at `<run root>/limited/<id>`; its data is a folder in it,
so that nobody is shown its lost+found, and nothing is ever written where it should have been mounted.

A new one is made under another name and renamed when it is whole; a deleted one is renamed first. What has such a name is
for `cleanup`. Data is what has the name of a volume, and only `delete(data=True)` takes that away.
"""

import os
import secrets
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from drivers.kernel.durable import sync_directory
from drivers.kernel.mount import unmount
from drivers.kernel.private import PrivateFolder, is_mount_point
from drivers.volumes import image
from drivers.volumes.interface import VolumeConfig, VolumeState
from drivers.volumes.names import checked_volume, is_volume
from drivers.volumes.owner import set_owner, with_owner
from drivers.volumes.records import Record, read_record, released_of, write_record
from drivers.volumes.users import check_unused
from resources.errors import DataLoss, EngineError, FailedPrecondition, NotFound, ResourceExhausted, Unsupported

_RECORD, _DATA, _IMAGE = "volume.json", "data", "image"
_NEW, _GONE = ".new-", ".gone-"


class LocalVolumes:
    def __init__(self, root: Path, run_root: Path) -> None:
        self._root = root / "volumes"
        self._limited = PrivateFolder(run_root / "limited")
        self._lock = threading.RLock()

    def validate(self, config: VolumeConfig) -> None:
        checked_volume(config.id)
        if config.size is not None:
            image.check(config.size)

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
        path = self._data(volume_id, record)
        there, record = with_owner(path, record)
        mounted = there and (record.size is None or is_mount_point(path.parent))
        return VolumeState(
            volume_id,
            record.claim,
            path,
            mounted,
            record.size,
            record.uid,
            record.gid,
            record.mode,
            record.populated,
            record.released,
            record.applied,
        )

    def mount(self, volume_id: str) -> None:
        with self._lock:
            record = self._record(volume_id)
            if record is None:
                raise NotFound(f"there is no volume {volume_id}")
            self._mount(volume_id, record)

    def delete(self, volume_id: str, *, data: bool) -> None:
        with self._lock:
            record = self._record(volume_id)
            if record is None:
                return
            self._unmount(volume_id, record)
            if not data:
                if not record.released:
                    self._write(volume_id, replace(record, released=True))
                return
            gone = self._root / f"{_GONE}{volume_id}-{secrets.token_hex(4)}"
            os.rename(self._folder(volume_id), gone)
            sync_directory(self._root)
        # Trees may be large, and nobody waits for them. What is left of it after a crash is for `cleanup`.
        threading.Thread(target=shutil.rmtree, args=(gone, True), name="volume-trash", daemon=True).start()

    def mark_populated(self, volume_id: str) -> None:
        with self._lock:
            record = self._record(volume_id)
            if record is None:
                raise NotFound(f"there is no volume {volume_id}")
            if not record.populated:
                self._write(volume_id, replace(record, populated=True))

    def list(self, prefix: str = "") -> Sequence[VolumeState]:
        wanted = (volume_id for volume_id in self._ids() if volume_id.startswith(prefix))
        return [state for volume_id in wanted if (state := self.inspect(volume_id))]

    def cleanup(self) -> int:
        with self._lock:
            with suppress(FileNotFoundError):
                for name in os.listdir(self._root):
                    if name.startswith(_NEW):
                        os.rename(self._root / name, self._root / f"{_GONE}{secrets.token_hex(8)}")
            for name in self._limited.names():
                if is_volume(name) and self._record(name) is None:
                    self._release(name)
        gone = list(self._root.glob(f"{_GONE}*"))
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        return len(gone)

    def _create(self, config: VolumeConfig) -> None:
        record = self._record(config.id)
        if record is None or record.claim != config.claim:
            released = released_of(config, self._others())
            if record is None and released is None:
                record = self._make(config)
            elif record is None and released is not None:
                record = self._take_back(released, config)
        if record is None:
            raise FailedPrecondition(f"volume {config.id} vanished while it was made")
        if record.size != config.size:
            _check_growth(record, config)
        path = self._mount(config.id, record)
        if config.size is not None and config.size != record.size:
            image.grow(self._folder(config.id) / _IMAGE, path.parent, config.size)
        wanted = replace(record, claim=config.claim, size=config.size, released=False, applied=config)
        wanted = set_owner(path, config, wanted)
        if wanted != record:
            self._write(config.id, wanted)

    def _make(self, config: VolumeConfig) -> Record:
        record = Record(config.claim, config.size, config.uid or 0, config.gid or 0, 0o755, applied=config)
        new = self._root / f"{_NEW}{config.id}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        content = new / "content" if config.size is not None else new
        content.mkdir(mode=0o700, exist_ok=True)
        (content / _DATA).mkdir()
        record = set_owner(content / _DATA, replace(config, mode=0o755 if config.mode is None else config.mode), record)
        if config.size is not None:
            image.make(new / _IMAGE, config.size, content)
            shutil.rmtree(content)
        write_record(new / _RECORD, record)
        os.rename(new, self._folder(config.id))
        sync_directory(self._root)
        return record

    def _take_back(self, released: str, config: VolumeConfig) -> Record:
        record = read_record(self._folder(released) / _RECORD)
        if record is None:
            raise FailedPrecondition(f"volume {released} vanished while it was taken back")
        if record.size != config.size:
            _check_growth(record, config)
        self._unmount(released, record)
        # Still released under its new name: what is interrupted here goes on from there.
        os.rename(self._folder(released), self._folder(config.id))
        sync_directory(self._root)
        return record

    def _mount(self, volume_id: str, record: Record) -> Path:
        path = self._data(volume_id, record)
        if record.size is not None:
            file = self._folder(volume_id) / _IMAGE
            if not file.exists():
                raise _lost(volume_id, file)
            with self._limited.lock:
                if not is_mount_point(path.parent):
                    self._limited.open()
                    path.parent.mkdir(mode=0o700, exist_ok=True)
                    image.mount_image(file, path.parent)
        if not path.is_dir() or path.is_symlink():
            raise _lost(volume_id, path)
        return path

    def _unmount(self, volume_id: str, record: Record) -> None:
        """Raises: FailedPrecondition when it is in use."""
        data = self._data(volume_id, record)
        if record.size is None:
            check_unused(volume_id, data)
        else:
            if is_mount_point(data.parent):
                check_unused(volume_id, data, data.parent)
            self._release(volume_id)

    def _release(self, volume_id: str) -> None:
        point = self._limited.path / volume_id
        with self._limited.lock:
            if is_mount_point(point):
                unmount(point, detach=False)
            with suppress(OSError):
                point.rmdir()
            self._limited.release()

    def _data(self, volume_id: str, record: Record) -> Path:
        return (self._folder(volume_id) if record.size is None else self._limited.path / volume_id) / _DATA

    def _folder(self, volume_id: str) -> Path:
        return self._root / checked_volume(volume_id)

    def _record(self, volume_id: str) -> Record | None:
        return read_record(self._folder(volume_id) / _RECORD)

    def _write(self, volume_id: str, record: Record) -> None:
        try:
            write_record(self._folder(volume_id) / _RECORD, record)
        except OSError as error:
            raise ResourceExhausted(f"cannot write the record of volume {volume_id}: {error.strerror}") from error

    def _ids(self) -> Sequence[str]:
        try:
            return sorted(name for name in os.listdir(self._root) if is_volume(name))
        except FileNotFoundError:
            return []

    def _others(self) -> Sequence[tuple[str, Record]]:
        found = []
        for volume_id in self._ids():
            path = self._folder(volume_id) / _RECORD
            if (record := read_record(path)) is not None:
                found.append((path.stat().st_mtime_ns, volume_id, record))
        return [(volume_id, record) for _, volume_id, record in sorted(found, key=lambda f: f[0])]


def _check_growth(record: Record, config: VolumeConfig) -> None:
    if record.size is None or config.size is None or config.size < record.size:
        old, new = ("no limit" if size is None else f"{size} bytes" for size in (record.size, config.size))
        raise Unsupported(
            f"the data of {config.claim} has {old} and cannot be given {new}",
            hint="a size can only grow: make another volume and copy the data",
        )


def _lost(volume_id: str, path: Path) -> EngineError:
    return DataLoss(
        f"the data of volume {volume_id} is gone: there is no {path}",
        hint="put it back from a backup, or delete the volume with its data to start afresh",
    )
