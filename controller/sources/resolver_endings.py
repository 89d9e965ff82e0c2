"""The resolver process has ended: what it did for containers is missed at once, and whoever needs it is looked at."""

import threading
from collections.abc import Callable, Iterator


def run(endings: Iterator[float], wake_all: Callable[[], None], stopping: threading.Event) -> None:
    """`endings` tells of each after how many seconds it may be started again."""
    for pause in endings:
        if stopping.wait(pause):
            return
        wake_all()
