"""Logs are looked at when the free space falls, however slowly, and only then."""

import threading
from collections.abc import Sequence

from controller.sources import log_growth
from resources.kinds import Kind
from resources.meta import Key

MIB = 1024 * 1024


class Turns(threading.Event):
    """Waits never, and ends after the last reading."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        return self._left < 0


def looks(free: Sequence[int]) -> int:
    readings, woken = iter(free), list[Key]()

    def large(size: int) -> Sequence[str]:
        assert size == MIB
        return ["a" * 64]

    log_growth.run(lambda: next(readings) * MIB, large, woken.append, Turns(len(free) - 1))
    assert set(woken) <= {Key(kind=Kind.CONTAINER, uid="a" * 32)}
    return len(woken)


def test_a_fall_is_looked_into() -> None:
    assert looks([100, 50]) == 1
    assert looks([100, 50, 50, 10]) == 2


def test_a_slow_fall_adds_up() -> None:
    assert looks([100, 97, 94, 91, 88, 85, 82]) == 2


def test_a_still_or_growing_disk_is_not() -> None:
    assert looks([100, 100, 120, 119, 118, 125]) == 0
