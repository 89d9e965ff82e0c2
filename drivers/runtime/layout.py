"""Where the files of a task are, and the one check every id passes before a path is built from it."""

import re
from dataclasses import dataclass
from pathlib import Path

from resources.errors import InvalidArgument

_ID = re.compile(r"[0-9a-f]{64}")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def checked_id(task_id: str) -> str:
    """Raises: InvalidArgument for anything but 64 lower-case hex digits."""
    if not _ID.fullmatch(task_id):
        raise InvalidArgument(f"{task_id[:80]!r} is not a task id: 64 hex digits are")
    return task_id


def is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


def checked_group(name: str) -> str:
    if not _GROUP.fullmatch(name):
        raise InvalidArgument(f"{name[:140]!r} cannot name a cgroup", hint="letters, digits, `_`, `.` and `-`")
    return name


@dataclass(frozen=True, slots=True)
class Bundle:
    """`<run root>/tasks/<id>/bundle`: what a reboot takes away."""

    path: Path

    @property
    def task_id(self) -> str:
        return self.path.parent.name

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def task(self) -> Path:
        """Attempt, runtime and cgroup of what was created here."""
        return self.path / "task.json"

    @property
    def started(self) -> Path:
        return self.path / "started"

    @property
    def conmon_pid(self) -> Path:
        return self.path / "conmon.pid"

    @property
    def control(self) -> Path:
        return self.path / "ctl"

    @property
    def exits(self) -> Path:
        return self.path / "exits"

    @property
    def exit_file(self) -> Path:
        return self.exits / self.task_id

    @property
    def persist(self) -> Path:
        return self.path / "persist"

    @property
    def runtime_log(self) -> Path:
        return self.path / "runtime.log"

    @property
    def execs(self) -> Path:
        return self.path / "execs"


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path
    run_root: Path

    @property
    def oci(self) -> Path:
        """`--root` of the OCI runtime: its state is apart from that of other engines on this host."""
        return self.run_root / "oci"

    def task(self, task_id: str) -> Path:
        return self.root / "tasks" / checked_id(task_id)

    def record(self, task_id: str) -> Path:
        return self.task(task_id) / "record.json"

    def log(self, task_id: str) -> Path:
        return self.task(task_id) / "log"

    def run(self, task_id: str) -> Path:
        return self.run_root / "tasks" / checked_id(task_id)

    def notes(self, task_id: str) -> Path:
        return self.run(task_id) / "notes.json"

    def bundle(self, task_id: str) -> Bundle:
        return Bundle(self.run(task_id) / "bundle")

    def task_ids(self) -> set[str]:
        found: set[str] = set()
        for root in (self.root, self.run_root):
            try:
                found.update(name for name in map(str, (p.name for p in (root / "tasks").iterdir())) if is_id(name))
            except FileNotFoundError:
                continue
        return found
