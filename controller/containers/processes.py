"""The processes of a container, read from /proc: all that are in the cgroup of its first one, or below it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_COMMAND = 4096


def process_table(first: int) -> Sequence[Mapping[str, Any]]:
    """pid (the host's), user, cpuTime in seconds, command; empty when `first` has gone."""
    group = _group(first)
    if not group:
        return []
    return [row for pid in _pids() if _inside(_group(pid), group) and (row := _row(pid))]


def _pids() -> Iterator[int]:
    yield from sorted(int(name) for name in os.listdir(_PROC) if name.isdecimal())


def _group(pid: int) -> str:
    """The path in the hierarchy that every process of a container is in: `pids` of version 1, or the one of version 2."""
    try:
        lines = (_PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return ""
    groups = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    return groups.get("pids") or groups.get("") or ""


def _inside(group: str, top: str) -> bool:
    return group == top or group.startswith(f"{top}/")


def _row(pid: int) -> Mapping[str, Any] | None:
    folder = _PROC / str(pid)
    try:
        name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        fields = rest.split()
        words = (folder / "cmdline").read_bytes()[:_COMMAND].rstrip(b"\0").split(b"\0")
        user = folder.stat().st_uid
    except OSError:
        return None
    command = b" ".join(words).decode(errors="replace") or f"[{name}]"
    return {"pid": pid, "user": user, "cpuTime": (int(fields[11]) + int(fields[12])) / _TICKS, "command": command}
