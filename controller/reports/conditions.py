"""PURE: what the loop adds to a reconciler's report (steady times, what went wrong), and what others go by in it."""

from datetime import datetime
from typing import Any

from resources.errors import EngineError
from resources.meta import Condition, Status


def kept_times(before: Status | None, after: Status) -> Status:
    """A condition whose status has not changed keeps the time at which it last did."""
    if before is None:
        return after
    known = {condition.type: condition for condition in before.conditions}
    conditions = tuple(_kept(known.get(condition.type), condition) for condition in after.conditions)
    return after.model_copy(update={"conditions": conditions})


def _kept(before: Condition | None, after: Condition) -> Condition:
    if before is None or before.status != after.status:
        return after
    return after.model_copy(update={"last_transition_time": before.last_transition_time})


def with_failure(status: Status, failure: BaseException, now: datetime) -> Status:
    """Not ready, for this reason. What runs may run well all the same: its other conditions stay."""
    reason, message = described(failure)
    ready = Condition(
        type="Ready",
        status="False",
        reason=reason,
        message=message,
        observed_generation=status.observed_generation,
        last_transition_time=now,
    )
    others = tuple(condition for condition in status.conditions if condition.type != "Ready")
    return status.model_copy(update={"conditions": (ready, *others)})


def described(failure: BaseException) -> tuple[str, str]:
    """(reason, message) fit for a user."""
    if isinstance(failure, BaseExceptionGroup):
        parts = [described(error) for error in failure.exceptions]
        return parts[0][0], "; ".join(message for _, message in parts)
    if isinstance(failure, EngineError):
        return failure.reason, str(failure)
    return "InternalError", f"{type(failure).__name__}: {failure}"


def news(status: Status | None) -> Any:
    """What others go by, and what they may be told of; how far some work is tells them nothing."""
    if status is None:
        return None
    progress = "progress" in status.fields
    words = [] if progress else [(status.phase, *((one.reason, one.message) for one in status.conditions))]
    return gating(status), words, {name: value for name, value in status.fields.items() if name != "progress"}


def gating(status: Status | None) -> Any:
    """What lets others go on, or keeps them waiting."""
    if status is None:
        return None
    return (
        status.observed_generation,
        tuple((one.type, one.status) for one in status.conditions),
        status.fields.get("digest"),
    )
