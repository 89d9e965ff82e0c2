"""What is true of a task now, from files and /proc alone: the OCI runtime is never run to ask."""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.kernel.cgroup import Cgroup, Hierarchies
from drivers.kernel.cgroup_limits import as_asked, read_limits
from drivers.kernel.pidfd import exit_code
from drivers.kernel.process import boot_id, is_alive, read_small, wall_clock, zombie_status
from drivers.runtime.conmon import supervisor
from drivers.runtime.exits import ExitWatcher
from drivers.runtime.interface import TaskState, TaskStatus
from drivers.runtime.layout import Bundle, Layout
from drivers.runtime.record import Exit, Record, read_json, read_record
from drivers.runtime.starting import FIFO, waits

_EXIT_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class OciState:
    pid: int
    start_time: int
    created: bool
    """There is a fifo to wait at before the start."""


def read_oci_state(root: Path, task_id: str) -> OciState | None:
    """The state file of crun or of runc; None when there is none, or one that a killed runtime left half written."""
    directory = root / task_id
    with contextlib.suppress(ValueError, KeyError, TypeError):
        value = json.loads(read_small(f"{directory}/status") or b"")
        return OciState(int(value["pid"]), int(value["process-start-time"]), (directory / FIFO).exists())
    with contextlib.suppress(ValueError, KeyError, TypeError):
        value = json.loads(read_small(f"{directory}/state.json") or b"")
        pid, start = int(value["init_process_pid"]), int(value["init_process_start"])
        # runc writes the file first when the process exists, and knows no pid before.
        return OciState(pid, start, (directory / FIFO).exists()) if pid > 0 else None
    return None


class Observer:
    """Reads; the only thing it changes is that a living process gets its pidfd."""

    def __init__(self, layout: Layout, hierarchies: Hierarchies, exits: ExitWatcher) -> None:
        self._layout = layout
        self._hierarchies = hierarchies
        self._exits = exits
        self._boot = boot_id()

    def record(self, task_id: str) -> Record | None:
        return read_record(self._layout.record(task_id))

    def cgroup(self, task_id: str) -> Cgroup | None:
        return self._cgroup(read_json(self._layout.bundle(task_id).task), self.record(task_id))

    def _cgroup(self, made: dict[str, Any], record: Record | None) -> Cgroup | None:
        path = made.get("cgroup") or (record.cgroup if record else "")
        return Cgroup(self._hierarchies, str(path)) if path else None

    def state(self, task_id: str) -> TaskState | None:
        record, bundle = self.record(task_id), self._layout.bundle(task_id)
        here = bundle.path.is_dir()
        if record is None and not here:
            return None
        record = record or Record(attempt=0, applied={}, boot_id=self._boot)
        made = read_json(bundle.task) if here else {}
        oci = read_oci_state(self._layout.oci, task_id) if here else None
        notes = read_json(self._layout.notes(task_id))
        if oci is None or made.get("attempt") != record.attempt:
            return self._without_process(task_id, record, notes)
        return self._with_process(record, bundle, oci, notes, self._cgroup(made, record))

    def _without_process(self, task_id: str, record: Record, notes: dict[str, object]) -> TaskState:
        other_boot = record.boot_id != self._boot
        rebooted = other_boot and record.started_at is not None and record.exit is None
        return TaskState(
            id=task_id,
            status=TaskStatus.STOPPED if rebooted or (other_boot and record.exit) else TaskStatus.PREPARED,
            applied=record.applied,
            attempt=record.attempt,
            started_at=record.started_at,
            **_exit_fields(record.exit),  # type: ignore[arg-type]
            recorded=record.exit is not None,
            supervised=False,
            rebooted=rebooted,
            error=record.error,
            notes=notes,
        )

    def _with_process(
        self, record: Record, bundle: Bundle, oci: OciState, notes: dict[str, object], group: Cgroup | None
    ) -> TaskState:
        task_id = bundle.task_id
        alive = is_alive(oci.pid, oci.start_time) and self._exits.watch(bundle, oci.pid, oci.start_time)
        limits = read_limits(group) if group else None
        ended = None if alive else record.exit or self._exit(bundle, oci, group)
        # Whoever started it may have been killed before the fifo was removed.
        unstarted = oci.created and (not alive or waits(oci.pid, self._layout.oci / task_id / FIFO))
        if not alive:
            status = TaskStatus.STOPPED
        elif unstarted:
            status = TaskStatus.CREATED
        else:
            status = TaskStatus.PAUSED if group and group.frozen() else TaskStatus.RUNNING
        return TaskState(
            id=task_id,
            status=status,
            applied=record.applied,
            attempt=record.attempt,
            pid=oci.pid if alive else None,
            start_time=oci.start_time if alive else None,
            started_at=None if unstarted else _started_at(bundle) or wall_clock(oci.start_time),
            **_exit_fields(ended),  # type: ignore[arg-type]
            recorded=record.exit is not None,
            supervised=supervisor(bundle) is not None,
            error=record.error,
            limits=as_asked(record.limits, limits) if limits else None,
            notes=notes,
        )

    def _exit(self, bundle: Bundle, oci: OciState, group: Cgroup | None) -> Exit:
        code, at = self._code(bundle, oci)
        oom = (bundle.persist / "oom").exists() or (group is not None and group.oom_kills() > 0)
        return Exit(code, at, oom)

    def _code(self, bundle: Bundle, oci: OciState) -> tuple[int | None, datetime]:
        deadline = time.monotonic() + _EXIT_PATIENCE
        while True:
            written = read_exit_file(bundle)
            if written is not None:
                return written
            # A supervisor that lives writes the file when the log is complete: a code that is known earlier does not help.
            # Without one, whoever is the parent now reaps the process when it gets to it, and then the kernel tells.
            supervised, late = supervisor(bundle) is not None, time.monotonic() > deadline
            if late or not supervised:
                status = zombie_status(oci.pid, oci.start_time)
                code = self._exits.code(bundle.task_id, oci.start_time) if status is None else exit_code(status)
                if code is not None:
                    return read_exit_file(bundle) or (code, datetime.now(UTC))
            if late or not (supervised or self._exits.pending(bundle.task_id, oci.start_time)):
                return read_exit_file(bundle) or (None, datetime.now(UTC))
            time.sleep(0.002)


def read_exit_file(bundle: Bundle) -> tuple[int, datetime] | None:
    try:
        with open(bundle.exit_file, "rb") as file:
            text = file.read(16).strip()
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    return (int(text), datetime.fromtimestamp(written, UTC)) if text.isdigit() else None


def _started_at(bundle: Bundle) -> datetime | None:
    try:
        return datetime.fromisoformat((read_small(str(bundle.started)) or b"").decode())
    except ValueError:
        return None


def _exit_fields(ended: Exit | None) -> dict[str, object]:
    if ended is None:
        return {}
    return {
        "exit_code": ended.code,
        "exit_known": ended.code is not None,
        "finished_at": ended.finished_at,
        "oom_killed": ended.oom_killed,
    }
