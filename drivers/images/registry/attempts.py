"""When to ask again, and when no more."""

import random
import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from drivers.images.registry.interface import Patience
from drivers.images.registry.stop import Stop
from drivers.images.registry.trouble import Passing

T = TypeVar("T")
_MAX_HELD_BACK = 256
_LONGEST_HOLD = 3600.0
"""One that asks for days, by mistake or not, is asked once an hour whether it still means it."""


class Attempts:
    """The attempts at one thing."""

    def __init__(self, patience: Patience, stop: Stop) -> None:
        self._patience = patience
        self._stop = stop
        self._failed = 0
        self._waited = 0.0

    def run(self, work: Callable[[], T]) -> T:
        while True:
            try:
                return work()
            except Passing as error:
                self.again(error)

    def again(self, error: Passing) -> None:
        """Wait before the next attempt. Raises: `error` when there is none, Cancelled."""
        self._stop.check()
        self._failed += 1
        delay = self._delay() if error.after is None else error.after * random.uniform(1.0, 1.05)
        if self._failed >= self._patience.attempts or self._waited + delay > self._patience.deadline:
            raise error
        self._waited += delay
        self._stop.wait(delay)

    def advanced(self) -> None:
        """What was brought is worth it: the next failure counts as the first."""
        self._failed = 0
        self._waited = 0.0

    def _delay(self) -> float:
        doubled: float = self._patience.first_delay * 2 ** (self._failed - 1)
        return min(doubled, self._patience.longest_delay) * random.uniform(0.5, 1.0)


class HeldBack:
    """Until when registries have asked whom (a host and a user of it, say) to leave them alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Hashable, float] = {}

    def hold(self, asked: Hashable, seconds: float) -> None:
        with self._lock:
            now = time.monotonic()
            self._until = {one: until for one, until in self._until.items() if until > now}
            if len(self._until) < _MAX_HELD_BACK:
                until = now + min(seconds, _LONGEST_HOLD)
                self._until[asked] = max(self._until.get(asked, 0.0), until)

    def left(self, asked: Hashable) -> float:
        with self._lock:
            return max(0.0, self._until.get(asked, 0.0) - time.monotonic())
