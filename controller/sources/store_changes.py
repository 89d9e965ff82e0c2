"""Objects written: by commands, by the API, later by other nodes. Statuses are reports and wake nobody."""

from collections.abc import Callable

from controller.store.objects import ObjectStore
from resources.meta import Key


def run(objects: ObjectStore, wake: Callable[[Key], None], stopped: Callable[[], bool]) -> None:
    seen: dict[Key, int] = {}
    for key in objects.watch(objects.revision(), stopped):
        item = objects.get(key)
        if item is None:
            seen.pop(key, None)
        elif seen.get(key) != item.metadata.resource_version:
            seen[key] = item.metadata.resource_version
            wake(key)
