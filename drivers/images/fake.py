"""An in-memory twin of `Images`: an archive is whatever image was planted under its file name, and the registries are
what was published to them.
"""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from drivers.images.digest import chain_id, chain_ids, checked, of_bytes
from drivers.images.interface import ContentStore, Credentials, Descriptor, Image, ImageConfig, ImageStore, Progress
from drivers.images.manifest import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from drivers.images.manifest import platform as parse_platform
from drivers.images.pruning import prune
from drivers.images.reference import parse
from drivers.images.registry.refusal import login_refused
from drivers.snapshots.fake import FakeSnapshotter
from drivers.snapshots.interface import Snapshotter
from resources.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted


class FakeContentStore:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def info(self, digest: str) -> Descriptor | None:
        data = self.blobs.get(checked(digest))
        return None if data is None else Descriptor("", digest, len(data))

    def open(self, digest: str) -> BinaryIO:
        if checked(digest) not in self.blobs:
            raise NotFound(f"the content {digest} is not here")
        return io.BytesIO(self.blobs[digest])

    def read(self, digest: str, limit: int) -> bytes:
        data = self.open(digest).read()
        if len(data) > limit:
            raise ResourceExhausted(f"the content {digest} is longer than {limit} bytes")
        return data

    def ingest(
        self, data: BinaryIO, expected: Descriptor | None = None, *, progress: Progress | None = None
    ) -> Descriptor:
        if expected and (checked(expected.digest) and expected.size < 0):
            raise InvalidArgument(f"{expected.digest} with a negative size")
        content = data.read() if expected is None else data.read(expected.size + 1)
        digest = of_bytes(content)
        if expected and (digest, len(content)) != (expected.digest, expected.size):
            raise DataLoss(f"content with digest {digest} where {expected.digest} was promised")
        self.blobs[digest] = content
        if progress:
            progress("store", len(content), len(content))
        return Descriptor(expected.media_type if expected else "", digest, len(content))

    def delete(self, digest: str) -> None:
        self.blobs.pop(checked(digest), None)

    def walk(self) -> Iterator[Descriptor]:
        return iter([Descriptor("", digest, len(data)) for digest, data in self.blobs.items()])

    def cleanup(self) -> int:
        return 0


class FakeImageStore:
    def __init__(self) -> None:
        self._names: dict[str, Descriptor] = {}

    def get(self, name: str) -> Descriptor | None:
        return self._names.get(name)

    def put(self, name: str, target: Descriptor) -> None:
        checked(target.digest)
        if not name:
            raise InvalidArgument("an image without a name")
        self._names[name] = target

    def delete(self, name: str) -> None:
        self._names.pop(name, None)

    def list(self) -> Sequence[tuple[str, Descriptor]]:
        return sorted(self._names.items(), key=lambda item: item[0])


@dataclass(frozen=True, slots=True)
class Published:
    """An image as it lies in a registry: one for each platform, and what the tag points at."""

    target: Descriptor
    images: Mapping[str, tuple[Image, Mapping[str, bytes]]]
    """By platform: the image, and its blobs by digest."""
    credentials: Credentials | None


class FakeImages:
    def __init__(self, snapshotter: Snapshotter | None = None) -> None:
        self.snapshotter: Snapshotter = snapshotter or FakeSnapshotter()
        self.planted: dict[str, tuple[ImageConfig, tuple[bytes, ...], tuple[str, ...]]] = {}
        self.unpacks = 0
        """How many layers were unpacked."""
        self.resolves = self.pulls = self.fetches = 0
        """How often a registry was asked what a reference points at, an image was pulled, a blob was fetched."""
        self.abandoned: list[str] = []
        self._published: dict[str, Published] = {}
        self._registry_error: Exception | None = None
        self._content = FakeContentStore()
        self._names = FakeImageStore()
        self._images: dict[str, Image] = {}
        self._lock = threading.RLock()

    def plant(
        self,
        source: str,
        config: ImageConfig | None = None,
        layers: Sequence[bytes] = (b"layer",),
        names: Sequence[str] = (),
    ) -> None:
        """Have every import of a file of this name give an image of that config and those layers."""
        self.planted[source] = (config or ImageConfig(), tuple(layers), tuple(names))

    def publish(
        self,
        reference: str,
        config: ImageConfig | None = None,
        layers: Sequence[bytes] = (b"layer",),
        platforms: Sequence[str] = ("linux/amd64",),
        credentials: Credentials | None = None,
    ) -> Descriptor:
        """Put an image into its registry, under a tag (again: the tag moves) and under its digests; return what the tag
        points at. With `credentials` only those may read it."""
        parsed = parse(reference)
        made = FakeImages()
        images = {}
        for one in platforms:
            image = made._make(config or ImageConfig(), layers, (), one, None)
            images[one] = (image, {blob: made._content.blobs[blob] for blob in _blobs(image)})
        target = images[platforms[0]][0].manifest
        if len(images) > 1:
            index = ",".join(image.id for image, _ in images.values()).encode()
            target = Descriptor(OCI_INDEX, of_bytes(index), len(index))
        published = Published(target, images, credentials)
        self._published[str(parsed)] = published
        self._published[f"{parsed.name}@{target.digest}"] = published
        for one, (image, blobs) in images.items():
            alone = Published(image.manifest, {one: (image, blobs)}, credentials)
            self._published.setdefault(f"{parsed.name}@{image.id}", alone)
        return target

    def unpublish(self, reference: str) -> None:
        """Take a tag out of its registry."""
        del self._published[str(parse(reference))]

    def registry_fails(self, error: Exception | None) -> None:
        """From now on asking any registry raises this; None: no more."""
        self._registry_error = error

    def pull(
        self,
        reference: str,
        *,
        platform: str,
        credentials: Credentials | None = None,
        progress: Progress | None = None,
    ) -> Image:
        self.pulls += 1
        wanted, digest = parse_platform(platform), parse(reference).digest
        if progress:
            progress("resolve", 0, 0)
        here = self.image(digest) if digest else None
        if here and parse_platform(here.platform).matches(wanted):
            return replace(here, resolved=digest)
        published = self._ask(reference, credentials)
        found = next((one for one in published.images if parse_platform(one).matches(wanted)), None)
        if found is None:
            there = ", ".join(sorted(published.images))
            raise InvalidArgument(f"{reference} has no image for {platform}", hint=f"there are {there}")
        image, blobs = published.images[found]
        layers = {layer.digest for layer in image.layers}
        for digest, data in blobs.items():
            if self._content.info(digest) is None:
                self.fetches += 1
                if progress and digest in layers:
                    progress(digest, len(data), len(data))
                self._content.ingest(io.BytesIO(data), Descriptor("", digest, len(data)))
        self._images[image.id] = image
        return replace(image, resolved=published.target.digest)

    def resolve(
        self, reference: str, *, credentials: Credentials | None = None, progress: Progress | None = None
    ) -> Descriptor:
        self.resolves += 1
        if progress:
            progress("resolve", 0, 0)
        return self._ask(reference, credentials).target

    def abandon(self, reference: str) -> None:
        self.abandoned.append(str(parse(reference)))

    def _ask(self, reference: str, credentials: Credentials | None) -> Published:
        parsed = parse(reference)
        if self._registry_error:
            raise self._registry_error
        # A tag beside a digest says nothing: the digest decides.
        wanted = f"{parsed.name}@{parsed.digest}" if parsed.digest else str(parsed)
        published = self._published.get(wanted)
        if published is None:
            raise NotFound(f"{parsed.domain} has no image {parsed}", hint="check the name and the tag")
        if published.credentials and published.credentials != credentials:
            if credentials is not None:
                raise login_refused(parsed.domain, parsed.domain, credentials)
            raise PermissionDenied(f"{parsed} may not be read", hint=f"`lading login {parsed.domain}`")
        return published

    def import_archive(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        if source.name not in self.planted:
            raise InvalidArgument(f"{source.name} is no archive of images")
        config, layers, names = self.planted[source.name]
        return [self._make(config, layers, names, platform, progress)]

    def import_layout(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        return self.import_archive(source, platform=platform, progress=progress)

    def import_rootfs(self, source: Path, *, platform: str, progress: Progress | None = None) -> Image:
        """A file that nothing was planted for becomes the layer itself."""
        config, layers, names = self.planted.get(source.name, (ImageConfig(), (), ()))
        return self._make(config, layers or (source.read_bytes(),), names, platform, progress)

    def image(self, digest: str) -> Image | None:
        image = self._images.get(checked(digest))
        if image is None or any(self._content.info(blob) is None for blob in _blobs(image)):
            return None
        return image

    def names(self) -> ImageStore:
        return self._names

    def content(self) -> ContentStore:
        return self._content

    def unpacked(self, image: Image) -> bool:
        return not image.chain_id or self.snapshotter.stat(image.chain_id) is not None

    def unpack(self, image: Image, *, progress: Progress | None = None) -> None:
        with self._lock:
            parent = ""
            for layer, chain in zip(image.layers, chain_ids(image.diff_ids), strict=True):
                if self.snapshotter.stat(chain) is None:
                    self._content.read(layer.digest, layer.size)
                    if progress:
                        progress(f"unpack {layer.digest}", layer.size, layer.size)
                    self.snapshotter.prepare(f"unpack-{chain}", parent)
                    self.snapshotter.commit(chain, f"unpack-{chain}")
                    self.unpacks += 1
                parent = chain

    def prune(self, keep: Sequence[str]) -> int:
        kept = [image for digest in keep if (image := self.image(digest))]
        return prune(kept, self._content, self._names, self.snapshotter)

    def cleanup(self) -> int:
        return 0

    def _make(
        self,
        config: ImageConfig,
        layers: Sequence[bytes],
        names: tuple[str, ...],
        platform: str,
        progress: Progress | None,
    ) -> Image:
        stored = [self._content.ingest(io.BytesIO(data), progress=progress) for data in layers]
        described = repr((_plain(config), [s.digest for s in stored], platform)).encode()
        config_blob = self._content.ingest(io.BytesIO(b"config " + described))
        manifest = self._content.ingest(io.BytesIO(b"manifest " + described))
        diff_ids = tuple(layer.digest for layer in stored)
        image = Image(
            id=manifest.digest,
            manifest=Descriptor(OCI_MANIFEST, manifest.digest, manifest.size),
            config=config,
            layers=tuple(Descriptor(OCI_LAYER, s.digest, s.size) for s in stored),
            diff_ids=diff_ids,
            chain_id=chain_id(diff_ids),
            platform=platform,
            size=sum(s.size for s in stored),
            config_digest=config_blob.digest,
        )
        self._images[image.id] = image
        return replace(image, names_in=names)


def _blobs(image: Image) -> Sequence[str]:
    return [image.id, image.config_digest, *(layer.digest for layer in image.layers)]


def _plain(config: ImageConfig) -> Mapping[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
