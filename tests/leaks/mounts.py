"""Mounts, in our own mount namespace and in every other one that a process lives in."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.leaks.model import Item, Process


@dataclass(frozen=True, slots=True)
class Mount:
    target: str
    root: str
    fstype: str
    source: str
    options: str


def read_mounts(pid: int | str = "self") -> list[Mount]:
    mounts = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        mounts.append(Mount(_plain(fields[4]), _plain(fields[3]), tail[0], _plain(tail[1]), _plain(tail[2])))
    return mounts


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_items(processes: Mapping[int, Process]) -> Iterator[Item]:
    yield from _items("", read_mounts())
    own = os.readlink("/proc/self/ns/mnt")
    members: dict[str, list[int]] = {}
    for pid in processes:
        try:
            members.setdefault(os.readlink(f"/proc/{pid}/ns/mnt"), []).append(pid)
        except OSError:
            continue
    for namespace, pids in members.items():
        if namespace == own:
            continue
        try:
            mounts = read_mounts(pids[0])
        except OSError:
            continue
        yield from _items(f" in {namespace}", mounts, tuple(pids))


def _items(where: str, mounts: list[Mount], holders: tuple[int, ...] = ()) -> Iterator[Item]:
    seen: Counter[Mount] = Counter()
    for mount in mounts:
        seen[mount] += 1
        again = f" #{seen[mount]}" if seen[mount] > 1 else ""
        identity = f"{mount.target} {mount.fstype} of {mount.source} {mount.root}{again}{where}"
        evidence = (mount.target, mount.root, mount.source, *mount.options.split(","))
        stray = mount.target.startswith("/tmp/crun.")
        yield Item("mount", identity, evidence, holders, anonymous=stray)


def mounted_namespaces(mounts: list[Mount]) -> dict[str, str]:
    return {mount.root: mount.target for mount in mounts if mount.fstype == "nsfs"}


def cgroup_hierarchies(mounts: list[Mount]) -> list[str]:
    return [mount.target for mount in mounts if mount.fstype in {"cgroup", "cgroup2"} and mount.root == "/"]
