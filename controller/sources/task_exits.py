"""Tasks that may have exited, been paused, or run out of memory."""

from collections.abc import Callable, Iterator

from resources.kinds import Kind
from resources.meta import Key

_UID = 32


def run(exits: Iterator[str], wake: Callable[[Key], None], stopped: Callable[[], bool]) -> None:
    for task_id in exits:
        if stopped():
            return
        wake(Key(kind=Kind.CONTAINER, uid=task_id[:_UID]))
