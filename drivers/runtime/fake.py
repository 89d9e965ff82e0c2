"""The runtime driver in memory, for tests of what is above it: the same contract, and a world that can be arranged.

`exit` ends a task as its process would; `fail` makes a call raise; `break_limits`, `kill_supervisor` and `reboot` do
what others do to a host. Tasks belong to a `FakeHost`, so that a second runtime on it is the engine's next life.
"""

import itertools
import os
import queue
import signal as signals
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.runtime.guard import check_spec
from drivers.runtime.interface import (
    Limits,
    ProcessConfig,
    RuntimeInfo,
    Stream,
    TaskConfig,
    TaskState,
    TaskStatus,
)
from drivers.runtime.layout import checked_group, checked_id
from resources.errors import Conflict, FailedPrecondition, NotFound

_ALIVE = (TaskStatus.CREATED, TaskStatus.RUNNING, TaskStatus.PAUSED)
_LIVE = (TaskStatus.RUNNING, TaskStatus.PAUSED)

Program = Callable[[ProcessConfig], tuple[int, bytes, bytes]]
"""What an exec does: exit code, standard output, standard error."""


@dataclass(slots=True)
class FakeHost:
    """Tasks and their processes: what outlives a runtime object."""

    tasks: dict[str, TaskState] = field(default_factory=dict)
    configs: dict[str, TaskConfig] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    changed: threading.Condition = field(init=False)
    pids: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)


class FakeRuntime:
    """`program` is what every exec runs; by default it succeeds and says nothing."""

    def __init__(self, host: FakeHost | None = None, program: Program | None = None) -> None:
        self.host = host or FakeHost()
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its task, in order."""
        self.stubborn: set[str] = set()
        """Tasks that heed no signal but SIGKILL."""
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._program = program or (lambda _: (0, b"", b""))
        self._failures: dict[str, list[Exception]] = {}
        self._hints: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def exit(self, task_id: str, code: int | None = 0, *, oom_killed: bool = False) -> None:
        """The process ends; None is a code nobody will ever know."""
        with self.host.lock:
            state = self._known(task_id)
            if state.status not in _ALIVE:
                return
            self.host.tasks[task_id] = replace(
                state,
                status=TaskStatus.STOPPED,
                pid=None,
                start_time=None,
                finished_at=self.now(),
                exit_code=code,
                exit_known=code is not None,
                oom_killed=oom_killed,
                supervised=False,
            )
            self.host.changed.notify_all()
        self._hints.put(task_id)

    def fail(self, method: str, error: Exception, times: int = 1) -> None:
        """Make the next calls of `method` raise, before they do anything."""
        with self.host.lock:
            self._failures.setdefault(method, []).extend([error] * times)

    def break_limits(self, task_id: str, limits: Limits) -> None:
        """Someone else writes to the cgroup."""
        with self.host.lock:
            self.host.tasks[task_id] = replace(self._known(task_id), limits=limits)

    def kill_supervisor(self, task_id: str) -> None:
        with self.host.lock:
            self.host.tasks[task_id] = replace(self._known(task_id), supervised=False)

    def reboot(self) -> None:
        """The host goes down: processes and notes are gone, records stay."""
        with self.host.lock:
            for task_id, state in list(self.host.tasks.items()):
                ran = state.started_at is not None and not state.recorded
                done = ran or state.recorded
                forgotten = {} if state.recorded else {"exit_code": None, "exit_known": False, "finished_at": None}
                self.host.tasks[task_id] = replace(
                    state,
                    status=TaskStatus.STOPPED if done else TaskStatus.PREPARED,
                    pid=None,
                    start_time=None,
                    supervised=False,
                    rebooted=ran,
                    limits=None,
                    notes={},
                    **forgotten,  # type: ignore[arg-type]
                )
            self.host.changed.notify_all()

    def info(self) -> RuntimeInfo:
        return RuntimeInfo("fake", Path("/nonexistent"), "1", "preferred")

    def create(self, config: TaskConfig) -> None:
        self._called("create", checked_id(config.id))
        checked_group(config.cgroup_parent)
        check_spec(config.spec)
        if not config.spec.get("process", {}).get("args"):
            raise FailedPrecondition("the OCI runtime cannot create the container: no executable")
        with self.host.lock:
            old = self.host.tasks.get(config.id)
            if old is not None and old.status in _LIVE:
                raise Conflict(f"task {config.id[:12]} runs already", hint="stop and delete it first")
            if old is not None and old.status is TaskStatus.CREATED and old.attempt == config.attempt:
                return
            pid = next(self.host.pids)
            self.host.configs[config.id] = config
            self.host.tasks[config.id] = TaskState(
                id=config.id,
                status=TaskStatus.CREATED,
                applied=dict(config.applied),
                attempt=config.attempt,
                pid=pid,
                start_time=pid * 100,
                limits=config.limits,
                notes=old.notes if old else {},
            )

    def start(self, task_id: str) -> None:
        self._called("start", task_id)
        with self.host.lock:
            state = self._known(task_id)
            if state.status in _LIVE:
                return
            if state.status is not TaskStatus.CREATED:
                raise FailedPrecondition(f"task {task_id[:12]} is {state.status}, not created", hint="create it again")
            self.host.tasks[task_id] = replace(state, status=TaskStatus.RUNNING, started_at=self.now())

    def state(self, task_id: str) -> TaskState | None:
        with self.host.lock:
            return self.host.tasks.get(checked_id(task_id))

    def list(self, prefix: str = "") -> Sequence[TaskState]:
        with self.host.lock:
            return [self.host.tasks[task_id] for task_id in sorted(self.host.tasks) if task_id.startswith(prefix)]

    def kill(self, task_id: str, signal: int, *, everything: bool = False) -> None:
        self._called("kill", task_id)
        state = self.state(task_id)
        if state is None or state.status not in _ALIVE:
            return
        del everything  # one process is all there is
        heeds = task_id not in self.stubborn and state.status is TaskStatus.RUNNING
        if signal == signals.SIGKILL or (signal in (signals.SIGTERM, signals.SIGINT) and heeds):
            self.exit(task_id, 128 + signal)

    def pause(self, task_id: str) -> None:
        self._switch("pause", task_id, TaskStatus.PAUSED)

    def resume(self, task_id: str) -> None:
        self._switch("resume", task_id, TaskStatus.RUNNING)

    def update(self, task_id: str, limits: Limits) -> None:
        self._called("update", task_id)
        with self.host.lock:
            self.host.tasks[task_id] = replace(self._running(task_id), limits=limits)

    def record_exit(self, task_id: str) -> None:
        self._called("record_exit", task_id)
        with self.host.lock:
            state = self._known(task_id)
            if state.recorded:
                return
            if state.status is not TaskStatus.STOPPED:
                raise FailedPrecondition(f"task {task_id[:12]} is {state.status}: it has no exit to record")
            finished = state.finished_at or self.now()
            self.host.tasks[task_id] = replace(state, recorded=True, finished_at=finished)

    def record_applied(self, task_id: str, applied: Mapping[str, Any]) -> None:
        self._called("record_applied", task_id)
        with self.host.lock:
            self.host.tasks[task_id] = replace(self._known(task_id), applied=dict(applied))

    def record_failure(self, task_id: str, attempt: int, error: str) -> None:
        self._called("record_failure", task_id)
        with self.host.lock:
            state = self.host.tasks.get(checked_id(task_id))
            if state is None or state.attempt != attempt:
                applied, notes = (state.applied, state.notes) if state else ({}, {})
                state = TaskState(task_id, TaskStatus.PREPARED, applied, attempt, supervised=False, notes=notes)
            self.host.tasks[task_id] = replace(state, error=error)

    def annotate(self, task_id: str, notes: Mapping[str, Any]) -> None:
        self._called("annotate", task_id)
        with self.host.lock:
            state = self._known(task_id)
            self.host.tasks[task_id] = replace(state, notes={**state.notes, **notes})

    def delete(self, task_id: str, *, record: bool = True) -> None:
        self._called("delete", checked_id(task_id))
        with self.host.lock:
            state = self.host.tasks.get(task_id)
            if state is None:
                return
            self.host.configs.pop(task_id, None)
            if record:
                del self.host.tasks[task_id]
            else:
                kept = {} if state.recorded else {"exit_code": None, "exit_known": False, "finished_at": None}
                self.host.tasks[task_id] = replace(
                    state,
                    status=TaskStatus.PREPARED,
                    pid=None,
                    start_time=None,
                    supervised=False,
                    limits=None,
                    **kept,  # type: ignore[arg-type]
                )
            self.host.changed.notify_all()

    def exec(self, task_id: str, process: ProcessConfig) -> Stream:
        self._called("exec", task_id)
        if self._running(task_id).status is TaskStatus.PAUSED:
            raise FailedPrecondition(f"task {task_id[:12]} is paused", hint="resume it first")
        code, out, err = self._program(process)
        return _FakeStream(lambda: code, [s for s in (("stdout", out), ("stderr", err)) if s[1]])

    def attach(self, task_id: str) -> Stream:
        self._called("attach", task_id)
        state = self._known(task_id)
        if state.status not in _ALIVE:
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}: it has no streams to attach to")
        return _FakeStream(lambda: self._wait(task_id), [])

    def stats(self, task_id: str) -> Mapping[str, int]:
        state = self.state(task_id)
        return {"memory": 1 << 20, "cpu_nanos": 1, "pids": 1} if state and state.status in _LIVE else {}

    def exits(self) -> Iterator[str]:
        while (task_id := self._hints.get()) is not None:
            yield task_id
        self._hints.put(None)

    def cleanup(self, known: Sequence[str]) -> int:
        with self.host.lock:
            strangers = set(self.host.tasks) - set(known)
            for task_id in strangers:
                self.delete(task_id)
        return len(strangers)

    def close(self) -> None:
        self._hints.put(None)

    def _called(self, method: str, task_id: str) -> None:
        with self.host.lock:
            self.calls.append((method, task_id))
            if self._failures.get(method):
                raise self._failures[method].pop(0)

    def _known(self, task_id: str) -> TaskState:
        state = self.state(task_id)
        if state is None:
            raise NotFound(f"there is no task {task_id[:12]}")
        return state

    def _running(self, task_id: str) -> TaskState:
        state = self._known(task_id)
        if state.status not in _LIVE:
            raise FailedPrecondition(f"task {task_id[:12]} is {state.status}")
        return state

    def _switch(self, method: str, task_id: str, status: TaskStatus) -> None:
        self._called(method, task_id)
        with self.host.lock:
            self.host.tasks[task_id] = replace(self._running(task_id), status=status)

    def _wait(self, task_id: str) -> int:
        with self.host.changed:
            while (state := self.host.tasks.get(task_id)) is not None and state.status in _ALIVE:
                self.host.changed.wait()
        return -1 if state is None or state.exit_code is None else state.exit_code


class _FakeStream:
    def __init__(self, wait: Callable[[], int], output: list[tuple[str, bytes]]) -> None:
        self._wait = wait
        self._output = output
        self._ready = os.eventfd(1, os.EFD_CLOEXEC)
        self._open = True
        self.written = b""
        self.size: tuple[int, int] | None = None

    def fileno(self) -> int:
        return self._ready

    def read(self) -> tuple[str, bytes] | None:
        return self._output.pop(0) if self._output else None

    def write(self, data: bytes) -> None:
        if not self._open:
            raise FailedPrecondition("standard input of the process is closed")
        self.written += data

    def close_stdin(self) -> None:
        self._open = False

    def resize(self, rows: int, columns: int) -> None:
        self.size = (rows, columns)

    def wait(self) -> int:
        return self._wait()

    def kill(self, signal: int) -> None:
        del signal  # it has ended already

    def close(self) -> None:
        self._open = False
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
