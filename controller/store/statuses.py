"""Statuses: read and replaced in memory, written a moment later, many in one transaction.

A status is a report that could be made anew, so nobody waits for the disk to have it: a sync takes longer than all our own work
for a container. What was not written yet when the process dies is found out again by looking.
"""

import threading
from collections.abc import Callable, Mapping

from controller.store.interface import MAX_OPERATIONS
from resources.errors import EngineError
from resources.meta import Key, Status


class Statuses:
    def __init__(self, write: Callable[[Mapping[Key, Status]], None]) -> None:
        """`write` gets at most MAX_OPERATIONS at a time, on a thread of its own."""
        self._write = write
        self._changed = threading.Condition()
        self._all: dict[Key, Status] = {}
        self._unwritten: dict[Key, Status] = {}
        self._writing = False

    def get(self, key: Key) -> Status | None:
        return self._all.get(key)

    def load(self, found: Mapping[Key, Status]) -> None:
        """What is written; what is not yet stands above it."""
        with self._changed:
            self._all = {**found, **self._unwritten}

    def put(self, key: Key, status: Status) -> bool:
        with self._changed:
            if self._all.get(key) == status:
                return False
            self._all[key] = self._unwritten[key] = status
            if not self._writing:
                self._writing = True
                threading.Thread(target=self._write_all, name="statuses", daemon=True).start()
            return True

    def drop(self, key: Key) -> None:
        with self._changed:
            self._all.pop(key, None)
            self._unwritten.pop(key, None)

    def settle(self) -> None:
        """Wait until all is written that can be."""
        with self._changed:
            while self._writing:
                self._changed.wait()

    def _write_all(self) -> None:
        while batch := self._next():
            try:
                self._write(batch)
            except BaseException as error:
                # The disk is full, or the store closed: what is reported next tries again.
                with self._changed:
                    self._unwritten = {key: self._all[key] for key in batch if key in self._all} | self._unwritten
                    self._writing = False
                    self._changed.notify_all()
                if isinstance(error, EngineError):
                    return
                raise

    def _next(self) -> dict[Key, Status]:
        with self._changed:
            batch = dict(list(self._unwritten.items())[:MAX_OPERATIONS])
            for key in batch:
                del self._unwritten[key]
            if not batch:
                self._writing = False
                self._changed.notify_all()
            return batch
