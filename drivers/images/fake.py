"""An in-memory twin of `Images`: an archive is whatever image was planted under its file name."""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from drivers.images.digest import chain_id, chain_ids, checked, of_bytes
from drivers.images.interface import ContentStore, Descriptor, Image, ImageConfig, ImageStore, Progress
from drivers.images.manifest import OCI_LAYER, OCI_MANIFEST
from drivers.images.pruning import prune
from drivers.snapshots.fake import FakeSnapshotter
from drivers.snapshots.interface import Snapshotter
from resources.errors import DataLoss, InvalidArgument, NotFound, ResourceExhausted


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


class FakeImages:
    def __init__(self, snapshotter: Snapshotter | None = None) -> None:
        self.snapshotter: Snapshotter = snapshotter or FakeSnapshotter()
        self.planted: dict[str, tuple[ImageConfig, tuple[bytes, ...], tuple[str, ...]]] = {}
        self.unpacks = 0
        """How many layers were unpacked."""
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
        return Image(**{**{f: getattr(image, f) for f in image.__dataclass_fields__}, "names_in": names})


def _blobs(image: Image) -> Sequence[str]:
    return [image.id, image.config_digest, *(layer.digest for layer in image.layers)]


def _plain(config: ImageConfig) -> Mapping[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
