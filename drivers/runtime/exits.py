"""Exits as they happen: a pidfd for every task, one epoll thread, and the exit code from whoever still knows it.

conmon writes the exit file; when it is dead the kernel still tells (PIDFD_GET_INFO), and this then writes the file in
its place, so that the next engine knows too. Where neither does, there is no file: unknown is never 0.
"""

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.kernel.durable import write_atomic
from drivers.kernel.pidfd import exit_code, exit_status, open_pidfd
from drivers.kernel.process import zombie_status
from drivers.runtime.conmon import supervisor
from drivers.runtime.layout import Bundle

_RETRY = 0.002
_PATIENCE = 2.0
_HANDOVER = 1.0
"""How long conmon has to write the exit file before it is written in its place."""


@dataclass(slots=True)
class _Watched:
    bundle: Bundle
    pid: int
    started: int
    pidfd: int
    exited: float | None = None
    announced: bool = False


class ExitWatcher:
    """Blocking and thread-safe; the thread starts with the first task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._tasks: dict[str, _Watched] = {}
        self._codes: dict[str, int] = {}
        self._hints: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, bundle: Bundle, pid: int, started: int) -> bool:
        """Follow a process; tell whether it lives. Watched already: fine."""
        task_id = bundle.task_id
        with self._lock:
            known = self._tasks.get(task_id)
            if self._closed or (known is not None and known.started == started):
                return True
            pidfd = open_pidfd(pid, started)
            if pidfd is None:
                return False
            self._drop(task_id)
            self._tasks[task_id] = _Watched(bundle, pid, started, pidfd)
            # Edge-triggered: it fires when the process has died and again when it was reaped.
            self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLET)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="task-exits", daemon=True)
                self._thread.start()
        return True

    def forget(self, task_id: str) -> None:
        with self._lock:
            self._drop(task_id)

    def code(self, task_id: str, started: int) -> int | None:
        """The exit code as the kernel tells it; None for what was not watched, or is not reaped yet."""
        with self._lock:
            if (known := self._tasks.get(task_id)) is None or known.started != started:
                return None
            status = _status(known)
            return self._codes.get(task_id) if status is None else exit_code(status)

    def pending(self, task_id: str, started: int) -> bool:
        """Whether the code of a process that has ended may still become known here."""
        with self._lock:
            known = self._tasks.get(task_id)
            return known is not None and known.started == started and not known.announced

    def hint(self, task_id: str) -> None:
        self._hints.put(task_id)

    def hints(self) -> Iterator[str]:
        while (task_id := self._hints.get()) is not None:
            yield task_id
        self._hints.put(None)  # for whoever else waits

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        for task_id in list(self._tasks):
            self._drop(task_id)
        self._epoll.close()
        os.close(self._wake)
        self._hints.put(None)

    def _drop(self, task_id: str) -> None:
        known = self._tasks.pop(task_id, None)
        self._codes.pop(task_id, None)
        if known is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(known.pidfd)
            os.close(known.pidfd)

    def _run(self) -> None:
        pending = False
        while not self._closed:
            events = self._epoll.poll(_RETRY if pending else None)
            with self._lock:
                ready = {fd for fd, _ in events}
                now = time.monotonic()
                for known in self._tasks.values():
                    if known.pidfd in ready and known.exited is None:
                        known.exited = now
                pending = False
                for task_id, known in self._tasks.items():
                    if known.exited is not None and not self._settle(task_id, known, now - known.exited):
                        pending = True

    def _settle(self, task_id: str, known: _Watched, waited: float) -> bool:
        """Announce an exit once its code is known; tell whether nothing is left to wait for."""
        if known.announced and waited > _PATIENCE:
            return True
        written = known.bundle.exit_file.exists()
        status = _status(known)
        if status is not None:
            self._codes[task_id] = exit_code(status)
            if not written and (waited > _HANDOVER or supervisor(known.bundle) is None):
                with contextlib.suppress(OSError):  # deleted meanwhile
                    write_atomic(known.bundle.exit_file, str(self._codes[task_id]).encode())
                written = True
        if not known.announced and (written or waited > _PATIENCE):
            known.announced = True
            self._hints.put(task_id)
        return known.announced and (written or waited > _PATIENCE)


def _status(known: _Watched) -> int | None:
    """From the kernel: of a process that nobody has reaped yet, or, where it remembers, of one that was."""
    status = zombie_status(known.pid, known.started)
    return exit_status(known.pidfd) if status is None else status
