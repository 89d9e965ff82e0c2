"""The highest revision a store has reached, beside it: tells that the store is older than it was.

Not synced: it only ever lags behind what is durable in the store, and a kill of the process takes nothing from it.
"""

import os
from pathlib import Path

from drivers.kernel.durable import write_atomic

_DIGITS = 20


class HighWaterMark:
    def __init__(self, store: Path) -> None:
        path = store.with_name(store.name + "-mark")
        if not path.exists():
            write_atomic(path, b"0".zfill(_DIGITS))
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def read(self) -> int:
        text = os.pread(self._fd, _DIGITS, 0)
        return int(text) if text.isdigit() else 0

    def write(self, revision: int) -> None:
        os.pwrite(self._fd, str(revision).zfill(_DIGITS).encode(), 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
