"""How much anybody may have: queries a second, and descriptors of the process."""


class TokenBucket:
    """`rate` a second on the average, `burst` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """As many of them as there are."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken

    def give_back(self, count: int) -> None:
        self._left += count


class Descriptors:
    """What may be open at once. Names come first: the others leave a quarter to them."""

    __slots__ = ("_free", "_reserve")

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._reserve = limit // 4

    def take(self, count: int, *, first: bool = False) -> bool:
        if self._free - count < (0 if first else self._reserve):
            return False
        self._free -= count
        return True

    def give_back(self, count: int) -> None:
        self._free += count
