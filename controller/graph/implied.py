"""PURE: objects that nobody declares and containers need all the same: the network `bridge` of their namespace, and an Image
for a reference that no Image has. Each comes with its first user and goes with its last; whoever declares it takes it over.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.graph import dependencies
from controller.graph.image_names import by_name, image_name
from controller.store.snapshot import Snapshot
from resources.image import ImageSource, ImageSpec
from resources.kinds import DEFAULTS_VERSION, Kind
from resources.meta import NAME, Model, ObjectMeta, Ref
from resources.network import NetworkSpec
from resources.object import Object
from resources.references import references

_NO_NAME = re.compile(r"[^a-zA-Z0-9_.-]")
_KINDS = (Kind.IMAGE, Kind.NETWORK)
_LONGEST = 128
_HASH = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """The container that an implied object comes with, and the field that asks for it."""

    container: Ref
    path: str


@dataclass(frozen=True, slots=True)
class Flaw:
    origin: Origin
    message: str


@dataclass(frozen=True, slots=True)
class Implied:
    written: tuple[Object, ...] = ()
    """New ones, and those that were being deleted and are needed again."""
    deleted: tuple[Object, ...] = ()
    """Marked for deletion: nothing that stays refers to them."""
    origins: Mapping[Ref, Origin] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()


def implied(after: Snapshot, namespaces: Iterable[str], *, now: datetime, new_uid: Callable[[], str]) -> Implied:
    """What is implied by the objects of these namespaces as they would be."""
    making = _Making(after, now, new_uid)
    deleted: list[Object] = []
    for namespace in sorted(set(namespaces)):
        used = set(making.complete(namespace))
        found = (item for kind in _KINDS for item in after.list(kind, namespace) if item.metadata.implied)
        deleted += (marked(item, now) for item in found if not (item.deleting or item.ref in used))
    return Implied(tuple(making.written.values()), tuple(deleted), making.origins, tuple(making.flaws))


def as_used(item: Object, snapshot: Snapshot, now: datetime) -> Object:
    """The implied object, marked for deletion when nothing refers to it any more, and no longer marked when something that
    stays does. What refers to it and is being deleted itself leaves it as it is."""
    users = [
        snapshot.find(edge.dependent)
        for edge in dependencies.edges(snapshot.list(namespace=item.metadata.namespace))
        if edge.dependency == item.ref
    ]
    if item.deleting and any(user is not None and not user.deleting for user in users):
        return item.model_copy(update={"metadata": item.metadata.model_copy(update=_STAYS)})
    return item if users or item.deleting else marked(item, now)


def marked(item: Object, now: datetime) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"deletion_timestamp": now})})


def image_object_name(reference: str, *, hashed: bool = False) -> str:
    """`docker.io_library_nginx_1.27`; `hashed` for one whose plain name is another's."""
    plain = _NO_NAME.sub("_", reference).lstrip("_.-")
    if not hashed and len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(reference.encode()).hexdigest()[:_HASH]
    return f"{plain[: _LONGEST - _HASH - 1]}-{digest}"


_STAYS = {"deletion_timestamp": None, "delete_data": False}


class _Making:
    def __init__(self, after: Snapshot, now: datetime, new_uid: Callable[[], str]) -> None:
        self.written: dict[Ref, Object] = {}
        self.origins: dict[Ref, Origin] = {}
        self.flaws: list[Flaw] = []
        self._after = after
        self._now = now
        self._new_uid = new_uid

    def complete(self, namespace: str) -> Iterator[Ref]:
        """Make what is missing; what all that stays refers to comes out."""
        images = [image for image in self._after.list(Kind.IMAGE, namespace) if not image.deleting]
        called = {name: image.ref for name, image in by_name(images).items()}
        for item in self._after.list(namespace=namespace):
            if item.deleting:
                continue
            for need in references(item.kind, namespace, item.effective):
                yield need.target
                if need.implied:
                    self._network(need.target, Origin(item.ref, need.path))
            reference = image_name(item)
            if reference and reference not in called:
                made = self._image(namespace, reference, Origin(item.ref, "spec.image"))
                called |= {reference: made} if made is not None else {}
            if reference in called:
                yield called[reference]

    def _network(self, ref: Ref, origin: Origin) -> None:
        existing = self._find(ref)
        if existing is None or existing.deleting:
            self._write(ref, NetworkSpec(), existing, origin)

    def _image(self, namespace: str, reference: str, origin: Origin) -> Ref | None:
        spec = ImageSpec(source=ImageSource(registry=reference))
        for hashed in (False, True):
            name = image_object_name(reference, hashed=hashed)
            ref = Ref(kind=Kind.IMAGE, namespace=namespace, name=name)
            existing = self._find(ref)
            if existing is None or (existing.metadata.implied and existing.effective == spec):
                if NAME.fullmatch(name) is None:
                    break
                self._write(ref, spec, existing, origin)
                return ref
        self.flaws.append(Flaw(origin, f"no Image of the namespace has {reference}, and none can be named after it"))
        return None

    def _find(self, ref: Ref) -> Object | None:
        return self.written.get(ref) or self._after.find(ref)

    def _write(self, ref: Ref, spec: Model, existing: Object | None, origin: Origin) -> None:
        if existing is None:
            meta = ObjectMeta(
                name=ref.name, namespace=ref.namespace, uid=self._new_uid(), creation_timestamp=self._now, implied=True
            )
        else:
            asked = existing.effective != spec
            changes = {
                "labels": {},
                "annotations": {},
                "owner": "",
                "field_managers": (),
                "implied": True,
                "generation": existing.metadata.generation + asked,
            }
            meta = existing.metadata.model_copy(update={**changes, **_STAYS})
        self.origins[ref] = origin
        self.written[ref] = Object(
            kind=ref.kind, metadata=meta, spec=spec, effective=spec, defaults_version=DEFAULTS_VERSION
        )
