"""Logs that grow fast: a container can write a disk full between two resyncs.

One look at the free space tells whether anything does; only when it falls are the logs themselves looked at.
"""

import threading
from collections.abc import Callable, Sequence

from resources.kinds import Kind
from resources.meta import Key

_SECONDS = 0.25
_FALL = 8 * 1024 * 1024
_LARGE = 1024 * 1024
"""Logs smaller than this are left to the resync, whatever their limit."""
_UID = 32


def run(
    free: Callable[[], int],
    large: Callable[[int], Sequence[str]],
    wake: Callable[[Key], None],
    stopping: threading.Event,
) -> None:
    before = free()
    while not stopping.wait(_SECONDS):
        now = free()
        if before - now >= _FALL:
            for task_id in large(_LARGE):
                wake(Key(kind=Kind.CONTAINER, uid=task_id[:_UID]))
        before = now if now > before or before - now >= _FALL else before
