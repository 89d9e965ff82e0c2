"""PURE: what the loop adds to a reconciler's report: steady times, and what went wrong."""

from datetime import datetime

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
