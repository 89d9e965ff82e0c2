"""PURE: what depends on what, and so in which order, and what has to wait for what."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import networkx as nx

from resources.errors import EngineError, InvalidArgument
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object
from resources.references import Reference, references


@dataclass(frozen=True, slots=True)
class Edge:
    dependent: Ref
    dependency: Ref
    condition: str
    """What the dependency must be first: ready | started | healthy | completed."""
    path: str
    """The field that says so."""
    restart: bool = False


class Listing(Protocol):
    """Where objects are looked up: the store, or a snapshot."""

    def find(self, ref: Ref) -> Object | None: ...

    def list(self, kind: Any = None, namespace: str | None = None) -> Sequence[Object]: ...


_UNMET = {
    "ready": "is not ready",
    "started": "has not started",
    "healthy": "is not healthy",
    "completed": "has not completed",
}


def needs(item: Object, listing: Listing) -> tuple[Reference, ...]:
    """What the object refers to. An image given as a reference is the Image object of the namespace that has this name,
    if there is one: of several the one that stays, and that somebody declared."""
    name = image_name(item)
    image = _called.get(name, listing.list(Kind.IMAGE, item.metadata.namespace)) if name else None
    return tuple(_needs(item, image))


def targets(item: Object, listing: Listing) -> dict[Ref, Object | None]:
    """The objects it refers to; None for one that does not exist."""
    return {need.target: listing.find(need.target) for need in needs(item, listing)}


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
        for need in _with_images(item, targets.values())
        if need.target != own
    )
    return tuple(dict.fromkeys(words for words in found if words))


def edges(objects: Iterable[Object]) -> tuple[Edge, ...]:
    """Every dependency among and from these objects, also on what is not among them."""
    items = list(objects)
    images: dict[str, list[Object]] = {}
    for item in items:
        if item.kind is Kind.IMAGE:
            images.setdefault(item.metadata.namespace, []).append(item)
    called = {namespace: by_name(them) for namespace, them in images.items()}
    found: list[Edge] = []
    for item in items:
        own = item.ref
        image = called.get(item.metadata.namespace, {}).get(image_name(item))
        for need in _needs(item, image):
            found.append(Edge(own, need.target, need.condition, need.path, need.restart))
    return tuple(found)


def layers(refs: Iterable[Ref], edges: Iterable[Edge]) -> tuple[tuple[Ref, ...], ...]:
    """The objects in the order in which they come to be: each layer depends on earlier ones only.

    Raises: InvalidArgument naming a cycle.
    """
    graph = _digraph(refs, edges)
    try:
        return tuple(tuple(sorted(layer, key=sort_key)) for layer in nx.topological_generations(graph))
    except nx.NetworkXUnfeasible as error:
        raise InvalidArgument(f"a cycle of dependencies: {cycle_words(cycles(edges)[0])}") from error


def cycles(edges: Iterable[Edge]) -> tuple[tuple[Edge, ...], ...]:
    """One cycle out of every knot of objects that wait for each other, as the edges along it."""
    by_ends = {(edge.dependent, edge.dependency): edge for edge in edges}
    refs = {ref for ends in by_ends for ref in ends}
    graph = _digraph(refs, by_ends.values())
    found: list[tuple[Edge, ...]] = []
    for component in nx.strongly_connected_components(graph):
        start = min(component, key=sort_key)
        if len(component) == 1 and not graph.has_edge(start, start):
            continue
        path = nx.find_cycle(graph.subgraph(component), source=start)
        # The digraph points from what is needed to what needs it; a cycle is told the other way round.
        found.append(tuple(by_ends[after, before] for before, after, *_ in reversed(list(path))))
    return tuple(sorted(found, key=lambda cycle: sort_key(cycle[0].dependent)))


def cycle_words(cycle: Sequence[Edge], where: Callable[[Edge], str] = lambda edge: edge.path) -> str:
    """`container/a needs container/b (a.yaml:3:5), container/b needs container/a (b.yaml:7:5)`."""
    return ", ".join(f"{edge.dependent} needs {edge.dependency} ({where(edge)})" for edge in cycle)


def sort_key(ref: Ref) -> tuple[str, str, str]:
    return ref.kind, ref.namespace, ref.name


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
                    item.ref, frozenset((item.metadata.namespace, name) for name in image_names(item)), _rank(item)
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

    def _meant(self, targets: Iterable["_Target"]) -> frozenset[Ref]:
        found: set[Ref] = set()
        for target in targets:
            if isinstance(target, Ref):
                found.add(target)
            else:
                found.update(self._images[key].ref for key in self._called.get(target, ()))
        return frozenset(found)

    def _drop(self, key: Key) -> "frozenset[_Target]":
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


def _take(sets: "dict[_Target, frozenset[Key]]", target: "_Target", key: Key) -> None:
    left = sets[target] - {key}
    if left:
        sets[target] = left
    else:
        del sets[target]


_Target = Ref | tuple[str, str]
"""An object, or in a namespace an image by its whole name."""


@dataclass(frozen=True, slots=True)
class _Image:
    ref: Ref
    names: frozenset[tuple[str, str]]
    rank: tuple[bool, bool, str]
    """Of several that have a name, the least of these is meant."""


def image_names(item: Object) -> Iterator[str]:
    """The whole names under which the Image can be referred to."""
    spec = item.effective
    for text in (*spec.tags, *([spec.source.registry] if spec.source.registry else [])):
        name = _whole(text)
        if name:
            yield name


def by_name(images: Iterable[Object]) -> dict[str, Object]:
    """The image that is meant by each whole name there is."""
    found: dict[str, Object] = {}
    for image in images:
        for name in image_names(image):
            if name not in found or _rank(image) < _rank(found[name]):
                found[name] = image
    return found


class _Called:
    """`by_name` of lists that stay as they are, as those of a snapshot do: there are many who ask for the same one."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[int, tuple[Sequence[Object], Mapping[str, Object]]] = {}

    def get(self, name: str, images: Sequence[Object]) -> Object | None:
        with self._lock:
            known = self._known.get(id(images))
            if known is None or known[0] is not images:
                known = self._known[id(images)] = images, by_name(images)
                while len(self._known) > self._kept:
                    self._known.pop(next(iter(self._known)))
        return known[1].get(name)


_called = _Called(kept=16)


def _rank(image: Object) -> tuple[bool, bool, str]:
    return image.deleting, image.metadata.implied, image.metadata.name


def _wanted(item: Object) -> Iterator[_Target]:
    for reference in references(item.kind, item.metadata.namespace, item.effective):
        yield reference.target
    name = image_name(item)
    if name:
        yield item.metadata.namespace, name


def _needs(item: Object, image: Object | None) -> Iterator[Reference]:
    if image is not None:
        yield Reference("spec.image", image.ref)
    yield from references(item.kind, item.metadata.namespace, item.effective)


def _with_images(item: Object, targets: Iterable[Object | None]) -> Iterator[Reference]:
    images = (target for target in targets if target is not None and target.kind is Kind.IMAGE)
    return _needs(item, by_name(images).get(image_name(item)))


def image_name(item: Object) -> str:
    """The whole name of the image that a container gives as a reference; "" where it gives none."""
    given = item.kind is Kind.CONTAINER and isinstance(item.effective.image, str)
    return _whole(item.effective.image) if given else ""


@lru_cache(maxsize=4096)
def _whole(text: str) -> str:
    """ "" for what is no reference: whoever uses it says so."""
    try:
        return normalize(text)
    except EngineError:
        return ""


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


def _digraph(refs: Iterable[Ref], edges: Iterable[Edge]) -> "nx.DiGraph[Ref]":
    graph: nx.DiGraph[Ref] = nx.DiGraph()
    graph.add_nodes_from(refs)
    for edge in edges:
        if edge.dependent in graph and edge.dependency in graph:
            graph.add_edge(edge.dependency, edge.dependent)
    return graph
