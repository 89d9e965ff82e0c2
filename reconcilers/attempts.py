"""Long work that can fail (PURE): a failed job carries what it was for, which try it was and when it failed, so that
`diff` can tell without any memory whether to begin again, and when."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconcilers.conditions import failure
from reconcilers.interface import JobProgress, JobState
from resources.errors import Cancelled, EngineError

_FIRST, _LONGEST = timedelta(milliseconds=500), timedelta(minutes=1)


class AttemptFailed(EngineError):
    def __init__(self, cause: Exception, work: Hashable, number: int, at: datetime) -> None:
        self.reason, message = failure(cause)
        super().__init__(message)
        self.retryable = getattr(cause, "retryable", True)
        self.work = work
        self.number = number
        self.at = at

    @property
    def due(self) -> datetime:
        return self.at + min(_LONGEST, _FIRST * (1 << min(self.number - 1, 16)))


@dataclass(frozen=True, slots=True)
class Turn:
    """What the state of a job means for the work that is wanted now."""

    start: int = 0
    """Which try to begin now; 0 is none."""
    failed: bool = False
    reason: str = ""
    message: str = ""
    wake_at: datetime | None = None

    @property
    def failure(self) -> str:
        """The phase of what has failed: whether it is over, or goes on by itself."""
        return "Failed" if self.wake_at is None else "Retrying"


def turn(state: JobState | None, work: Hashable, now: datetime, *, insist: bool = False) -> Turn:
    """A failure that cannot be retried waits for other work to be wanted: another input, another manifest. With `insist`,
    where no other can be wanted, it is tried again all the same."""
    if state is None:
        return Turn(start=1)
    if state.running:
        return Turn(reason="Running", message=progress_text(state))
    error = state.error
    if not isinstance(error, AttemptFailed) or error.work != work:
        return Turn(start=1)
    if not (error.retryable or insist):
        return Turn(failed=True, reason=error.reason, message=str(error))
    if now >= error.due:
        return Turn(start=error.number + 1)
    return Turn(failed=True, reason=error.reason, message=f"{error}; it is tried again", wake_at=error.due)


def progress_text(state: JobState) -> str:
    percent = f" {100 * state.done // state.total}%" if state.total else ""
    return f"{state.what or 'queued'}{percent}"


def attempted(
    work: Hashable, number: int, now: Callable[[], datetime], run: Callable[[JobProgress], None]
) -> Callable[[JobProgress], None]:
    def job(progress: JobProgress) -> None:
        try:
            run(progress)
        except Cancelled:
            raise
        except Exception as error:
            raise AttemptFailed(error, work, number, now()) from error

    return job
