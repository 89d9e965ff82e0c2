"""Checks around the OCI runtime that do not trust it: the root before it runs, the mounts before the process does.

The runtimes of the distributions follow a link where an image has one in place of /dev (threats.md F2) and have lost
races over masked paths (RT-03). So the root is looked at first, and what the runtime has mounted is read back from the
kernel while the created process still waits to be started.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.kernel.cgroup import Cgroup, Mode
from drivers.kernel.mount import MountInfo, parse_mountinfo
from drivers.kernel.openat2 import Resolve, openat2
from resources.errors import FailedPrecondition, InvalidArgument

_GUARDED = ("dev", "proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "dev/console", "etc")
_DIRECTORIES = frozenset({"dev", "proc", "sys", "etc"})
_KERNEL = ("dev", "proc", "sys")
_MAX_LINKS = 40


def check_spec(spec: Mapping[str, Any]) -> None:
    """Raises: InvalidArgument for a spec that would open a known hole of a runtime."""
    if spec.get("annotations"):
        raise InvalidArgument("the OCI spec holds annotations", hint="crun takes orders from them; none may be set")
    if spec.get("hooks"):
        raise InvalidArgument("the OCI spec holds hooks", hint="none may be set")
    destinations = [os.path.normpath(str(m.get("destination", ""))) for m in spec.get("mounts") or ()]
    if "/dev" not in destinations:
        raise InvalidArgument("the OCI spec mounts nothing on /dev", hint="runtimes would write to the image's own")


def check_rootfs(rootfs: Path, mounts: Sequence[Mapping[str, Any]]) -> None:
    """Raises: FailedPrecondition when the root is no directory, or holds a link where kernel file systems go."""
    try:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise FailedPrecondition(f"the root file system {rootfs} is not there: {error.strerror}") from error
    try:
        for name in dict.fromkeys((*_GUARDED, *_below_kernel(mounts))):
            _check_entry(root, name)
        for mount in mounts:
            _check_target(root, str(mount.get("destination", "")))
    finally:
        os.close(root)


def close_devices(group: Cgroup) -> None:
    """runc before 1.2 lets every container have /dev/net/tun, whatever its spec says (on v2 in a filter of its own, which
    is left as it is)."""
    directory = group.directory("devices")
    if directory is not None and group.hierarchies.mode is not Mode.V2:
        (directory / "devices.deny").write_text("c 10:200 rwm")


def _check_target(root: int, destination: str) -> None:
    """An image must not lead a mount elsewhere over /proc, /sys or /dev with a link of its own."""
    path = os.path.normpath(destination).lstrip("/")
    if path.split("/")[0] in _KERNEL:
        return
    real = _real(root, path)
    if real.split("/")[0] in _KERNEL:
        raise FailedPrecondition(
            f"a symbolic link of the image leads the mount at /{path} to /{real}, in a kernel file system",
            hint="mount it elsewhere, or rebuild the image with a plain directory there",
        )


def _real(root: int, path: str) -> str:
    """Where in the root a path leads, whether or not something is there."""
    rest, real, links = path.split("/")[::-1], list[str](), 0
    while rest:
        part = rest.pop()
        if part == "..":
            del real[-1:]
        elif part not in ("", "."):
            link = _link(root, "/".join([*real, part]))
            if link is None:
                real.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise FailedPrecondition(f"the path of the mount at /{path} has too many symbolic links in the image")
            real = [] if link.startswith("/") else real
            rest += link.split("/")[::-1]
    return "/".join(real)


def _link(root: int, path: str) -> str | None:
    """What the symbolic link at a path without others says; None for anything else."""
    try:
        fd = openat2(path, os.O_PATH | os.O_NOFOLLOW, dir_fd=root, resolve=Resolve.BENEATH | Resolve.NO_SYMLINKS)
    except OSError:
        return None
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def _below_kernel(mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mount points of the spec that the image could bend before a kernel file system covers them."""
    found = []
    for mount in mounts:
        path = os.path.normpath(str(mount.get("destination", ""))).lstrip("/")
        if path.split("/")[0] in _KERNEL:
            found.append(path)
    return found


def _check_entry(root: int, name: str) -> None:
    try:
        fd = openat2(
            name, os.O_PATH, dir_fd=root, resolve=Resolve.BENEATH | Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS
        )
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            # What is not there the runtime makes; ENOTDIR below a guarded name is reported for that name itself.
            return
        if error.errno in (errno.ELOOP, errno.EXDEV):
            raise FailedPrecondition(
                f"the image has a symbolic link at or above /{name}, where the runtime would mount or write",
                hint="no container is made from such an image; rebuild it with a plain directory there",
            ) from error
        raise FailedPrecondition(f"/{name} of the image cannot be checked: {error.strerror}") from error
    try:
        if name in _DIRECTORIES and not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise FailedPrecondition(f"/{name} of the image is not a directory")
    finally:
        os.close(fd)


def check_mounts(pid: int, masked: Sequence[str], readonly: Sequence[str]) -> None:
    """Read what the runtime has mounted for a process. Raises: FailedPrecondition naming each path that is open."""
    try:
        table = tuple(parse_mountinfo(Path(f"/proc/{pid}/mountinfo").read_bytes()))
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FailedPrecondition(f"the mounts of process {pid} cannot be verified: {error.strerror}") from error
    try:
        wrong = [f"{p} is not masked" for p in masked if not _is_masked(table, p) and _exists(root, p)]
        wrong += [f"{p} is writable" for p in readonly if not _is_readonly(table, p) and _exists(root, p)]
    finally:
        os.close(root)
    if wrong:
        raise FailedPrecondition(
            f"the OCI runtime has not shielded the container: {', '.join(wrong)}",
            hint="the task was killed before it ran; see `lading doctor` for known issues of this runtime",
        )


def _is_masked(table: Sequence[MountInfo], path: str) -> bool:
    top = _covering(table, path)
    if top is None or top.target != os.path.normpath(path):
        return False
    if top.type == "tmpfs" and "ro" in top.options and top.root == "/":
        return True
    # /dev/null by bind: on the host's devtmpfs or on the container's own /dev.
    return top.root.rsplit("/", 1)[-1] == "null" and top.type in ("tmpfs", "devtmpfs")


def _is_readonly(table: Sequence[MountInfo], path: str) -> bool:
    top = _covering(table, path)
    return top is not None and ("ro" in top.options or "ro" in top.super_options)


def _covering(table: Sequence[MountInfo], path: str) -> MountInfo | None:
    """The mount that a path is on: the longest target, of equals the latest."""
    wanted = os.path.normpath(path)
    best: MountInfo | None = None
    for entry in table:
        inside = entry.target in ("/", wanted) or wanted.startswith(entry.target + "/")
        if inside and (best is None or len(entry.target) >= len(best.target)):
            best = entry
    return best


def _exists(root: int, path: str) -> bool:
    try:
        fd = openat2(path.lstrip("/"), os.O_PATH, dir_fd=root, resolve=Resolve.IN_ROOT | Resolve.NO_MAGICLINKS)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    os.close(fd)
    return True
