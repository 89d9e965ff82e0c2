"""Which registries are to be asked once more, since an apply has named the Image. Safe from any thread.

It is no desired state, and nobody's observation: an engine that ends forgets it, and the next apply asks again.
"""

import itertools
import threading
from dataclasses import replace

from reconcilers.image.model import Ask


class Asks:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asks: dict[str, Ask] = {}
        self._numbers = itertools.count(1)

    def add(self, uid: str) -> None:
        with self._lock:
            self._asks[uid] = Ask(next(self._numbers))

    def get(self, uid: str) -> Ask | None:
        with self._lock:
            return self._asks.get(uid)

    def answered(self, uid: str, ask: Ask | None) -> None:
        """What was asked for meanwhile stays asked for."""
        with self._lock:
            if ask is not None and self._same(uid, ask):
                del self._asks[uid]

    def failed(self, uid: str, ask: Ask | None) -> None:
        with self._lock:
            if ask is not None and self._same(uid, ask):
                self._asks[uid] = replace(ask, failed=True)

    def forget(self, uid: str) -> None:
        with self._lock:
            self._asks.pop(uid, None)

    def _same(self, uid: str, ask: Ask) -> bool:
        now = self._asks.get(uid)
        return now is not None and now.number == ask.number
