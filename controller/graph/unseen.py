"""PURE: what has changed and has not been looked at since, and so keeps others waiting for nothing."""

from collections.abc import Callable, Mapping
from typing import Protocol

from controller.graph.blockers import blockers
from resources.meta import Key, Ref, Status
from resources.object import Object

StatusOf = Callable[[Key], Status | None]


class Looked(Protocol):
    @property
    def resource_version(self) -> int:
        """Of the object, when it was looked at."""


def unseen_changes(
    item: Object, targets: Mapping[Ref, Object | None], status_of: StatusOf, looked_at: Callable[[Key], Looked | None]
) -> tuple[Key, ...]:
    """All that keeps the object waiting, if it is only that what it depends on has changed and has not been looked at
    since: most changes leave that as it was (healthy, started), which is known in a moment."""
    changed = {
        one.key: one
        for one in targets.values()
        if one is not None and one is not item and _unseen(one, status_of(one.key), looked_at(one.key))
    }
    if not changed:
        return ()

    def as_if_looked_at(key: Key) -> Status | None:
        status = status_of(key)
        if status is None or key not in changed:
            return status
        return status.model_copy(update={"observed_generation": changed[key].metadata.generation})

    now, then = (blockers(item, targets, (), status) for status in (status_of, as_if_looked_at))
    return () if now == then else tuple(changed)


def _unseen(item: Object, status: Status | None, looked: Looked | None) -> bool:
    if status is None or looked is None or looked.resource_version >= item.metadata.resource_version:
        return False
    return status.observed_generation < item.metadata.generation
