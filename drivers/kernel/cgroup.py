"""Control groups in whichever form the host has: v1, hybrid (v1 and an empty v2 beside it) and v2.

A group is one path; on v1 it exists once in each hierarchy. Names of ours are made by the OCI runtime or by `create`;
removal goes over every hierarchy, since a runtime that was killed leaves some and not others.
"""

import contextlib
import errno
import os
import signal as signals
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from drivers.kernel.mount import MountInfo, mounts
from drivers.kernel.process import read_small
from resources.errors import FailedPrecondition, InvalidArgument, Unsupported


class Mode(StrEnum):
    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Hierarchies:
    mode: Mode
    controllers: Mapping[str, Path]
    """Where each v1 controller is mounted; on v2 every controller is at the one mount."""
    unified: Path | None
    roots: tuple[Path, ...]
    """Every hierarchy, named ones (systemd) too."""


def detect(table: tuple[MountInfo, ...] | None = None) -> Hierarchies:
    """Read the mount table. Raises: Unsupported when no cgroup file system is mounted."""
    controllers: dict[str, Path] = {}
    roots: dict[str, Path] = {}
    unified: Path | None = None
    for entry in mounts() if table is None else table:
        target = Path(entry.target)
        if entry.type == "cgroup2" and unified is None:
            unified = target
        elif entry.type == "cgroup" and entry.device not in roots:
            roots[entry.device] = target
            for option in entry.super_options:
                if "=" not in option and option not in ("rw", "ro", "xattr", "noprefix", "clone_children"):
                    controllers[option] = target
    if unified is None and not roots:
        raise Unsupported("no cgroup file system is mounted", hint="mount one: mount -t cgroup2 none /sys/fs/cgroup")
    everywhere = (*roots.values(), *([unified] if unified else []))
    if roots:
        return Hierarchies(Mode.HYBRID if unified else Mode.V1, controllers, unified, everywhere)
    assert unified is not None
    available = (unified / "cgroup.controllers").read_text().split()
    return Hierarchies(Mode.V2, dict.fromkeys(available, unified), unified, everywhere)


class Cgroup:
    """One group, `/instance/parent/id`, in all hierarchies."""

    def __init__(self, hierarchies: Hierarchies, path: str) -> None:
        parts = path.split("/")[1:]
        if not path.startswith("/") or not all(p not in ("", ".", "..") and "\0" not in p for p in parts):
            raise InvalidArgument(f"{path!r} is not the path of a cgroup")
        self.hierarchies = hierarchies
        self.path = path

    def directory(self, controller: str) -> Path | None:
        """Where the controller's files of this group are; None when the host has no such controller."""
        root = self.hierarchies.controllers.get(controller)
        return None if root is None else root / self.path[1:]

    def read(self, controller: str, file: str) -> str:
        """Empty when there is no such controller, group or file."""
        root = self.hierarchies.controllers.get(controller)
        return "" if root is None else _text(f"{root}{self.path}/{file}")

    def directories(self) -> Iterator[Path]:
        for root in self.hierarchies.roots:
            yield root / self.path[1:]

    @property
    def unified(self) -> Path | None:
        return None if self.hierarchies.unified is None else self.hierarchies.unified / self.path[1:]

    def exists(self) -> bool:
        return any(os.path.isdir(f"{root}{self.path}") for root in self.hierarchies.roots)

    def create(self) -> None:
        """Make the group and its parents everywhere; on v2 hand every controller down. There already: fine."""
        for root in self.hierarchies.roots:
            at = root
            for part in self.path[1:].split("/"):
                if self.hierarchies.mode is Mode.V2:
                    _delegate(at)
                parent, at = at, at / part
                at.mkdir(mode=0o755, exist_ok=True)
                if root == self.hierarchies.controllers.get("cpuset") and self.hierarchies.mode is not Mode.V2:
                    _inherit_cpuset(parent, at)

    def processes(self) -> frozenset[int]:
        """Every process below, in any hierarchy: one that is missing in some was moved or killed half way."""
        found: set[int] = set()
        for directory in self.directories():
            for at, _, _ in os.walk(directory):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in (Path(at) / "cgroup.procs").read_text().split())
        found.discard(0)  # a process of an outer pid namespace
        return frozenset(found)

    def signal(self, number: int) -> None:
        """Signal every process below. A SIGKILL reaches also what forks meanwhile, and what is frozen."""
        if number == signals.SIGKILL and self.unified is not None:
            with contextlib.suppress(OSError):
                (self.unified / "cgroup.kill").write_text("1")
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signals.SIGKILL and self.frozen():
            # A v1 freezer holds even a SIGKILL back.
            self.thaw()

    def kill(self, timeout: float) -> bool:
        """Kill everything below and wait until it is gone; tell whether it is."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.processes():
                return True
            self.signal(signals.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def freeze(self) -> None:
        """Raises: FailedPrecondition when it does not freeze in time, and then leaves it thawed."""
        file, frozen, thawed = self._freezer()
        _write(file, frozen)
        deadline = time.monotonic() + 0.2
        while not self.frozen():
            if time.monotonic() > deadline:
                _write(file, thawed)
                raise FailedPrecondition(f"the processes of cgroup {self.path} cannot be frozen", hint="try again")
            time.sleep(0.001)
            if self.hierarchies.mode is not Mode.V2:
                _write(file, frozen)  # a v1 freezer in FREEZING looks again only when it is asked again

    def thaw(self) -> None:
        file, _, thawed = self._freezer()
        _write(file, thawed)

    def frozen(self) -> bool:
        if self.hierarchies.mode is Mode.V2:
            return "frozen 1" in read(self.unified, "cgroup.events")
        return self.read("freezer", "freezer.state").strip() == "FROZEN"

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        v2 = self.hierarchies.mode is Mode.V2
        text = read(self.directory("memory"), "memory.events" if v2 else "memory.oom_control")
        return keyed(text).get("oom_kill", 0)

    def remove(self) -> None:
        """Remove the empty group and empty groups below it, everywhere. Absent is fine.

        Raises: ExceptionGroup of FailedPrecondition, one a hierarchy that would not.
        """
        failures: list[Exception] = []
        for directory in self.directories():
            try:
                _remove_tree(directory)
            except OSError as error:
                failures.append(FailedPrecondition(f"cannot remove cgroup {directory}: {error.strerror}"))
        if failures:
            raise ExceptionGroup(f"cgroup {self.path} is not removed", failures)

    def remove_if_empty(self) -> None:
        """Remove the group where nothing is in it; what holds others stays."""
        for directory in self.directories():
            with contextlib.suppress(OSError):
                directory.rmdir()

    def children(self) -> frozenset[str]:
        names: set[str] = set()
        for directory in self.directories():
            with contextlib.suppress(OSError):
                names.update(entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
        return frozenset(names)

    def _freezer(self) -> tuple[Path, str, str]:
        if self.hierarchies.mode is Mode.V2:
            assert self.unified is not None
            return self.unified / "cgroup.freeze", "1", "0"
        directory = self.directory("freezer")
        if directory is None:
            raise Unsupported("this host has no freezer cgroup", hint="mount it: mount -t cgroup -o freezer none DIR")
        return directory / "freezer.state", "FROZEN", "THAWED"


def _delegate(directory: Path) -> None:
    """Enable below `directory` what it has itself; a controller that cannot be is left out, not an error."""
    for controller in read(directory, "cgroup.controllers").split():
        with contextlib.suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(parent: Path, directory: Path) -> None:
    """A v1 cpuset without cpus and memory nodes takes no process."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not read(directory, file).strip() and (value := read(parent, file).strip()):
            _write(directory / file, value)


def _remove_tree(directory: Path) -> None:
    for _ in range(20):
        for at, _, _ in os.walk(directory, topdown=False):
            try:
                os.rmdir(at)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
        if not directory.exists():
            return
        # EBUSY for a moment after the last process was reaped.
        time.sleep(0.005)
    os.rmdir(directory)


def read(directory: Path | None, file: str) -> str:
    return "" if directory is None else _text(f"{directory}/{file}")


def _text(path: str) -> str:
    return (read_small(path) or b"").decode(errors="replace")


def _write(file: Path, value: str) -> None:
    try:
        file.write_text(value)
    except FileNotFoundError as error:
        raise FailedPrecondition(f"cgroup file {file} is gone") from error


def keyed(text: str) -> dict[str, int]:
    """`name value` lines, as memory.stat and many others have them."""
    pairs = (line.split() for line in text.splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].isdigit()}
