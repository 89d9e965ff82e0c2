"""Taking a task apart, whatever is left of it: the runtimes leave residue when they are killed, so clean-up is ours.

Order: what could still make something (conmon, OCI runtimes), then the processes of the cgroup, then state, cgroups and
files. Nothing here runs an OCI runtime, and nothing stops at the first error.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

from drivers.kernel.cgroup import Cgroup, Hierarchies
from drivers.kernel.mount import mounts, unmount
from drivers.kernel.process import processes
from drivers.runtime.conmon import supervisor, supervisors
from drivers.runtime.layout import Layout, is_id
from drivers.runtime.record import read_json
from resources.errors import EngineError, FailedPrecondition

_KILL_TIMEOUT = 5.0


class Residue:
    def __init__(self, layout: Layout, hierarchies: Hierarchies, instance: str) -> None:
        self._layout = layout
        self._hierarchies = hierarchies
        self._instance = Cgroup(hierarchies, f"/{instance}")

    def remove_process(self, task_id: str, cgroup: Cgroup | None, *, thorough: bool) -> None:
        """Kill and remove all that a reboot would remove too, but for notes.

        `thorough` looks through every process for supervisors and runtimes that are not in the pid file, and through
        every group for a cgroup that no file names.

        Raises: ExceptionGroup of what could not be removed.
        """
        bundle = self._layout.bundle(task_id)
        groups = [cgroup] if cgroup else []
        if thorough:
            groups += [g for g in self._groups(task_id) if not cgroup or g.path != cgroup.path]
        steps: list[Callable[[], None]] = [lambda: self._kill_makers(task_id, thorough=thorough)]
        steps += [lambda g=group: _kill_group(g) for group in groups]  # type: ignore[misc]
        steps += [group.remove for group in groups]
        steps += [
            lambda: _remove_tree(self._layout.oci / task_id),
            lambda: _remove_tree(bundle.path),
            lambda: _remove_empty(bundle.path.parent),
        ]
        _all(f"task {task_id[:12]} is not removed", steps)

    def remove_record(self, task_id: str) -> None:
        """Remove notes, logs, record: the record last, since it is what makes a delete that was cut short known."""
        directory = self._layout.task(task_id)
        logs = sorted(directory.glob("log*")) + sorted(directory.glob(".*.tmp")) if directory.is_dir() else []
        steps: list[Callable[[], None]] = [lambda p=path: p.unlink(missing_ok=True) for path in logs]  # type: ignore[misc]
        steps += [
            lambda: self._layout.notes(task_id).unlink(missing_ok=True),
            lambda: _remove_empty(self._layout.run(task_id)),
            lambda: self._layout.record(task_id).unlink(missing_ok=True),
            lambda: _remove_empty(directory),
        ]
        _all(f"the record of task {task_id[:12]} is not removed", steps)

    def task_ids(self) -> set[str]:
        """Every id that has left a trace anywhere."""
        found = self._layout.task_ids()
        with contextlib.suppress(OSError):
            found.update(name for name in os.listdir(self._layout.oci) if is_id(name))
        for parent in self._instance.children():
            found.update(n for n in Cgroup(self._hierarchies, f"{self._instance.path}/{parent}").children() if is_id(n))
        found.update(task_id for _, task_id in supervisors(self._layout))
        return found

    def remove_empty_groups(self) -> None:
        for parent in self._instance.children():
            Cgroup(self._hierarchies, f"{self._instance.path}/{parent}").remove_if_empty()
        self._instance.remove_if_empty()

    def remove_probes(self) -> None:
        """What a trial of the runtimes left when it was killed; the runtime itself may still be at it."""
        # By folder and by group: a run root in memory may be gone before its groups are.
        names = {path.name for path in self._layout.run_root.glob("probe-*")}
        names |= {name for name in self._instance.children() if name.startswith("probe-")}
        for name in sorted(names):
            root = f"--root={self._layout.run_root / name}/oci"
            with contextlib.suppress(OSError, ExceptionGroup):
                _kill_until_gone(lambda r=root: {p.pid for p in processes() if r in p.arguments}, name)  # type: ignore[misc]
                group = Cgroup(self._hierarchies, f"{self._instance.path}/{name}")
                _kill_group(group)
                group.remove()
                _remove_tree(self._layout.run_root / name)

    def _groups(self, task_id: str) -> list[Cgroup]:
        paths = (f"{self._instance.path}/{parent}/{task_id}" for parent in self._instance.children())
        return [g for g in (Cgroup(self._hierarchies, path) for path in paths) if g.exists()]

    def _kill_makers(self, task_id: str, *, thorough: bool) -> None:
        _kill_until_gone(lambda: self._makers(task_id, thorough=thorough), f"task {task_id[:12]}")

    def _makers(self, task_id: str, *, thorough: bool) -> set[int]:
        if thorough:
            return {pid for pid, owner in supervisors(self._layout) if owner == task_id}
        pid = supervisor(self._layout.bundle(task_id))
        return {pid} if pid else set()

    def made_cgroup(self, task_id: str) -> Cgroup | None:
        path = read_json(self._layout.bundle(task_id).task).get("cgroup")
        return Cgroup(self._hierarchies, str(path)) if path else None


def _kill_until_gone(find: Callable[[], set[int]], what: str) -> None:
    deadline = time.monotonic() + _KILL_TIMEOUT
    while pids := find():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise FailedPrecondition(f"processes {sorted(pids)} of {what} do not die")
        time.sleep(0.001)


def _kill_group(group: Cgroup) -> None:
    if not group.kill(_KILL_TIMEOUT):
        raise FailedPrecondition(
            f"processes {sorted(group.processes())} of cgroup {group.path} do not die",
            hint="they wait for a device or a file server that does not answer",
        )


def _remove_tree(path: Path) -> None:
    """Remove a folder of ours. A mount below it is somebody's data: it is let go of first, never descended into."""
    if not os.path.lexists(path):
        return
    below = [m.target for m in mounts() if m.target.startswith(f"{path}/")]
    for target in reversed(below):
        unmount(Path(target))
    shutil.rmtree(path)


def _remove_empty(path: Path) -> None:
    """What others keep beside our files stays."""
    with contextlib.suppress(OSError):
        path.rmdir()


def _all(message: str, steps: Collection[Callable[[], None]]) -> None:
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except* EngineError as group:
            failures += group.exceptions
        except* OSError as group:
            failures += [FailedPrecondition(str(e)) for e in group.exceptions]
    if failures:
        raise ExceptionGroup(message, failures)
