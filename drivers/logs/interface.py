"""The contract of log drivers: what a container wrote, in order, with time and stream.

The file driver reads conmon's CRI format (Kubernetes CRI logging: RFC3339Nano SP stream SP F|P SP text), rotated files
first. A `P` line is a part of a longer line; readers join parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogEntry:
    time: datetime
    stream: str
    """`stdout` or `stderr`."""
    data: bytes
    """With its newline where the container wrote one. Hostile bytes: a terminal needs them cleaned."""


class LogDriver(Protocol):
    def read(
        self,
        task_id: str,
        *,
        tail: int | None = None,
        since: datetime | None = None,
        follow: bool = False,
        stopped: "Stopped | None" = None,
    ) -> Iterator[LogEntry]:
        """Yield entries, oldest first; with `follow`, wait for more until the task is gone or `stopped()` is true.

        No log: no entries. A malformed line is skipped, a line longer than the limit is yielded in parts.
        """

    def size(self, task_id: str) -> int:
        """Bytes of the file that is written to now; 0 when there is none."""

    def larger_than(self, size: int) -> Sequence[str]:
        """Tasks whose current file is larger: a cheap look at all of them."""

    def rotate(self, task_id: str, *, max_size: int, max_files: int) -> bool:
        """Rotate when the current file is larger than `max_size` and still written to; tell whether it was.

        Keeps `max_files` files in all.
        """

    def delete(self, task_id: str) -> None:
        """Delete every file of the task. Absent is fine."""


class Stopped(Protocol):
    def __call__(self) -> bool: ...
