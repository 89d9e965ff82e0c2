"""PURE: the numbers of a range in turn, so that one that is freed comes again as late as possible."""

from collections.abc import Callable, Container, Hashable, Iterable
from itertools import chain

_SPARE = 4096
_MAX_SEARCHES = 1024


class NextFit:
    """What is taken is a hint, kept so that the store need not be asked for each number: one that it has may be free by
    now, and one that it lacks may be taken. Whoever gets nothing makes a new one of what the store says, and tries again.
    """

    def __init__(self, numbers: range, start: int, taken: Iterable[int] = ()) -> None:
        self.numbers = numbers
        self.next = start if start in numbers else numbers.start
        self._taken = set(taken)
        self._enough = 2 * len(self._taken) + _SPARE

    @property
    def crowded(self) -> bool:
        """It remembers so much more than when it was made that most of it will be free."""
        return len(self._taken) > self._enough

    def take(self, never: Container[int]) -> int | None:
        """The first that may be free, once around from where the last one was."""
        numbers = self.numbers
        for number in chain(range(self.next, numbers.stop), range(numbers.start, self.next)):
            if number not in self._taken and number not in never:
                self._taken.add(number)
                self.next = number + 1 if number + 1 in numbers else numbers.start
                return number
        return None


class Searches:
    """Those under way. One that has not been used for long is forgotten, and begins anew."""

    def __init__(self) -> None:
        self._found: dict[Hashable, NextFit] = {}

    def get(
        self,
        key: Hashable,
        numbers: range,
        taken: Callable[[], Iterable[int]],
        *,
        fresh: bool,
        start: int | None = None,
    ) -> NextFit:
        """With `fresh`, one that knows what is taken now and goes on where it was. A new one begins at `start`, or after
        the highest that is taken."""
        search = self._found.pop(key, None)
        if search is None or search.numbers != numbers or fresh or search.crowded:
            now = {number for number in taken() if number in numbers}
            begin = max(now, default=-1) + 1 if start is None else start
            search = NextFit(numbers, begin if search is None else search.next, now)
        self._found[key] = search
        if len(self._found) > _MAX_SEARCHES:
            del self._found[next(iter(self._found))]
        return search
