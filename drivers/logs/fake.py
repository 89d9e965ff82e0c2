"""Logs in memory, for tests of what is above them. `write` is what a container does."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drivers.logs.interface import LogEntry, Stopped

_POLL = 0.005


@dataclass(slots=True)
class _Log:
    files: list[list[LogEntry]] = field(default_factory=lambda: [[]])
    """Oldest first; the last one is written to."""
    gone: int = 0
    """Entries that rotation has dropped: positions in the log count on over them."""


class FakeLogs:
    """`host` holds the logs: a second object on the same one is the engine's next life."""

    def __init__(self, host: dict[str, _Log] | None = None) -> None:
        self.host: dict[str, _Log] = {} if host is None else host
        self.ended: set[str] = set()
        """Tasks whose log is written by nobody any more: it is not rotated."""

    def write(self, task_id: str, data: bytes, stream: str = "stdout", at: datetime | None = None) -> None:
        log = self.host.setdefault(task_id, _Log())
        log.files[-1].append(LogEntry(at or datetime.now(UTC), stream, data))

    def read(
        self,
        task_id: str,
        *,
        tail: int | None = None,
        since: datetime | None = None,
        follow: bool = False,
        stopped: Stopped | None = None,
    ) -> Iterator[LogEntry]:
        start, entries = self._entries(task_id)
        position = start if tail is None else max(start, start + len(entries) - tail)
        while True:
            last = not follow or (stopped is not None and stopped())
            start, entries = self._entries(task_id)
            for entry in entries[max(0, position - start) :]:
                if since is None or entry.time >= since:
                    yield entry
            position = start + len(entries)
            if last or task_id not in self.host:
                return
            time.sleep(_POLL)

    def size(self, task_id: str) -> int:
        return sum(len(entry.data) for entry in self.host[task_id].files[-1]) if task_id in self.host else 0

    def larger_than(self, size: int) -> Sequence[str]:
        return [task_id for task_id in self.host if self.size(task_id) > size]

    def rotate(self, task_id: str, *, max_size: int, max_files: int) -> bool:
        if task_id in self.ended or self.size(task_id) <= max_size:
            return False
        log = self.host[task_id]
        log.files.append([])
        while len(log.files) > max(max_files, 1):
            log.gone += len(log.files.pop(0))
        return True

    def delete(self, task_id: str) -> None:
        self.host.pop(task_id, None)

    def _entries(self, task_id: str) -> tuple[int, list[LogEntry]]:
        log = self.host.get(task_id)
        return (log.gone, [entry for file in log.files for entry in file]) if log else (0, [])
