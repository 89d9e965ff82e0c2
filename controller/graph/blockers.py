"""PURE: what an object has to wait for, in words."""

from collections.abc import Callable, Iterable, Mapping

from controller.graph.dependencies import needs_among
from resources.meta import Key, Ref, Status
from resources.object import Object
from resources.references import Reference

_UNMET = {
    "ready": "is not ready",
    "started": "has not started",
    "healthy": "is not healthy",
    "completed": "has not completed",
}


def blockers(
    item: Object,
    targets: Mapping[Ref, Object | None],
    users: Iterable[Object],
    status_of: Callable[[Key], Status | None],
) -> tuple[str, ...]:
    """What must happen first, in words. `targets` is what it refers to, `users` what refers to it."""
    own = item.ref
    if item.deleting:
        return tuple(f"{user.ref} still uses it" for user in users if user.key != item.key)
    found = (
        _blocker(need, targets.get(need.target), status_of)
        for need in needs_among(item, targets.values())
        if need.target != own
    )
    return tuple(dict.fromkeys(words for words in found if words))


def _blocker(need: Reference, target: Object | None, status_of: Callable[[Key], Status | None]) -> str:
    if target is None:
        return f"{need.target} does not exist"
    if target.deleting:
        return f"{need.target} is being deleted"
    if need.key is not None and need.key not in target.effective.entries:
        return f"{need.target} has no key {need.key!r}"
    status = status_of(target.key)
    if _met(need.condition, target, status):
        return ""
    failed = status is not None and status.phase in ("Failed", "Retrying")
    ready = status.condition("Ready") if status is not None and failed else None
    if target.metadata.implied and ready is not None and ready.message:
        # Whoever reads this knows nothing of an object that was never declared.
        return f"{need.target} {_UNMET[need.condition]}: {ready.message}"
    if need.condition == "healthy" and status is not None and status.ready and status.condition("Healthy") is None:
        return f"{need.target} has no health check, so it never is healthy"
    return f"{need.target} {_UNMET[need.condition]}"


def _met(condition: str, target: Object, status: Status | None) -> bool:
    if status is None or status.observed_generation < target.metadata.generation:
        return False
    if condition == "ready" and status.ready:
        return True
    if condition == "ready":
        # Not as it should be, and good enough for those that use it.
        condition = "available"
    found = status.condition(condition.capitalize())
    return found is not None and found.status == "True"
