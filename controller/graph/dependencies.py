"""PURE: what depends on what: the edges of the graph."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controller.graph.image_names import by_name, image_name, named
from resources.kinds import Kind
from resources.meta import Ref
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


def needs(item: Object, listing: Listing) -> tuple[Reference, ...]:
    """What the object refers to. An image given as a reference is the Image object of the namespace that has this name,
    if there is one: of several the one that stays, and that somebody declared."""
    name = image_name(item)
    image = named(name, listing.list(Kind.IMAGE, item.metadata.namespace)) if name else None
    return tuple(_needs(item, image))


def targets(item: Object, listing: Listing) -> dict[Ref, Object | None]:
    """The objects it refers to; None for one that does not exist."""
    return {need.target: listing.find(need.target) for need in needs(item, listing)}


def needs_among(item: Object, targets: Iterable[Object | None]) -> Iterator[Reference]:
    """As `needs`, where what it may refer to is known already."""
    images = (target for target in targets if target is not None and target.kind is Kind.IMAGE)
    return _needs(item, by_name(images).get(image_name(item)))


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


def _needs(item: Object, image: Object | None) -> Iterator[Reference]:
    if image is not None:
        yield Reference("spec.image", image.ref)
    yield from references(item.kind, item.metadata.namespace, item.effective)
