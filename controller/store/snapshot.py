"""PURE: every object as of one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Never changed once made: readers keep one for as long as they like."""

    revision: int = 0
    """Of the store; objects that were changed since have a newer resource version."""
    objects: Mapping[Key, Object] = field(default_factory=dict)
    names: Mapping[Ref, Key] = field(default_factory=dict)
    _lists: dict[tuple[Kind | None, str | None], tuple[Object, ...]] = field(default_factory=dict, repr=False)
    """Lists that were asked for once: they stay as they are."""

    def get(self, key: Key) -> Object | None:
        return self.objects.get(key)

    def find(self, ref: Ref) -> Object | None:
        key = self.names.get(ref)
        return None if key is None else self.objects.get(key)

    def list(self, kind: Kind | None = None, namespace: str | None = None) -> tuple[Object, ...]:
        """By kind, namespace and name."""
        known = self._lists.get((kind, namespace))
        if known is not None:
            return known
        if kind is None and namespace is None:
            items = sorted(self.objects.values(), key=lambda one: (one.kind, one.metadata.namespace, one.metadata.name))
        elif kind is not None and namespace is not None:
            items = [item for item in self.list(kind) if item.metadata.namespace == namespace]
        else:
            items = [i for i in self.list() if kind in (None, i.kind) and namespace in (None, i.metadata.namespace)]
        return self._lists.setdefault((kind, namespace), tuple(items))

    def replaced(
        self, items: Iterable[Object], removed: Iterable[Key] = (), *, revision: int | None = None
    ) -> "Snapshot":
        """With these objects new, changed or renamed, and those gone."""
        objects, names = dict(self.objects), dict(self.names)
        changed = list(items)
        for key in (*removed, *(item.key for item in changed)):
            old = objects.get(key)
            if old is not None and names.get(old.ref) == key:
                del names[old.ref]
        for key in removed:
            objects.pop(key, None)
        for item in changed:
            objects[item.key] = item
            names[item.ref] = item.key
        return Snapshot(self.revision if revision is None else revision, objects, names)
