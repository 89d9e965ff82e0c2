"""The runtime driver: OCI containers under crun or runc, one conmon each."""

import itertools
import json
import os
import select
import signal as signals
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.kernel.cgroup import Cgroup, detect
from drivers.kernel.cgroup_limits import check_supported, counters, write_limits
from drivers.kernel.durable import write_atomic
from drivers.kernel.pidfd import open_pidfd
from drivers.kernel.process import boot_id, start_time
from drivers.runtime import conmon
from drivers.runtime.choice import choose, find
from drivers.runtime.exits import ExitWatcher
from drivers.runtime.guard import check_mounts, check_rootfs, check_spec, close_devices
from drivers.runtime.interface import (
    Limits,
    ProcessConfig,
    RuntimeInfo,
    Stream,
    TaskConfig,
    TaskState,
    TaskStatus,
)
from drivers.runtime.layout import Bundle, Layout, checked_group, checked_id
from drivers.runtime.observe import Observer
from drivers.runtime.record import Exit, Record, read_json, write_record
from drivers.runtime.residue import Residue
from drivers.runtime.spec import complete, exec_process
from drivers.runtime.starting import FIFO, let_go
from drivers.runtime.streams import AttachStream, ExecStream
from resources.errors import Conflict, DataLoss, EngineError, FailedPrecondition, NotFound, Unavailable

_ALIVE = (TaskStatus.CREATED, TaskStatus.RUNNING, TaskStatus.PAUSED)


class OciRuntime:
    """`instance` names the engine's cgroup; `preferred` is the OCI runtime to try first."""

    def __init__(self, root: Path, run_root: Path, instance: str, preferred: str | None = None) -> None:
        self._layout = Layout(root.absolute(), run_root.absolute())
        self._instance = checked_group(instance)
        self._preferred = preferred
        self._hierarchies = detect()
        self._exits = ExitWatcher()
        self._observer = Observer(self._layout, self._hierarchies, self._exits)
        self._residue = Residue(self._layout, self._hierarchies, instance)
        self._lock = threading.Lock()
        self._creating = 0
        self._exec_numbers = itertools.count(1)
        self._info: RuntimeInfo | None = None

    def info(self) -> RuntimeInfo:
        with self._lock:
            if self._info is None:
                run_root = self._layout.run_root
                self._info = choose(run_root, self._instance, self._hierarchies, self._preferred)
            return self._info

    def create(self, config: TaskConfig) -> None:
        task_id = checked_id(config.id)
        group = self._group(config)
        check_spec(config.spec)
        check_supported(group, config.limits)
        supervisor = find("conmon")
        if supervisor is None:
            raise Unavailable("conmon is not installed", hint="apt-get install conmon, or `lading doctor --fix`")
        runtime = self.info()
        if self._is_created(task_id, config.attempt):
            return
        check_rootfs(config.rootfs, config.spec.get("mounts") or ())
        write_record(self._layout.record(task_id), self._new_record(config, group))
        bundle = self._make_bundle(config, group, runtime)
        launch = conmon.Launch(
            conmon=supervisor,
            runtime=runtime.path,
            layout=self._layout,
            bundle=bundle,
            log=self._layout.log(task_id) if config.log.driver != "none" else None,
            terminal=config.terminal,
            stdin=config.stdin,
        )
        with self._group_in_use():
            try:
                pid = conmon.create(launch)
            except EngineError:
                self._residue.remove_process(task_id, group, thorough=True)
                raise
        started = start_time(pid)
        if started is not None:
            self._exits.watch(bundle, pid, started)

    def start(self, task_id: str) -> None:
        state = self._known(task_id)
        if state.status in (TaskStatus.RUNNING, TaskStatus.PAUSED):
            return
        if state.status is not TaskStatus.CREATED or state.pid is None:
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}, not created", hint="create it again")
        record = self._record(task_id)
        try:
            check_mounts(state.pid, record.masked, record.readonly)
            close_devices(self._cgroup(task_id))
        except FailedPrecondition:
            self.kill(task_id, signals.SIGKILL, everything=True)
            raise
        let_go(self._made_by(task_id).name, state.pid, self._layout.oci / task_id / FIFO)
        now = datetime.now(UTC)
        write_atomic(self._layout.bundle(task_id).started, now.isoformat().encode())
        write_record(self._layout.record(task_id), replace(record, started_at=now))

    def state(self, task_id: str) -> TaskState | None:
        return self._observer.state(checked_id(task_id))

    def list(self, prefix: str = "") -> Sequence[TaskState]:
        ids = sorted(task_id for task_id in self._layout.task_ids() if task_id.startswith(prefix))
        found = (self._listed(task_id) for task_id in ids)
        return [state for state in found if state is not None]

    def kill(self, task_id: str, signal: int, *, everything: bool = False) -> None:
        state = self.state(task_id)
        if state is None or state.status not in _ALIVE or state.pid is None:
            return
        group = self._observer.cgroup(task_id)
        if everything and group is not None:
            group.signal(signal)
            return
        pidfd = open_pidfd(state.pid, state.start_time)
        if pidfd is None:
            return
        try:
            signals.pidfd_send_signal(pidfd, signal)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)
        if signal == signals.SIGKILL and group is not None and group.frozen():
            group.thaw()  # a v1 freezer holds even this back

    def pause(self, task_id: str) -> None:
        if self._running(task_id, "paused").status is TaskStatus.RUNNING:
            self._cgroup(task_id).freeze()

    def resume(self, task_id: str) -> None:
        if self._running(task_id, "resumed").status is TaskStatus.PAUSED:
            self._cgroup(task_id).thaw()

    def update(self, task_id: str, limits: Limits) -> None:
        self._running(task_id, "limited")
        write_limits(self._cgroup(task_id), limits)
        record = self._record(task_id)
        if record.limits != limits:
            write_record(self._layout.record(task_id), replace(record, limits=limits))

    def record_exit(self, task_id: str) -> None:
        state = self._known(task_id)
        if state.recorded:
            return
        if state.status is not TaskStatus.STOPPED:
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}: it has no exit to record")
        ended = Exit(state.exit_code, state.finished_at or datetime.now(UTC), state.oom_killed)
        record = replace(self._record(task_id), exit=ended, started_at=state.started_at)
        write_record(self._layout.record(task_id), record)

    def record_applied(self, task_id: str, applied: Mapping[str, Any]) -> None:
        write_record(self._layout.record(task_id), replace(self._record(task_id), applied=dict(applied)))

    def record_failure(self, task_id: str, attempt: int, error: str) -> None:
        path = self._layout.record(task_id)
        record = self._observer.record(task_id) or Record(attempt, {}, boot_id())
        if record.attempt != attempt:
            record = replace(record, attempt=attempt, exit=None, started_at=None, boot_id=boot_id())
        write_record(path, replace(record, error=error))

    def annotate(self, task_id: str, notes: Mapping[str, Any]) -> None:
        path = self._layout.notes(task_id)
        if not (self._layout.record(task_id).exists() or self._layout.bundle(task_id).path.exists()):
            raise NotFound(f"there is no task {task_id[:12]}")
        with self._lock:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, json.dumps({**read_json(path), **notes}, separators=(",", ":")).encode())

    def delete(self, task_id: str, *, record: bool = True) -> None:
        bundle = self._layout.bundle(checked_id(task_id))
        group = self._cgroup_or_none(task_id)
        # Without these files a create was cut short, and who works on it is in no pid file.
        thorough = bundle.path.is_dir() and not (bundle.conmon_pid.exists() and (self._layout.oci / task_id).is_dir())
        self._exits.forget(task_id)
        self._residue.remove_process(task_id, group, thorough=thorough)
        if record:
            self._residue.remove_record(task_id)
        self._drop_empty_groups()

    def exec(self, task_id: str, process: ProcessConfig) -> Stream:
        state = self._running(task_id, "entered")
        if state.status is TaskStatus.PAUSED:
            raise FailedPrecondition(f"task {task_id[:12]} is paused", hint="resume it first")
        bundle = self._layout.bundle(task_id)
        bundle.execs.mkdir(mode=0o700, exist_ok=True)
        base = bundle.execs / f"{os.getpid()}-{next(self._exec_numbers)}"
        description, pid_file, log = (base.with_suffix(s) for s in (".json", ".pid", ".log"))
        config = read_json(bundle.config).get("process") or {}
        write_atomic(description, json.dumps(exec_process(config, process)).encode())
        command = [str(self._made_by(task_id)), f"--root={self._layout.oci}", f"--log={log}", "--log-format=json"]
        command += ["exec", "--process", str(description), "--pid-file", str(pid_file), task_id]
        return ExecStream(
            command,
            (description, pid_file, log),
            terminal=process.terminal,
            rows=process.rows,
            columns=process.columns,
        )

    def attach(self, task_id: str) -> Stream:
        state = self._known(task_id)
        if state.status not in _ALIVE or state.pid is None or state.start_time is None:
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}: it has no streams to attach to")
        terminal = self._record(task_id).terminal
        pid, started = state.pid, state.start_time
        return AttachStream(self._layout.bundle(task_id), lambda: self._wait(task_id, pid, started), terminal=terminal)

    def stats(self, task_id: str) -> Mapping[str, int]:
        state = self.state(task_id)
        if state is None or state.status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
            return {}
        return counters(self._cgroup(task_id))

    def exits(self) -> Iterator[str]:
        return self._exits.hints()

    def cleanup(self, known: Sequence[str]) -> int:
        strangers = self._residue.task_ids() - set(known)
        failures: list[Exception] = []
        for task_id in sorted(strangers):
            self._exits.forget(task_id)
            try:
                self._residue.remove_process(task_id, self._cgroup_or_none(task_id), thorough=True)
                self._residue.remove_record(task_id)
            except ExceptionGroup as group:
                failures += group.exceptions
        with self._lock:
            idle = self._creating == 0
        if idle:
            self._residue.remove_probes()
            self._drop_empty_groups()
        if failures:
            raise ExceptionGroup("not everything could be cleaned up", failures)
        return len(strangers)

    def close(self) -> None:
        self._exits.close()

    def _is_created(self, task_id: str, attempt: int) -> bool:
        """Whether this attempt is there already; what is left of another is removed."""
        if not self._layout.bundle(task_id).path.is_dir() and self._cgroup_or_none(task_id) is None:
            return False
        state = self._listed(task_id)
        if state is not None and state.status in (TaskStatus.RUNNING, TaskStatus.PAUSED):
            raise Conflict(f"task {task_id[:12]} runs already", hint="stop and delete it first")
        if state is not None and state.status is TaskStatus.CREATED and state.attempt == attempt and state.supervised:
            return True
        self.delete(task_id, record=False)
        return False

    def _group(self, config: TaskConfig) -> Cgroup:
        return Cgroup(self._hierarchies, f"/{self._instance}/{checked_group(config.cgroup_parent)}/{config.id}")

    def _new_record(self, config: TaskConfig, group: Cgroup) -> Record:
        return Record(
            attempt=config.attempt,
            applied=dict(config.applied),
            boot_id=boot_id(),
            cgroup=group.path,
            limits=config.limits,
            masked=config.masked,
            readonly=config.readonly,
            terminal=config.terminal,
        )

    def _make_bundle(self, config: TaskConfig, group: Cgroup, runtime: RuntimeInfo) -> Bundle:
        bundle = self._layout.bundle(config.id)
        for directory in (bundle.path, bundle.exits, bundle.persist, self._layout.oci):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = {"attempt": config.attempt, "runtime": str(runtime.path), "cgroup": group.path}
        write_atomic(bundle.task, json.dumps(made).encode())
        write_atomic(bundle.config, json.dumps(complete(config, group.path, runtime.name)).encode())
        return bundle

    def _made_by(self, task_id: str) -> Path:
        """The runtime that made this task, whichever would be chosen today: their state files differ."""
        path = read_json(self._layout.bundle(task_id).task).get("runtime")
        if not isinstance(path, str):
            raise FailedPrecondition(f"what made task {task_id[:12]} is not known", hint="create it again")
        return Path(path)

    def _known(self, task_id: str) -> TaskState:
        state = self.state(task_id)
        if state is None:
            raise NotFound(f"there is no task {task_id[:12]}")
        return state

    def _record(self, task_id: str) -> Record:
        record = self._observer.record(checked_id(task_id))
        if record is None:
            raise NotFound(f"there is no record of task {task_id[:12]}")
        return record

    def _running(self, task_id: str, done: str) -> TaskState:
        state = self._known(task_id)
        if state.status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}: it cannot be {done}")
        return state

    def _cgroup(self, task_id: str) -> Cgroup:
        group = self._observer.cgroup(task_id)
        if group is None or not group.exists():
            raise FailedPrecondition(f"the cgroup of task {task_id[:12]} is gone")
        return group

    def _cgroup_or_none(self, task_id: str) -> Cgroup | None:
        try:
            return self._observer.cgroup(task_id)
        except DataLoss:
            return self._residue.made_cgroup(task_id)

    def _listed(self, task_id: str) -> TaskState | None:
        """A damaged record hides neither the other tasks nor its own."""
        try:
            return self.state(task_id)
        except DataLoss as error:
            return TaskState(task_id, TaskStatus.PREPARED, {}, 0, supervised=False, error=str(error))

    def _wait(self, task_id: str, pid: int, started: int) -> int:
        pidfd = open_pidfd(pid, started)
        if pidfd is not None:
            try:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll()
            finally:
                os.close(pidfd)
        state = self.state(task_id)
        return -1 if state is None or state.exit_code is None else state.exit_code

    @contextmanager
    def _group_in_use(self) -> Iterator[None]:
        with self._lock:
            self._creating += 1
        try:
            yield
        finally:
            with self._lock:
                self._creating -= 1

    def _drop_empty_groups(self) -> None:
        with self._lock:
            # A runtime makes the parents first and the group in them later: neither may go in between.
            if self._creating == 0:
                self._residue.remove_empty_groups()
