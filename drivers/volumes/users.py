"""Who has a volume mounted: staged for a task in our own mount namespace, or in one that some process lives in."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from drivers.kernel.mount import MountInfo, mounts, parse_mountinfo
from resources.errors import FailedPrecondition

_TASK = re.compile(r"[0-9a-f]{64}")


def check_unused(volume_id: str, data: Path, own: Path | None = None) -> None:
    """`data` is the volume's folder; `own` where the driver itself has mounted a file system for it.

    Raises: FailedPrecondition that names the task.
    """
    table = mounts()
    place = _place(table, Path(os.path.realpath(data)))
    if place is None:
        return
    device, root = place
    if own is not None:
        root = "/"  # all of that file system is this volume
    here = [m.target for m in _of(table, device, root)]
    for target in here:
        if own is None or target != os.path.realpath(own):
            raise _used(volume_id, _TASK.search(target), target)
    for pid, table in _other_namespaces(device.encode()):
        for entry in _of(table, device, root):
            # Whoever was given a copy of all the host's mounts has ours in it as well, and means nothing by it.
            if not any(entry.target.endswith(target) for target in here):
                raise _used(volume_id, _TASK.search(_cgroup(pid)), f"{entry.target} of process {pid}")


def _used(volume_id: str, task: re.Match[str] | None, where: str) -> FailedPrecondition:
    who = f"task {task[0][:12]}" if task else where
    return FailedPrecondition(f"volume {volume_id} is mounted in {who}", hint="stop what uses it first")


def _place(table: tuple[MountInfo, ...], path: Path) -> tuple[str, str] | None:
    """The device and the path within its file system."""
    over = [m for m in table if path.is_relative_to(m.target)]
    if not over:
        return None
    deepest = max(reversed(over), key=lambda m: len(m.target))
    return deepest.device, str(Path(deepest.root) / path.relative_to(deepest.target))


def _of(table: tuple[MountInfo, ...], device: str, root: str) -> Iterator[MountInfo]:
    below = root.rstrip("/") + "/"
    return (m for m in table if m.device == device and (m.root == root or m.root.startswith(below)))


def _other_namespaces(device: bytes) -> Iterator[tuple[str, tuple[MountInfo, ...]]]:
    seen = {os.readlink("/proc/self/ns/mnt")}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            text = Path(f"/proc/{pid}/mountinfo").read_bytes()
        except OSError:
            continue  # gone meanwhile
        if b" " + device + b" " in text:
            yield pid, tuple(parse_mountinfo(text))


def _cgroup(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
