"""All that may miss the resolver is looked at when it has ended, and no sooner than it may be started again."""

import threading

from controller.sources import resolver_endings


class Waits(threading.Event):
    """Waits never, and remembers for how long it should have; it is set before the last one."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.asked: list[float | None] = []
        self._count = count

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout)
        return len(self.asked) > self._count


def test_each_ending_wakes_all_after_its_pause() -> None:
    woken: list[int] = []
    waits = Waits(3)
    resolver_endings.run(iter([0.0, 0.0, 2.5]), lambda: woken.append(len(waits.asked)), waits)
    assert waits.asked == [0.0, 0.0, 2.5]
    assert woken == [1, 2, 3]


def test_an_engine_that_ends_wakes_nobody() -> None:
    woken: list[int] = []
    resolver_endings.run(iter([0.0, 30.0, 0.0]), lambda: woken.append(1), Waits(1))
    assert woken == [1]
