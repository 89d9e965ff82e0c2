"""A file system in a file: how a local volume is held to its size, on whatever file system it lies."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from drivers.kernel import loop
from drivers.kernel.mount import mount, unmount
from drivers.snapshots.interface import Mount
from resources.errors import FailedPrecondition, ResourceExhausted, Unsupported

_SMALLEST = 1 << 20
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = "root_owner=0:0,nodiscard,lazy_itable_init=1,lazy_journal_init=1"
"""What is zero in a new file needs no zeroes written."""
_OPTIONS = ("nosuid", "nodev", "discard", "private")


def check(size: int) -> None:
    """Raises: Unsupported with what this host lacks."""
    if size < _SMALLEST:
        raise Unsupported(f"a volume of {size} bytes has no room for its file system", hint="1Mi at least")
    if _tool("mkfs.ext4") is None or _tool("resize2fs") is None:
        raise Unsupported(
            "the size of a volume needs mkfs.ext4 and resize2fs", hint="install e2fsprogs, or set no size"
        )
    if "\text4\n" not in Path("/proc/filesystems").read_text():
        raise Unsupported("the size of a volume needs ext4, which this kernel lacks", hint="set no size")
    reason = loop.available()
    if reason:
        raise Unsupported(f"the size of a volume cannot be held: {reason}", hint="set no size")


def make(file: Path, size: int, content: Path) -> None:
    """Make `file` a file system of `size` bytes that holds what the folder `content` holds. It grows as it is filled."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(fd, size)
        # No blocks kept for root: containers are root mostly, and what was asked for is what they get.
        _run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", _FORMAT, "-d", str(content), str(file)])
        os.fsync(fd)
    finally:
        os.close(fd)


def mount_image(file: Path, target: Path) -> None:
    with loop.attached(file) as device:
        mount(Mount("ext4", str(device), _OPTIONS), target)


def grow(file: Path, target: Path, size: int) -> None:
    """Grow the file system of `file`, which is mounted on `target`: in use, or at rest where that is not allowed.

    Raises: FailedPrecondition when it has to be at rest and is not.
    """
    os.truncate(file, size)
    device = Path("/dev") / f"loop{os.minor(target.stat().st_dev)}"
    loop.refresh(device)
    try:
        _run(["resize2fs", str(device)])
        return
    except FailedPrecondition as error:
        refused = error
    unmount(target, detach=False)
    try:
        # A container may have it mounted still: two writers of one file system would destroy it.
        if loop.is_attached(file):
            raise FailedPrecondition("the volume is in use and cannot grow", hint="stop what uses it") from refused
        _run(["e2fsck", "-f", "-p", str(file)])
        _run(["resize2fs", str(file)])
    finally:
        mount_image(file, target)


def _tool(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


def _run(command: Sequence[str]) -> None:
    found = _tool(command[0])
    if found is None:
        raise Unsupported(f"there is no {command[0]}", hint="install e2fsprogs")
    environment = {"PATH": _PATH, "LC_ALL": "C"}
    done = subprocess.run(
        [found, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        kind = ResourceExhausted if "No space left" in done.stderr else FailedPrecondition
        raise kind(f"{command[0]}: {said}")
