"""The work queue: which keys are to be reconciled, each once however often it was asked for, and never twice at once.

Three sets, as in every level-triggered controller: `queue` (in order), `dirty` (asked for), `processing`. A key asked for
while it is processed is processed again afterwards. Delays keep the earliest time per key. It carries keys, never what
happened: a lost, doubled or late wake-up costs time and nothing else.
"""

import heapq
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

FIRST_RETRY = 0.1
LAST_RETRY = 30.0

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._closed = False

    def add(self, key: K) -> None:
        with self._changed:
            self._add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """An earlier time that was already asked for stays."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        with self._changed:
            if self._due.get(key, due) < due:
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._changed.notify()

    def add_backoff(self, key: K) -> float:
        """Ask again after a failure, each time twice as late, with a little chance in it; return the delay."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 20)) * random.uniform(0.9, 1.1)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """It went well: the next failure counts from the beginning."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self, *, wait: bool = True) -> K | None:
        """Wait for a key; None when the queue is closed, or when there is none now and nobody waits."""
        with self._changed:
            while not self._closed:
                due = self._release_due()
                if self._queue:
                    key = self._queue.popleft()
                    self._dirty.discard(key)
                    self._processing.add(key)
                    return key
                if not wait:
                    return None
                self._changed.wait(due)
            return None

    def done(self, key: K) -> None:
        with self._changed:
            self._processing.discard(key)
            if key in self._dirty:
                self._queue.append(key)
            self._changed.notify_all()

    def idle(self, key: K) -> bool:
        """Neither asked for nor being processed; it may be due later."""
        with self._changed:
            return key not in self._dirty and key not in self._processing

    def failing(self, key: K) -> bool:
        with self._changed:
            return key in self._failures

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is asked for or processed now. What is due later does not count."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._dirty and not self._processing, seconds)

    def next_due(self) -> float | None:
        """Seconds until the next key is due; None when none is."""
        with self._changed:
            return self._release_due()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, key: K) -> None:
        self._due.pop(key, None)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._queue.append(key)
            self._changed.notify()

    def _release_due(self) -> float | None:
        """Queue what is due; return the seconds until the next is."""
        now = self._clock()
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) == due:
                if due > now:
                    return due - now
                self._add(key)
            heapq.heappop(self._heap)
        return None
