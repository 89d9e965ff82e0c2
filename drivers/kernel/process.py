"""What /proc says of processes: a pid counts only together with its start time, and a boot with its id."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from resources.errors import OUT_OF_DESCRIPTORS

_HERTZ = os.sysconf("SC_CLK_TCK")
_EXEC_LOOKS = 20
_MAX_PARTS = 1024


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    arguments: tuple[str, ...]


def read_small(path: str) -> bytes | None:
    """A file of the kernel or of ours, None when it cannot be read or is none. Many a pass reads thousands: no file object for
    each. Raises: OSError where no descriptor is left, which says nothing of the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise
        return None
    try:
        parts: list[bytes] = []
        while part := os.read(fd, 65536):
            parts.append(part)
            if len(parts) > _MAX_PARTS:
                return None
    except OSError:
        return None
    finally:
        os.close(fd)
    return b"".join(parts)


def in_group(pid: int, path: str) -> bool:
    """Whether the process is in this cgroup, or in one below it, of any hierarchy."""
    lines = (read_small(f"/proc/{pid}/cgroup") or b"").decode(errors="surrogateescape").splitlines()
    groups = (line.split(":", 2)[-1] for line in lines)
    return any(group == path or group.startswith(f"{path}/") for group in groups)


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, clock ticks since boot; None when there is no such process, or only its zombie."""
    text = read_small(f"/proc/{pid}/stat")
    if not text:
        return None
    # The second field is the command in parentheses and may hold anything, parentheses and spaces too.
    fields = text[text.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def zombie_status(pid: int, started: int) -> int | None:
    """Field 52 of /proc/PID/stat: the wait status of a process that has ended and was not reaped yet."""
    text = read_small(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    return int(fields[49]) if fields[0] == b"Z" and int(fields[19]) == started else None


def is_alive(pid: int, started: int) -> bool:
    return start_time(pid) == started


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def _boot_time() -> int:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return 0


def wall_clock(ticks: int) -> datetime:
    """The time of day of a start time."""
    return datetime.fromtimestamp(_boot_time() + ticks / _HERTZ, UTC)


def arguments(pid: int) -> tuple[str, ...]:
    """The command line; empty for what is gone, a zombie or a kernel thread."""
    raw = read_small(f"/proc/{pid}/cmdline")
    return tuple(os.fsdecode(a) for a in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (command := _settled_arguments(int(name))):
            yield Process(int(name), command)


def _settled_arguments(pid: int) -> tuple[str, ...]:
    """A process within an exec has an executable and no command line for a moment: it is asked again."""
    command = arguments(pid)
    for _ in range(_EXEC_LOOKS):
        if command or not os.path.exists(f"/proc/{pid}/exe"):
            break
        time.sleep(0.0005)
        command = arguments(pid)
    return command
