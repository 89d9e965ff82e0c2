"""A store in memory, for tests and for a command that is its own engine and keeps nothing."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from controller.store.interface import Compacted, Compare, Delete, Entry, Event, Put
from controller.store.keyspace import check_transaction, prefix_end
from resources.errors import Unavailable

_POLL_SECONDS = 0.25


class MemoryStore:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._log: list[Event] = []
        self._revision = 0
        self._compacted = 1
        self._closed = False

    def get(self, key: str) -> Entry | None:
        with self._changed:
            self._check_open()
            return self._entries.get(key)

    def range(self, prefix: str) -> Sequence[Entry]:
        return self.snapshot([prefix])[1]

    def snapshot(self, prefixes: Sequence[str]) -> tuple[int, Sequence[Entry]]:
        with self._changed:
            self._check_open()
            return self._revision, [entry for prefix in prefixes for entry in self._range(prefix)]

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        check_transaction(compares, operations)
        with self._changed:
            self._check_open()
            if any(self._mod_revision(compare.key) != compare.mod_revision for compare in compares):
                return None
            real = [op for op in operations if isinstance(op, Put) or op.key in self._entries]
            if real:
                self._revision += 1
                for operation in real:
                    self._write(operation)
                self._changed.notify_all()
            return self._revision

    def revision(self) -> int:
        with self._changed:
            self._check_open()
            return self._revision

    def watch(self, prefix: str, since: int, stopped: Callable[[], bool]) -> Iterator[Event]:
        while not stopped():
            with self._changed:
                if self._closed:
                    return
                if since < self._compacted - 1:
                    raise Compacted(f"changes after revision {since} are no longer kept")
                latest = self._revision
                start = bisect_right(self._log, since, key=lambda event: event.revision)
                events = [event for event in self._log[start:] if event.key.startswith(prefix)]
                if latest <= since:
                    self._changed.wait(_POLL_SECONDS)
            yield from events
            since = max(since, latest)

    def compact(self, before: int) -> None:
        with self._changed:
            self._check_open()
            self._compacted = max(self._compacted, min(before, self._revision + 1))
            del self._log[: bisect_left(self._log, self._compacted, key=lambda event: event.revision)]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write(self, operation: Put | Delete) -> None:
        key = operation.key
        old = self._entries.get(key)
        if isinstance(operation, Put):
            created = old.create_revision if old else self._revision
            self._entries[key] = Entry(key, operation.value, created, self._revision)
            if old is None:
                insort(self._keys, key)
            self._log.append(Event(self._revision, key, operation.value))
        else:
            del self._entries[key]
            del self._keys[bisect_left(self._keys, key)]
            self._log.append(Event(self._revision, key, None))

    def _range(self, prefix: str) -> Iterator[Entry]:
        end = prefix_end(prefix)
        stop = len(self._keys) if end is None else bisect_left(self._keys, end)
        return (self._entries[key] for key in self._keys[bisect_left(self._keys, prefix) : stop])

    def _mod_revision(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.mod_revision if entry else 0

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")
