"""PURE: which Image object the reference in a container means."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from resources.errors import EngineError
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.object import Object


def image_name(item: Object) -> str:
    """The whole name of the image that a container gives as a reference; "" where it gives none."""
    given = item.kind is Kind.CONTAINER and isinstance(item.effective.image, str)
    return _whole(item.effective.image) if given else ""


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
            if name not in found or rank(image) < rank(found[name]):
                found[name] = image
    return found


def named(name: str, images: Sequence[Object]) -> Object | None:
    """Of a list that stays as it is, as those of a snapshot do: there are many who ask for the same one."""
    return _known.get(images).get(name)


def rank(image: Object) -> tuple[bool, bool, str]:
    """Of several that have a name, the least of these is meant."""
    return image.deleting, image.metadata.implied, image.metadata.name


class _Known:
    """`by_name` of the lists asked for last."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._lists: dict[int, tuple[Sequence[Object], Mapping[str, Object]]] = {}

    def get(self, images: Sequence[Object]) -> Mapping[str, Object]:
        with self._lock:
            known = self._lists.get(id(images))
            if known is None or known[0] is not images:
                known = self._lists[id(images)] = images, by_name(images)
                while len(self._lists) > self._kept:
                    self._lists.pop(next(iter(self._lists)))
        return known[1]


_known = _Known(kept=16)


@lru_cache(maxsize=4096)
def _whole(text: str) -> str:
    """ "" for what is no reference: whoever uses it says so."""
    try:
        return normalize(text)
    except EngineError:
        return ""
