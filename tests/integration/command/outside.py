"""What the host says of a container, read past the engine: /proc, control groups, folders."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SIGNALS = {name: getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT")}


@dataclass(frozen=True, slots=True)
class Process:
    """One life of a process: a pid alone may be another's by now."""

    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.pid} ({self.command})"

    @property
    def alive(self) -> bool:
        return process(self.pid) == self

    @property
    def command(self) -> str:
        return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ").strip()

    @property
    def environ(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in Path(f"/proc/{self.pid}/environ").read_text().split("\0"))
        return {name: value for name, _, value in pairs if name}

    @property
    def status(self) -> dict[str, str]:
        lines = (line.partition(":") for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return {name: value.strip() for name, _, value in lines}

    @property
    def root(self) -> Path:
        """The container's own file system as its first process sees it; follow no absolute link in it."""
        return Path(f"/proc/{self.pid}/root")

    def mounts(self) -> dict[str, set[str]]:
        """Target -> options of the mount and of its file system, of what is uppermost there."""
        found = {}
        for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines():
            words, _, rest = line.partition(" - ")
            fields = words.split()
            found[fields[4]] = set(fields[5].split(",")) | {rest.split()[0]}
        return found

    def namespace(self, kind: str) -> str:
        return os.readlink(f"/proc/{self.pid}/ns/{kind}")

    def cgroup(self, controller: str) -> Path:
        """Its folder of one controller, on a version 1, hybrid or version 2 host."""
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                return Path("/sys/fs/cgroup") / controller / path.lstrip("/")
            if not names and Path("/sys/fs/cgroup/cgroup.controllers").exists():
                return Path("/sys/fs/cgroup") / path.lstrip("/")
        raise AssertionError(f"{self.pid} is in no control group of {controller}")

    def kill(self, name: str = "SIGKILL") -> None:
        os.kill(self.pid, SIGNALS[name])


def process(pid: int) -> Process | None:
    """The process of this pid, if it runs; a zombie does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def running(*words: str) -> list[Process]:
    """The processes whose command line holds all these words, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            one = process(int(entry.name)) if all(word in command for word in words) else None
            found += [one] if one else []
    return found


def until(condition: Callable[[], T], *, within: float = 10.0, what: str = "") -> T:
    """Look again and again until it is true."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what or condition.__name__}")
        time.sleep(0.02)


def holding(folder: Path, needle: bytes) -> list[Path]:
    """The files below a folder that have these bytes in them or in their names."""
    return sorted(path for path in _files(folder) if needle in path.name.encode() or _contains(path, needle))


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _contains(path: Path, needle: bytes) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        return needle in path.read_bytes()
    except OSError:  # it is gone, or a namespace's handle, which has no content
        return False
