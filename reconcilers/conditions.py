"""Statuses and their conditions (PURE): how every reconciler says what is so.

Times are those of the context; the engine keeps the old time of a condition whose status has not changed.
"""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from reconcilers.interface import Context, Diff
from resources.errors import EngineError
from resources.meta import Condition, Status
from resources.object import Object

READY = "Ready"
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Decision(Generic[A]):
    """What is to be done, and how things stand until then: a diff and a status that cannot contradict each other."""

    diff: Diff[A]
    phase: str = READY
    reason: str = READY
    message: str = ""

    def status(self, desired: Object, context: Context, **fields: Any) -> Status:
        ready = condition(desired, context, self.phase == READY, self.reason, self.message)
        return status(desired, self.phase, ready, **fields)


def waits(phase: str, reason: str, message: str) -> Decision[Any]:
    """Nothing can be done now."""
    return Decision(Diff(waiting=message), phase, reason, message)


def refused(error: EngineError) -> Decision[Any]:
    """Nothing can be done until the manifest, or the host, is another."""
    return waits("Failed", *failure(error))


def blocked(context: Context, phase: str) -> Decision[Any] | None:
    return waits(phase, "Blocked", "; ".join(context.blockers)) if context.blockers else None


def condition(
    desired: Object, context: Context, holds: bool | None, reason: str, message: str = "", *, type: str = READY
) -> Condition:
    """`holds` None is Unknown."""
    word: Literal["True", "False", "Unknown"] = "Unknown" if holds is None else "True" if holds else "False"
    return Condition(
        type=type,
        status=word,
        reason=reason,
        message=message,
        observed_generation=desired.metadata.generation,
        last_transition_time=context.now,
    )


def status(desired: Object, phase: str, *conditions: Condition, **fields: Any) -> Status:
    """Fields (camelCase) that are None are left out."""
    return Status(
        phase=phase,
        observed_generation=desired.metadata.generation,
        conditions=conditions,
        fields={name: value for name, value in fields.items() if value is not None},
    )


def failure(error: BaseException) -> tuple[str, str]:
    """Reason and message for a user, also of a group of errors."""
    if isinstance(error, BaseExceptionGroup):
        parts = [failure(part) for part in error.exceptions]
        return parts[0][0], "; ".join(message for _, message in parts)
    if isinstance(error, EngineError):
        return error.reason, str(error)
    return "InternalError", f"{type(error).__name__}: {error}"
