"""Digests of files that have not changed since they were last read: a second apply need not read large archives again.

A file is the same when device, inode, size and both times are. Its digest is only remembered once its last change is
older than the clock's grain, so that a change in the same moment is not missed; and for the user it was told by.
"""

import threading
import time

from controller.interface import Content

Identity = tuple[str, ...]
"""As the client says it: device, inode, size, mtime and ctime in nanoseconds."""
_KEPT = 4096
_GRAIN = 2_000_000_000


class KnownDigests:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, Identity], Content] = {}

    def get(self, user: int, identity: Identity) -> Content | None:
        with self._lock:
            return self._known.get((user, identity))

    def put(self, user: int, identity: Identity, content: Content) -> None:
        newest = max(map(int, identity[3:]))
        if newest > time.time_ns() - _GRAIN:
            return
        with self._lock:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[user, identity] = content
