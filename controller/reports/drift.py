"""What the host has made of objects that nobody asked for: each drift is an event once, for as long as it lasts."""

import threading
from typing import Any

from reconcilers.interface import Diff, Events
from resources.meta import Key


class Drift:
    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._known: dict[Key, frozenset[str]] = {}
        """The fields of each object that are not as they should be."""

    def tell(self, key: Key, diff: Diff[Any]) -> None:
        found = frozenset(change.path for change in diff.changes if change.drift)
        with self._lock:
            known = self._known.get(key, frozenset())
            if found:
                self._known[key] = found
            else:
                self._known.pop(key, None)
        for change in diff.changes:
            if change.drift and change.path not in known:
                put_back = ", and is put back" if diff.actions else ""
                message = f"{change.path} is {change.old!r} on the host{put_back}"
                self._events.emit(key, "Drift", message, field=change.path, expected=change.new, actual=change.old)

    def forget(self, key: Key) -> None:
        with self._lock:
            self._known.pop(key, None)
