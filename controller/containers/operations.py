"""What is done to a container beside its desired state: exec, attach, logs, copy, signals, usage.

Each changes no spec; those that touch the container leave an event. A container's process is found anew each time, and
its root file system is entered through a descriptor that was seen to be that process'.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from controller.containers.processes import process_table
from controller.interface import Stream
from controller.store.interface import Objects
from drivers.copy.interface import Copier
from drivers.logs.interface import LogDriver, LogEntry
from drivers.runtime.interface import ProcessConfig, Runtime, TaskState, TaskStatus
from drivers.runtime.users import User, resolve_user
from reconcilers.container import hardening
from reconcilers.interface import Events
from resources.container import ContainerSpec
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.linux import signal_number
from resources.meta import Key, Ref
from resources.object import Object

_LIVE = (TaskStatus.RUNNING, TaskStatus.PAUSED)
_NEXT_LIFE = 0.1
"""Seconds between looks for the next incarnation of a container whose logs are followed."""


class ContainerOperations:
    """Implements controller.interface.Operations."""

    def __init__(self, objects: Objects, runtime: Runtime, logs: LogDriver, copier: Copier, events: Events) -> None:
        self._objects = objects
        self._runtime = runtime
        self._logs = logs
        self._copier = copier
        self._events = events

    def exec(
        self,
        name: Ref,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        user: str,
        working_dir: str,
        tty: bool,
        stdin: bool,
        rows: int,
        columns: int,
    ) -> Stream:
        if not args:
            raise InvalidArgument("there is no command to run")
        item, task = self._running(name)
        spec = ContainerSpec.parse(task.applied["spec"])
        who = self._user(task, user)
        # On top of the environment the container was started with; a terminal has a type, a user has a home.
        added = {**({"TERM": "xterm"} if tty else {}), **({"HOME": who.home} if user else {}), **env}
        stream = self._runtime.exec(
            task.id,
            ProcessConfig(
                args=tuple(args),
                env=tuple(f"{key}={value}" for key, value in added.items()),
                cwd=working_dir,
                uid=who.uid,
                gid=who.gid,
                groups=who.groups,
                terminal=tty,
                capabilities=hardening.capabilities(spec.security),
                no_new_privileges=hardening.no_new_privileges(spec.security),
                rows=rows,
                columns=columns,
            ),
        )
        # Not its arguments: they may hold what is secret.
        self._events.emit(item.key, "Exec", f"{args[0][:200]!r} was run in it", user=user)
        if not stdin:
            stream.close_stdin()
        return stream

    def attach(self, name: Ref) -> Stream:
        item, task = self._running(name)
        stream = self._runtime.attach(task.id)
        self._events.emit(item.key, "Attached", "somebody joined its streams")
        return stream

    def logs(
        self,
        name: Ref,
        *,
        tail: int | None,
        since: datetime | None,
        follow: bool,
        all_tasks: bool,
        stopped: Callable[[], bool],
    ) -> Iterator[tuple[datetime, str, bytes]]:
        item = self._container(name)
        entries = self._entries(item.key, tail, since, follow=follow, all_tasks=all_tasks, stopped=stopped)
        return ((entry.time, entry.stream, entry.data) for entry in entries)

    def kill(self, name: Ref, signal: str) -> None:
        try:
            number = signal_number(signal)
        except ValueError as error:
            raise InvalidArgument(f"{signal[:40]!r} {error}") from error
        item, task = self._running(name)
        self._runtime.kill(task.id, number)
        self._events.emit(item.key, "Signalled", f"signal {signal} was sent to it", signal=number)

    def copy_out(self, name: Ref, path: str) -> Iterator[bytes]:
        item, task = self._running(name)
        self._events.emit(item.key, "CopiedOut", f"{path[:200]!r} was copied out of it", path=path[:200])
        return self._packed(name, task, path)

    def copy_in(self, name: Ref, path: str, archive: BinaryIO) -> None:
        item, task = self._running(name)
        with self._root(name, task) as root:
            self._copier.unpack(root, path, archive)
        self._events.emit(item.key, "CopiedIn", f"files were copied into {path[:200]!r}", path=path[:200])

    def stat(self, name: Ref, path: str) -> Mapping[str, Any] | None:
        _, task = self._running(name)
        with self._root(name, task) as root:
            entry = self._copier.stat(root, path)
        if entry is None:
            return None
        return {
            "name": entry.name,
            "size": entry.size,
            "mode": entry.mode,
            "mtime": entry.mtime,
            "linkTarget": entry.link_target,
        }

    def top(self, name: Ref) -> Sequence[Mapping[str, Any]]:
        _, task = self._running(name)
        return process_table(task.pid or 0)

    def stats(self, name: Ref) -> Mapping[str, int]:
        return self._runtime.stats(self._running(name)[1].id)

    def _container(self, name: Ref) -> Object:
        item = self._objects.find(name)
        if item is None:
            raise NotFound(f"there is no {name} in namespace {name.namespace}")
        return item

    def _running(self, name: Ref) -> tuple[Object, TaskState]:
        """The newest incarnation that runs. Raises: NotFound, FailedPrecondition."""
        item = self._container(name)
        lives = self._lives(item.key)
        for task in reversed(lives):
            if task.status in _LIVE:
                return item, task
        if not lives or (lives[-1].status is not TaskStatus.STOPPED and lives[-1].exit_code is None):
            state = lives[-1].status if lives else "not there yet"
            raise FailedPrecondition(f"{name} does not run: it is {state}", hint=f"lading describe {name}")
        code = "an exit code that is not known" if lives[-1].exit_code is None else f"exit code {lives[-1].exit_code}"
        what = f"{name} does not run: it ended with {code}"
        raise FailedPrecondition(what, hint=f"`lading start {name.name}` runs it again")

    def _lives(self, key: Key) -> list[TaskState]:
        """Tasks of the container, oldest incarnation first."""
        return sorted(self._runtime.list(key.uid), key=lambda task: task.id)

    def _user(self, task: TaskState, user: str) -> User:
        if user:
            with self._root(None, task) as root:
                return resolve_user(root, user)
        account = task.applied["account"]
        return User(account["uid"], account["gid"], tuple(account["groups"]), account["home"])

    @contextmanager
    def _root(self, name: Ref | None, task: TaskState) -> Iterator[Path]:
        """The root the process sees, its mounts included. Looking again after opening tells that no other process had
        got its pid."""
        try:
            fd = os.open(f"/proc/{task.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FailedPrecondition(f"{name or 'the container'} has just ended") from error
        try:
            now = self._runtime.state(task.id)
            if now is None or (now.pid, now.start_time) != (task.pid, task.start_time):
                raise FailedPrecondition(f"{name or 'the container'} has just ended")
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)

    def _packed(self, name: Ref, task: TaskState, path: str) -> Iterator[bytes]:
        with self._root(name, task) as root:
            yield from self._copier.pack(root, path)

    def _entries(
        self,
        key: Key,
        tail: int | None,
        since: datetime | None,
        *,
        follow: bool,
        all_tasks: bool,
        stopped: Callable[[], bool],
    ) -> Iterator[LogEntry]:
        lives = [task.id for task in self._lives(key)]
        earlier, latest = lives[:-1] if all_tasks else [], lives[-1] if lives else ""
        yield from self._earlier(earlier, latest, tail, since)
        while True:
            if latest:
                yield from self._logs.read(latest, tail=tail, since=since, follow=follow, stopped=stopped)
            if not follow or stopped() or self._objects.get(key) is None:
                return
            following = next((task.id for task in self._lives(key) if task.id > latest), "")
            if following:
                latest, tail = following, None
            else:
                _pause(stopped)

    def _earlier(
        self, lives: Sequence[str], latest: str, tail: int | None, since: datetime | None
    ) -> Iterator[LogEntry]:
        """Of earlier incarnations as much as the latest leaves of `tail`."""
        if tail is None:
            for task_id in lives:
                yield from self._logs.read(task_id, since=since)
            return
        left = tail - sum(1 for _ in self._logs.read(latest, tail=tail, since=since)) if lives else 0
        kept: list[LogEntry] = []
        for task_id in reversed(lives):
            if left <= len(kept):
                break
            kept = [*self._logs.read(task_id, tail=left - len(kept), since=since), *kept]
        yield from kept


def _pause(stopped: Callable[[], bool]) -> None:
    if not stopped():
        time.sleep(_NEXT_LIFE)
