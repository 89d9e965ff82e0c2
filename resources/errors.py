"""The errors every layer speaks: classes that say what the caller should do, not where it went wrong.

Drivers translate foreign errors into these once, at their edge; teardown raises an ExceptionGroup of them.
"""

import errno

_NO_DESCRIPTORS = {
    errno.EMFILE: ("the engine", "raise LimitNOFILE of its unit, or `ulimit -n`"),
    errno.ENFILE: ("this host", "raise the sysctl fs.file-max"),
}
OUT_OF_DESCRIPTORS = tuple(_NO_DESCRIPTORS)
"""Of an OSError: it says nothing of the file that was to be opened."""


class EngineError(Exception):
    """An error with a message fit for a user: what, where, why, what to do next.

    `retryable` decides what the engine loop does: retry with backoff, or set Ready=False and wait for a new
    generation of the object. `reason` is the CamelCase reason of the condition and the `code` of the API.
    """

    retryable = True
    reason = "Error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidArgument(EngineError):
    """What was asked can never work as asked."""

    retryable = False
    reason = "InvalidArgument"


class NotFound(EngineError):
    reason = "NotFound"


class AlreadyExists(EngineError):
    reason = "AlreadyExists"


class Conflict(EngineError):
    """Another writer, owner or holder is in the way; the message names it."""

    reason = "Conflict"


class FailedPrecondition(EngineError):
    """The world is not yet, or no longer, in the state this needs."""

    reason = "FailedPrecondition"


class ResourceExhausted(EngineError):
    reason = "ResourceExhausted"


class PermissionDenied(EngineError):
    retryable = False
    reason = "PermissionDenied"


class Unavailable(EngineError):
    """A part outside (runtime, registry, host tool) does not answer or is not there."""

    reason = "Unavailable"


class DataLoss(EngineError):
    """Content does not verify, or doing this would lose data nobody allowed us to lose."""

    retryable = False
    reason = "DataLoss"


class Unsupported(EngineError):
    """This host, driver or version cannot do it; the message says which and why."""

    retryable = False
    reason = "Unsupported"


class Cancelled(EngineError):
    reason = "Cancelled"


def engine_error(failure: Exception) -> Exception:
    """What the failure comes down to: whatever a part said of it, without descriptors nothing at all can be opened, and that
    passes. Everything else is as it was said."""
    if isinstance(failure, ExceptionGroup):
        return failure.derive([engine_error(part) for part in failure.exceptions])
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_DESCRIPTORS:
            of, how = _NO_DESCRIPTORS[cause.errno]
            return ResourceExhausted(f"{of} has no file descriptors left", hint=f"{how}; it is tried again")
        cause = cause.__cause__
    return failure
