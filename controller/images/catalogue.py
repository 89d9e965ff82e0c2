"""Which images are here, by what names, and who uses them: read from the content store and the objects each time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controller.images.interface import HistoryStep, StoredImage
from controller.store.interface import Objects
from drivers.images.history import steps
from drivers.images.interface import Descriptor, Image, Images
from drivers.images.limits import DEFAULT
from drivers.images.streams import PLAIN, compression
from drivers.images.strictjson import load_object
from reconcilers.image.model import UID
from reconcilers.image.observe import whole_image
from resources.errors import Conflict, InvalidArgument, NotFound
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.meta import Key, Ref

_OWN = "uid:"
"""Begins the names that only say what an Image object is made of."""
_HEAD, _TAR = 262, b"ustar"
_HEX = frozenset("0123456789abcdef")
_LEAST = 4
"""Digits that say an ID."""
Asking = Mapping[str | Ref, Sequence[Ref]]
"""By the name of an image, or by an Image object: who asks for it."""


class ImageCatalogue:
    def __init__(self, images: Images, objects: Objects) -> None:
        self._images = images
        self._objects = objects

    def stored(self, *, unnamed: bool = False) -> Sequence[StoredImage]:
        targets = defaultdict[str, list[tuple[str, Descriptor]]](list)
        for name, target in self._images.names().list():
            targets[target.digest].append((name, target))
        for digest in self._manifests() if unnamed else ():
            targets.setdefault(digest, [])
        asking = self._asking()
        images = ((whole_image(self._images, digest), named) for digest, named in targets.items())
        found = [self._described(image, named, asking) for image, named in images if image is not None]
        return sorted(found, key=lambda image: (not image.names, image.names, image.digest))

    def one(self, image: Image) -> StoredImage:
        named = [(name, target) for name, target in self._images.names().list() if target.digest == image.id]
        return self._described(image, named, self._asking())

    def find(self, word: str) -> tuple[str, tuple[StoredImage, ...]]:
        """What a word says: a name and its image, or "" and the images of one ID. Raises: InvalidArgument, NotFound,
        Conflict."""
        name = _name(word)
        target = self._images.names().get(name) if name else None
        image = whole_image(self._images, target.digest) if target else None
        if image is not None:
            return name, (self.one(image),)
        prefix = word.removeprefix("sha256:")
        if len(prefix) >= _LEAST and _HEX.issuperset(prefix):
            stored = self.stored(unnamed=True)
            found = tuple(i for i in stored if any(d.startswith(f"sha256:{prefix}") for d in (i.id, i.digest)))
            ids = sorted({image.id for image in found})
            if len(ids) > 1:
                raise Conflict(f"{word} begins {len(ids)} IDs: {', '.join(one[7:19] for one in ids[:5])}")
            if found:
                return "", found
        if not name:
            normalize(word)  # says what is wrong with it
        raise NotFound(f"there is no image {name}", hint="`lading image ls` lists those there are")

    def inspect(self, word: str) -> Mapping[str, Any]:
        _, (stored, *_) = self.find(word)
        image = self.whole(stored)
        document = load_object(self._config(image), f"config {image.config_digest}", DEFAULT.max_config)
        system, architecture, *variant = image.platform.split("/")
        return {
            "Id": stored.id,
            "Digest": stored.digest,
            "RepoTags": [name for name in stored.names if "@" not in name],
            "RepoDigests": sorted({f"{_repository(name)}@{stored.digest}" for name in stored.names}),
            "Created": stored.created,
            "Author": document.get("author") or "",
            "Architecture": architecture,
            "Variant": variant[0] if variant else "",
            "Os": system,
            "Size": stored.size,
            "Config": document.get("config") or {},
            "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
            "Layers": [
                {"Digest": layer.digest, "MediaType": layer.media_type, "Size": layer.size} for layer in image.layers
            ],
            "Unpacked": self._images.unpacked(image),
            "UsedBy": [{"kind": ref.kind, "namespace": ref.namespace, "name": ref.name} for ref in stored.users],
        }

    def history(self, word: str) -> Sequence[HistoryStep]:
        _, (stored, *_) = self.find(word)
        image = self.whole(stored)
        made = steps(self._config(image), image.layers)
        return [
            HistoryStep(step.created, step.created_by, step.comment, step.layer.size if step.layer else 0)
            for step in reversed(made)
        ]

    def whole(self, stored: StoredImage) -> Image:
        """Raises: NotFound when content has gone meanwhile."""
        image = whole_image(self._images, stored.digest)
        if image is None:
            raise NotFound(f"content of the image {stored.id[7:19]} is gone", hint="pull or load it again")
        return image

    def owner(self, target: Descriptor | None) -> Ref | None:
        """The Image object that gave a name; none for one that only a container implies."""
        uid = target.annotations.get(UID) if target else None
        item = self._objects.get(Key(kind=Kind.IMAGE, uid=uid)) if uid else None
        return item.ref if item and not item.metadata.implied else None

    def asking(self, name: str) -> Sequence[Ref]:
        """Who asks for an image by this name."""
        return sorted(self._asking().get(name, ()), key=str)

    def _asking(self) -> Asking:
        """And, by its digest, who is made of it."""
        found = defaultdict[str | Ref, list[Ref]](list)
        for item in self._objects.list(Kind.IMAGE):
            if item.effective.source.registry is not None and not item.metadata.implied:
                found[normalize(item.effective.source.registry)].append(item.ref)
        for item in self._objects.list(Kind.CONTAINER):
            found[self._made_of(item.ref)].append(item.ref)
            image, namespace = item.effective.image, item.metadata.namespace
            names = [mount.image.name for mount in item.effective.mounts if mount.image is not None]
            if isinstance(image, str):
                found[normalize(image)].append(item.ref)
            else:
                names.append(image.name)
            for name in dict.fromkeys(names):
                found[Ref(kind=Kind.IMAGE, namespace=namespace, name=name)].append(item.ref)
        return found

    def _described(self, image: Image, named: Sequence[tuple[str, Descriptor]], asking: Asking) -> StoredImage:
        names = sorted(name for name, _ in named if not name.startswith(_OWN))
        owners = {owner for _, target in named if (owner := self.owner(target)) is not None}
        keys: list[str | Ref] = [*names, *owners]
        # Who asks by a name and runs other content, since the name has moved, is no user of this.
        asked = {ref for key in keys for ref in asking.get(key, ()) if self._made_of(ref) in ("", image.id)}
        users = owners | asked | set(asking.get(image.id, ()))
        return StoredImage(
            id=image.config_digest,
            digest=image.id,
            names=tuple(names),
            created=image.created,
            size=image.size,
            platform=image.platform,
            users=tuple(sorted(users, key=lambda ref: (ref.kind, ref.namespace, ref.name))),
        )

    def _made_of(self, ref: Ref) -> str:
        """The digest a container or an Image reports; "" where none is known."""
        item = self._objects.find(ref)
        status = self._objects.status(item.key) if item else None
        field = "imageDigest" if ref.kind is Kind.CONTAINER else "digest"
        return str(status.fields.get(field) or "") if status else ""

    def _config(self, image: Image) -> bytes:
        return self._images.content().read(image.config_digest, DEFAULT.max_config)

    def _manifests(self) -> Iterator[str]:
        """Of blobs that are small enough, those that are one of an image that is whole."""
        content = self._images.content()
        for blob in content.walk():
            small = blob.size <= DEFAULT.max_manifest and not self._is_layer(blob)
            if small and whole_image(self._images, blob.digest) is not None:
                yield blob.digest

    def _is_layer(self, blob: Descriptor) -> bool:
        """Most are: those need not be read."""
        try:
            with self._images.content().open(blob.digest) as file:
                head = file.read(_HEAD)
        except NotFound:
            return True
        return compression(head) != PLAIN or head.endswith(_TAR)


def _name(word: str) -> str:
    """ "" for what is no reference: an ID in upper case, perhaps."""
    try:
        return normalize(word)
    except InvalidArgument:
        return ""


def _repository(name: str) -> str:
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}"
