"""What is being fetched right now, by digest: whoever wants the same waits for it instead of fetching it again."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from drivers.images.registry.stop import Stop
from resources.errors import Cancelled, EngineError

Told = Callable[[int], None]


@dataclass(slots=True)
class _Flight:
    source: Hashable
    done: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    error: EngineError | None = None


class Flights:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def run(
        self,
        digest: str,
        source: Hashable,
        stop: Stop,
        told: Told,
        is_there: Callable[[], bool],
        fetch: Callable[[Told], None],
    ) -> None:
        """Return when the content is there: at once, after `fetch`, or after that of somebody else.

        When theirs is cancelled, or fails at another `source` (registry and user), ours begins; when it fails at the same
        source it is not tried once more for each who waited: they all get its error.
        """
        while True:
            with self._lock:
                if is_there():
                    return None
                flight = self._flights.get(digest)
                mine = None
                if flight is None:
                    mine = self._flights[digest] = _Flight(source)
            if mine is not None:
                return self._lead(digest, mine, told, fetch)
            assert flight is not None
            while not flight.ended.wait(0.1):
                stop.check()
                told(flight.done)
            stop.check()
            if flight.error is not None and flight.source == source:
                raise type(flight.error)(flight.error.message, hint=flight.error.hint)

    def _lead(self, digest: str, mine: _Flight, told: Told, fetch: Callable[[Told], None]) -> None:
        def advanced(done: int) -> None:
            mine.done = done
            told(done)

        try:
            fetch(advanced)
        except Cancelled:
            raise
        except EngineError as error:
            mine.error = error
            raise
        finally:
            with self._lock:
                del self._flights[digest]
            mine.ended.set()
