"""Writes the names that say what an Image is made of, and keeps what they need from being deleted meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from drivers.images.interface import Image, Images
from reconcilers.image.model import (
    CHOICE,
    INPUT,
    PLATFORM,
    REFERENCE,
    RESOLVED,
    SOURCE,
    UID,
    UNPACKED,
    Wanted,
    record_name,
)
from resources.errors import Unavailable


class Records:
    def __init__(self, images: Images) -> None:
        self._images = images
        self.lock = threading.Lock()
        """Held while content is deleted, and while content gets its name."""

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """No act waits until something has been deleted. Raises: Unavailable."""
        if not self.lock.acquire(blocking=False):
            raise Unavailable("content of images is being deleted")
        try:
            yield
        finally:
            self.lock.release()

    def put(self, uid: str, image: Image, wanted: Wanted, resolved: str = "", *, choice: bool = False) -> None:
        notes = {UID: uid, SOURCE: wanted.source, PLATFORM: wanted.platform}
        given = {INPUT: wanted.digest, REFERENCE: wanted.reference, RESOLVED: resolved}
        given |= {CHOICE: " ".join(wanted.tags)} if choice else {}
        given |= {UNPACKED: "true"} if self._images.unpacked(image) else {}
        self._images.names().put(record_name(uid), replace(image.manifest, annotations=notes | given))

    def cache(self, image: Image, wanted: Wanted) -> None:
        """The reference itself names what was pulled, unless an Image has it for its tag."""
        names = self._images.names()
        there = names.get(wanted.reference)
        if there is None or UID not in there.annotations:
            notes = {SOURCE: wanted.source, PLATFORM: wanted.platform}
            notes |= {REFERENCE: wanted.reference, RESOLVED: image.resolved}
            names.put(wanted.reference, replace(image.manifest, annotations=notes))

    def drop(self, uid: str, target: str) -> None:
        """Raises: Unavailable when no other name keeps the content: it is to be deleted then."""
        names = self._images.names()
        with self.at_once():
            others = (where for name, where in names.list() if name != record_name(uid))
            if all(where.digest != target or where.annotations.get(UID) == uid for where in others):
                raise Unavailable("no other name keeps its content any more")
            names.delete(record_name(uid))
