"""Loop devices: a file as a block device, gone by itself with its last user (autoclear)."""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resources.errors import ResourceExhausted, Unsupported

_CONTROL = Path("/dev/loop-control")
_GET_FREE, _CONFIGURE, _SET_CAPACITY, _GET_STATUS = 0x4C82, 0x4C0A, 0x4C07, 0x4C05
_STATUS_SIZE = 232
_MAJOR = 7
_AUTOCLEAR = 4
_NAME_SIZE = 64
_CONFIG = struct.Struct(f"=II 5Q 4I {_NAME_SIZE}s {_NAME_SIZE}s 32s 2Q 8Q")
"""struct loop_config: fd, block size, struct loop_info64, reserved."""


def available() -> str:
    """Why there are no loop devices here; "" when there are."""
    try:
        os.close(os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"no loop devices: {_CONTROL}: {error.strerror}"
    return ""


@contextmanager
def attached(file: Path) -> Iterator[Path]:
    """A loop device of `file`, to be mounted within: it lasts as long as the mount, or till here without one.

    A device that has the file already is taken again: two of them, each mounted, would destroy the file system.

    Raises: Unsupported when there are no loop devices, ResourceExhausted when none is free.
    """
    reason = available()
    if reason:
        raise Unsupported(reason, hint="`lading doctor` tells what this kernel lacks")
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        device, path = _present(backing) or _configured(backing, file)
    finally:
        os.close(backing)
    try:
        yield path
    finally:
        os.close(device)


def is_attached(file: Path) -> bool:
    """Whether a loop device has the file, for a mount in any namespace."""
    backing = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = _present(backing)
    finally:
        os.close(backing)
    if found:
        os.close(found[0])
    return found is not None


def refresh(device: Path) -> None:
    """Have the device see that its file has grown."""
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SET_CAPACITY)
    finally:
        os.close(fd)


def _present(backing: int) -> tuple[int, Path] | None:
    status = os.fstat(backing)
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        path = Path("/dev") / entry.parts[3]
        try:
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        info = bytearray(_STATUS_SIZE)
        try:
            # Open, it stays: only now is it told for certain whose it is.
            fcntl.ioctl(device, _GET_STATUS, info)
            if struct.unpack_from("=2Q", info) == (status.st_dev, status.st_ino):
                return device, path
        except OSError:
            pass
        os.close(device)
    return None


def _configured(backing: int, file: Path) -> tuple[int, Path]:
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            number = fcntl.ioctl(control, _GET_FREE)
            path = _node(number)
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, _config(backing, number, file))
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else was given the same free one
                    raise
                continue
            return device, path
    except OSError as error:
        kind = Unsupported if error.errno in (errno.EINVAL, errno.ENOTTY) else ResourceExhausted
        raise kind(f"cannot make a loop device of {file}: {error.strerror}") from error
    finally:
        os.close(control)
    raise ResourceExhausted(f"no free loop device for {file}", hint="`losetup -a` lists those in use")


def _node(number: int) -> Path:
    path = Path(f"/dev/loop{number}")
    with suppress(FileExistsError):
        # Without a devtmpfs nobody makes the node of a new device.
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(_MAJOR, number))
    return path


def _config(backing: int, number: int, file: Path) -> bytes:
    name = os.fsencode(file)[-_NAME_SIZE + 1 :]
    info = (0, 0, 0, 0, 0, number, 0, 0, _AUTOCLEAR, name, b"", b"", 0, 0)
    return _CONFIG.pack(backing, 0, *info, *([0] * 8))
