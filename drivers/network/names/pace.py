"""How soon a process that has ended is started again: at once, unless it ends again and again."""

_FREE = 4
_FIRST, _MOST = 0.5, 30.0
_CALM = 10.0
"""Seconds after which whatever it was is over."""


class Pace:
    def __init__(self) -> None:
        self._last = float("-inf")
        self._pause = 0.0
        self.times = 0
        """In a row, without calm between them."""

    def left(self, now: float) -> float:
        """Seconds until the next one may be started."""
        return max(0.0, self._last + self._pause - now)

    def begin(self, now: float) -> None:
        """One is started."""
        if now - self._last > self._pause + _CALM:
            self.times = 0
        self.times += 1
        self._pause = 0.0 if self.times < _FREE else min(_MOST, _FIRST * 2.0 ** min(self.times - _FREE, 16))
        self._last = now
