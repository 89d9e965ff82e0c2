"""Owner and mode of the root of a volume, by descriptor: no link is followed, and nothing below it is touched."""

import os
import stat
from dataclasses import replace
from pathlib import Path

from drivers.volumes.interface import VolumeConfig
from drivers.volumes.records import Record

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def set_owner(path: Path, config: VolumeConfig, record: Record) -> Record:
    """Set what `config` states where it differs, and return the record with how it is now."""
    fd = os.open(path, _OPEN)
    try:
        status = os.fstat(fd)
        uid = status.st_uid if config.uid is None else config.uid
        gid = status.st_gid if config.gid is None else config.gid
        mode = stat.S_IMODE(status.st_mode) if config.mode is None else config.mode
        if (uid, gid) != (status.st_uid, status.st_gid):
            os.fchown(fd, uid, gid)
        if mode != stat.S_IMODE(os.fstat(fd).st_mode):
            os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return replace(record, uid=uid, gid=gid, mode=mode)


def with_owner(path: Path, record: Record) -> tuple[bool, Record]:
    """Whether there is a folder, and the record with the owner it has now."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False, record
    if not stat.S_ISDIR(status.st_mode):
        return False, record
    return True, replace(record, uid=status.st_uid, gid=status.st_gid, mode=stat.S_IMODE(status.st_mode))
