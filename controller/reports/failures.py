"""What has gone wrong with each object, told as events: once for each failure that differs, however often it is tried again.

An action's failure is known to the loop; a job's (a pull, say) only to its reconciler, whose status says so.
"""

import re
import threading

from controller.reports.conditions import described
from reconcilers.interface import Events
from resources import errors
from resources.errors import EngineError
from resources.meta import Key, Status

_ERRORS = (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, EngineError))
_REASONS = {"InternalError", "CreateFailed", *(item.reason for item in _ERRORS)}
"""Of a condition that speaks of an error."""
_NUMBER = re.compile(r"[0-9]+")


class Failures:
    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._known: dict[Key, tuple[str, int]] = {}
        """What went wrong last, and how often it has."""

    def note(self, key: Key, before: Status | None, report: Status, *, again: bool) -> None:
        """`again`: it has failed in this very pass."""
        if report.ready:
            self.forget(key)
            return
        failed = _failed(report)
        if failed is not None and (again or failed != _failed(before)):
            self._tell(key, *failed)

    def tell(self, key: Key, failure: BaseException) -> None:
        self._tell(key, *described(failure))

    def forget(self, key: Key) -> None:
        with self._lock:
            self._known.pop(key, None)

    def _tell(self, key: Key, reason: str, message: str) -> None:
        """The same comes again only when it has happened ten times as often."""
        words = _NUMBER.sub("0", f"{reason} {message}")
        with self._lock:
            before, count = self._known.get(key, ("", 0))
            count = count + 1 if before == words else 1
            self._known[key] = (words, count)
        if count == 1:
            self._events.emit(key, "Failed", message)
        elif str(count).strip("0") == "1":
            self._events.emit(key, "Failed", f"{message} (for the {count}th time)", count=count)


def _failed(status: Status | None) -> tuple[str, str] | None:
    ready = status.condition("Ready") if status is not None else None
    if ready is None or ready.status == "True" or ready.reason not in _REASONS:
        return None
    return ready.reason, ready.message


def expected(failure: BaseException) -> bool:
    if isinstance(failure, BaseExceptionGroup):
        return all(expected(error) for error in failure.exceptions)
    return isinstance(failure, EngineError)


def retryable(failure: BaseException) -> bool:
    if isinstance(failure, BaseExceptionGroup):
        return any(retryable(error) for error in failure.exceptions)
    return not isinstance(failure, EngineError) or failure.retryable
