"""Who refers to what, by an index that follows the store."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.graph.image_names import image_name, image_names, rank
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object
from resources.references import references

_Target = Ref | tuple[str, str]
"""An object, or in a namespace an image by its whole name."""


@dataclass(frozen=True, slots=True)
class _Image:
    ref: Ref
    names: frozenset[tuple[str, str]]
    rank: tuple[bool, bool, str]
    """Of several that have a name, the least of these is meant."""


class Users:
    """Who refers to what, kept up to date object by object. Safe from any thread."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._lock = threading.Lock()
        self._keys: dict[Key, frozenset[_Target]] = {}
        self._users: dict[_Target, frozenset[Key]] = {}
        self._images: dict[Key, _Image] = {}
        self._image_keys: dict[Ref, Key] = {}
        self._called: dict[_Target, frozenset[Key]] = {}
        for item in objects:
            self.update(item)

    def update(self, item: Object) -> frozenset[Ref]:
        """Take its references as they are now; return what may have lost a user by that."""
        with self._lock:
            before = self._drop(item.key)
            wanted = frozenset(_wanted(item))
            self._keys[item.key] = wanted
            for target in wanted:
                self._users[target] = self._users.get(target, frozenset()) | {item.key}
            if item.kind is Kind.IMAGE:
                image = _Image(
                    item.ref, frozenset((item.metadata.namespace, name) for name in image_names(item)), rank(item)
                )
                self._images[item.key] = image
                self._image_keys[item.ref] = item.key
                for name in image.names:
                    self._called[name] = self._called.get(name, frozenset()) | {item.key}
                before |= image.names
            return self._meant(before - wanted)

    def forget(self, key: Key) -> frozenset[Ref]:
        """As `update`, of an object that is gone."""
        with self._lock:
            return self._meant(self._drop(key))

    def of(self, ref: Ref) -> tuple[Key, ...]:
        """The objects that refer to this one, whether or not it exists."""
        with self._lock:
            found = self._of(ref)
        return tuple(sorted(found, key=lambda key: (key.kind, key.uid)))

    def used(self, ref: Ref) -> bool:
        with self._lock:
            return bool(self._of(ref))

    def _of(self, ref: Ref) -> frozenset[Key]:
        found = self._users.get(ref, frozenset())
        key = self._image_keys.get(ref)
        if key is None:
            return found
        for name in self._images[key].names:
            best = min(self._called[name], key=lambda one: self._images[one].rank)
            if best == key:
                found |= self._users.get(name, frozenset())
        return found

    def _meant(self, targets: Iterable[_Target]) -> frozenset[Ref]:
        found: set[Ref] = set()
        for target in targets:
            if isinstance(target, Ref):
                found.add(target)
            else:
                found.update(self._images[key].ref for key in self._called.get(target, ()))
        return frozenset(found)

    def _drop(self, key: Key) -> frozenset[_Target]:
        """Returns what it referred to, and the names it was called by."""
        wanted = self._keys.pop(key, frozenset())
        for target in wanted:
            _take(self._users, target, key)
        image = self._images.pop(key, None)
        if image is None:
            return wanted
        if self._image_keys.get(image.ref) == key:
            del self._image_keys[image.ref]
        for name in image.names:
            _take(self._called, name, key)
        return wanted | image.names


def _take(sets: dict[_Target, frozenset[Key]], target: _Target, key: Key) -> None:
    left = sets[target] - {key}
    if left:
        sets[target] = left
    else:
        del sets[target]


def _wanted(item: Object) -> Iterator[_Target]:
    for reference in references(item.kind, item.metadata.namespace, item.effective):
        yield reference.target
    name = image_name(item)
    if name:
        yield item.metadata.namespace, name
