"""Everything, now and then: what any other source has missed is found by this one."""

import threading
from collections.abc import Callable


def run(wake_all: Callable[[], None], seconds: float, stopping: threading.Event) -> None:
    while not stopping.wait(seconds):
        wake_all()
