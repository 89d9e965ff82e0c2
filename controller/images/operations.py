"""What is done to images beside the desired state of objects. Implements controller.images.interface.ImageOperations.

No prune may come between the arrival of content and the name that keeps it: `busy` is held for as long. It is not held while
a registry or a client is waited for.
"""

import errno
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.images.catalogue import ImageCatalogue
from controller.images.interface import Form, HistoryStep, Logins, Progress, Removed, StoredImage, Usage
from controller.store.interface import Objects
from drivers.images.interface import Descriptor, Image, Images
from drivers.images.saving import Named, archive
from drivers.snapshots.interface import Snapshotter
from reconcilers.image.choice import names as names_in
from reconcilers.image.model import PLATFORM, REFERENCE, RESOLVED, SOURCE, UID
from reconcilers.image.observe import whole_image
from reconcilers.interface import Events
from resources.errors import (
    Conflict,
    EngineError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from resources.image_reference import parse
from resources.kinds import Kind
from resources.meta import Key

NO_IMAGE = Key(kind=Kind.IMAGE, uid="0" * 32)
"""What events of no one image are under."""
_PULLS = 3
_MOST_NAMES = 256
"""Each is written by itself."""
_TAG_ALONE = re.compile(r"latest|v?[0-9][a-zA-Z0-9_.-]*")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoredImageOperations:
    def __init__(
        self,
        images: Images,
        snapshots: Snapshotter,
        objects: Objects,
        events: Events,
        logins: Logins,
        *,
        busy: Callable[[], AbstractContextManager[object]],
        prune: Callable[[], int],
        spool: Path,
        platform: str,
    ) -> None:
        """`busy` keeps prunes off, `prune` frees what no name needs (Unavailable meanwhile); `spool`: a folder for what is
        sent, cleared at each start of the engine; `platform`: the host's."""
        self._images = images
        self._snapshots = snapshots
        self._events = events
        self._logins = logins
        self._busy = busy
        self._prune = prune
        self._spool = spool
        self._platform = platform
        self._catalogue = ImageCatalogue(images, objects)

    @property
    def logins(self) -> Logins:
        return self._logins

    def pull(self, reference: str, *, platform: str, progress: Progress) -> StoredImage:
        name = str(parse(reference))
        self._check_free([name])
        image = self._pulled(name, platform or self._platform, progress)
        self._tell(image, "Pulled", f"{name} was pulled: {image.id}")
        return self._catalogue.one(image)

    def stored(self, *, unnamed: bool) -> Sequence[StoredImage]:
        return self._catalogue.stored(unnamed=unnamed)

    def inspect(self, word: str) -> Mapping[str, Any]:
        return self._catalogue.inspect(word)

    def history(self, word: str) -> Sequence[HistoryStep]:
        return self._catalogue.history(word)

    def tag(self, word: str, name: str) -> str:
        reference = parse(name)
        if reference.digest:
            raise InvalidArgument(f"{name[:100]!r}: a name that is given has no digest")
        with self._busy():
            _, (stored, *_) = self._catalogue.find(word)
            image = self._catalogue.whole(stored)
            self._put([str(reference)], image.manifest)
        self._tell(image, "Tagged", f"{stored.id} is called {reference}")
        return str(reference)

    def remove(self, word: str, *, force: bool) -> Removed:
        name, found = self._catalogue.find(word)
        names = (name,) if name else tuple(name for image in found for name in image.names)
        owned = self._owned(names)
        if owned:
            raise FailedPrecondition(
                "; ".join(f"{name} is a name of {owner}" for name, owner in owned.items()),
                hint="change what its manifest says, or delete the object",
            )
        objects = [ref for image in found for ref in image.users if ref.kind is Kind.IMAGE]
        if objects and not name:
            raise FailedPrecondition(
                f"{word} is the content of {', '.join(map(str, objects))}",
                hint="say one of its names, or delete the object",
            )
        users = sorted({str(ref) for one in names for ref in self._catalogue.asking(one)})
        if users and not force:
            raise FailedPrecondition(
                f"{' and '.join(names)} is the image of {', '.join(users)}",
                hint="they can do without only until they are made anew; --force",
            )
        return self._forget(names)

    def save(self, words: Sequence[str], form: Form) -> Iterator[bytes]:
        chosen: dict[str, tuple[Image, set[str]]] = {}
        for word in words:
            name, (stored, *_) = self._catalogue.find(word)
            _, names = chosen.setdefault(stored.digest, (self._catalogue.whole(stored), set()))
            names.update([name] if name else stored.names)
        saved = [Named(image, tuple(sorted(names))) for image, names in chosen.values()]
        return archive(saved, self._images.content(), docker=form == "docker")

    def load(self, chunks: Iterator[bytes], *, platform: str, progress: Progress) -> Sequence[StoredImage]:
        with self._received(chunks, progress) as path, self._busy():
            images = self._images.import_archive(
                path, platform=platform or self._platform, progress=_called(progress, "read")
            )
            named = {image.id: _names_given(image) for image in images}
            every = [name for names in named.values() for name in names]
            if len(every) > _MOST_NAMES:
                raise InvalidArgument(f"the archive gives {len(every)} names", hint=f"at most {_MOST_NAMES} are taken")
            self._check_free(every)
            for image in images:
                self._put(named[image.id], image.manifest)
        for image in images:
            self._tell(image, "Loaded", f"{', '.join(named[image.id]) or image.id} was loaded")
        return [self._catalogue.one(image) for image in images]

    def import_rootfs(self, chunks: Iterator[bytes], *, name: str, platform: str, progress: Progress) -> StoredImage:
        reference = parse(name) if name else None
        if reference is not None and reference.digest:
            raise InvalidArgument(f"{name[:100]!r}: a name that is given has no digest")
        names = [str(reference)] if reference else []
        self._check_free(names)
        with self._received(chunks, progress) as path, self._busy():
            image = self._images.import_rootfs(
                path, platform=platform or self._platform, progress=_called(progress, "read")
            )
            self._put(names, image.manifest)
        self._tell(image, "Imported", f"{''.join(names) or image.id} was imported")
        return self._catalogue.one(image)

    def prune(self, *, cached: bool) -> Removed:
        stored = self._catalogue.stored() if cached else ()
        idle = (name for image in stored if not image.users for name in image.names)
        unused = [name for name in idle if not (self._owned([name]) or self._catalogue.asking(name))]
        return self._forget(tuple(unused))

    def usage(self) -> Sequence[Usage]:
        blobs = list(self._images.content().walk())
        snapshots, size = 0, 0
        for info in list(self._snapshots.walk()):
            try:
                size += self._snapshots.usage(info.key).bytes
            except NotFound:  # it has just gone
                continue
            snapshots += 1
        return (
            Usage("content", len(blobs), sum(blob.size for blob in blobs)),
            Usage("snapshots", snapshots, size),
        )

    def _pulled(self, name: str, platform: str, progress: Progress) -> Image:
        """Prunes are not kept off while it is on its way: that may be long."""
        for _ in range(_PULLS):
            image = self._images.pull(name, platform=platform, progress=progress)
            with self._busy():
                if whole_image(self._images, image.id) is not None:
                    notes = {SOURCE: "registry", REFERENCE: name, PLATFORM: platform, RESOLVED: image.resolved}
                    self._put([name], replace(image.manifest, annotations=notes))
                    return image
        raise Unavailable(f"{name} was pruned again and again as soon as it had come", hint="pull it again")

    def _forget(self, names: tuple[str, ...]) -> Removed:
        store = self._images.names()
        for name in names:
            target = store.get(name)
            store.delete(name)
            if target is not None:
                self._events.emit(_key(target.digest), "Untagged", f"the name {name} was taken away")
        try:
            freed = self._prune()
        except Unavailable:
            return Removed(names, None)
        if freed:
            self._events.emit(NO_IMAGE, "Pruned", f"{freed} bytes of content that nothing needs were freed")
        return Removed(names, freed)

    def _put(self, names: Sequence[str], target: Descriptor) -> None:
        self._check_free(names)
        for name in names:
            self._images.names().put(name, target)

    def _check_free(self, names: Sequence[str]) -> None:
        for name, owner in self._owned(names).items():
            raise Conflict(f"{name} is a name of {owner}", hint="its manifest says what it stands for")

    def _owned(self, names: Sequence[str]) -> Mapping[str, str]:
        """Those that an Image object gave, and whose they are."""
        found = {}
        for name in names:
            target = self._images.names().get(name)
            if target is not None and UID in target.annotations:
                owner = self._catalogue.owner(target)
                found[name] = f"{owner} in namespace {owner.namespace}" if owner else "an image that is being deleted"
        return found

    def _tell(self, image: Image, reason: str, message: str) -> None:
        self._events.emit(_key(image.id), reason, message)

    @contextmanager
    def _received(self, chunks: Iterator[bytes], progress: Progress) -> Iterator[Path]:
        """What is sent, as a file: archives are looked into more than once."""
        with tempfile.NamedTemporaryFile(dir=self._spool, prefix="sent-") as file:
            path, size = Path(file.name), 0
            try:
                for chunk in chunks:
                    file.write(chunk)
                    size += len(chunk)
                    progress("receive", size, 0)
                file.flush()
            except OSError as error:
                if error.errno in _FULL:
                    raise ResourceExhausted("there is no room for what is sent", hint="`lading image prune`") from error
                raise
            try:
                yield path
            except EngineError as error:
                error.message = error.message.replace(path.name, "the archive")
                raise


def _key(digest: str) -> Key:
    """Images by hand are no objects; their events are under what there is to tell them by."""
    return Key(kind=Kind.IMAGE, uid=digest.removeprefix("sha256:")[:32])


def _names_given(image: Image) -> list[str]:
    """By its archive. OCI layouts may hold a tag alone, which says no name."""
    given = tuple(text for text in image.names_in if _TAG_ALONE.fullmatch(text) is None)
    return sorted(names_in(replace(image, names_in=given)))


def _called(progress: Progress, what: str) -> Progress:
    return lambda _, done, total: progress(what, done, total)
