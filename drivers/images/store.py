"""The image driver: content, names, import, pull and unpacking put together.

`root` is the OCI image layout itself; root/lock is shared by imports and unpacks, and taken whole by prune. A pull may
last for hours and does not keep prune away: what it needs is under a lease (root/leases/).
"""

import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from drivers.images import importing, pruning
from drivers.images.archive import Archive, read_archive
from drivers.images.config import parse_config
from drivers.images.content import LayoutContentStore
from drivers.images.digest import chain_id, checked
from drivers.images.interface import ContentStore, Credentials, Descriptor, Image, ImageStore, Progress
from drivers.images.leases import Leases
from drivers.images.limits import DEFAULT, Limits
from drivers.images.manifest import Platform, parse_manifest
from drivers.images.manifest import platform as parse_platform
from drivers.images.names import IndexImageStore
from drivers.images.reference import parse
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.pull import RESOLVE, Pulled, Puller
from drivers.images.unpack import Unpacker
from drivers.snapshots.interface import Snapshotter
from resources.errors import DataLoss, InvalidArgument, Unavailable, Unsupported


class ImageDriver:
    def __init__(
        self,
        root: Path,
        snapshotter: Snapshotter,
        limits: Limits = DEFAULT,
        registries: RegistryClient | None = None,
    ) -> None:
        self._content = LayoutContentStore(root)
        self._names = IndexImageStore(root)
        self._snapshotter = snapshotter
        self._limits = limits
        self._unpacker = Unpacker(self._content.path, snapshotter, limits)
        self._lock_path = root / "lock"
        self._imports = threading.Lock()
        self._running = self._started = 0
        self._leases = Leases(root)
        self._puller = Puller(registries, self._content, self._leases, limits, self._shared) if registries else None

    def import_archive(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        return self._import_archive(source, platform, progress, layout_only=False)

    def import_layout(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        return self._import_archive(source, platform, progress, layout_only=True)

    def import_rootfs(self, source: Path, *, platform: str, progress: Progress | None = None) -> Image:
        wanted = parse_platform(platform)
        with self._importing() as kept:
            try:
                with source.open("rb") as file:
                    expected = source.stat().st_size
                    blob = self._content.ingest(file, progress=_sized(progress, source, expected))
            except OSError as error:
                raise InvalidArgument(f"{source.name} cannot be read: {error.strerror}") from error
            try:
                target = importing.store_rootfs(self._content, blob, wanted, self._limits)
            except InvalidArgument as error:
                raise InvalidArgument(f"{source.name}: {error.message}", hint=error.hint) from error
            image = self._complete(target.digest)
            kept.update(_blobs(image))
        return image

    def pull(
        self,
        reference: str,
        *,
        platform: str,
        credentials: Credentials | None = None,
        progress: Progress | None = None,
    ) -> Image:
        wanted, parsed = parse_platform(platform), parse(reference)
        if progress:
            progress(RESOLVE, 0, 0)
        if parsed.digest and (here := self._whole(parsed.digest, wanted)):
            return replace(here, resolved=parsed.digest)

        def finish(pulled: Pulled) -> Image:
            return replace(self._complete(pulled.manifest.digest), resolved=pulled.resolved)

        with self._counted():
            return self._registries().pull(parsed, wanted, credentials, progress, finish)

    def resolve(
        self, reference: str, *, credentials: Credentials | None = None, progress: Progress | None = None
    ) -> Descriptor:
        return self._registries().resolve(parse(reference), credentials, progress)

    def abandon(self, reference: str) -> None:
        self._leases.abandon(str(parse(reference)))
        with self._leases.settled() as held:
            self._content.drop_partials(keep=held)

    def image(self, digest: str) -> Image | None:
        checked(digest)
        info = self._content.info(digest)
        if info is None:
            return None
        what = f"image {digest}"
        manifest = parse_manifest(self._content.read(digest, self._limits.max_manifest), what, self._limits)
        if any(self._content.info(blob.digest) is None for blob in (manifest.config, *manifest.layers)):
            return None
        raw = self._content.read(manifest.config.digest, self._limits.max_config)
        config = parse_config(raw, f"config {manifest.config.digest}", self._limits)
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidArgument(f"{what}: {len(manifest.layers)} layers, but {len(config.diff_ids)} diff IDs")
        return Image(
            id=digest,
            manifest=Descriptor(manifest.media_type, digest, info.size),
            config=config.config,
            layers=manifest.layers,
            diff_ids=config.diff_ids,
            chain_id=chain_id(config.diff_ids),
            platform=str(config.platform),
            created=config.created,
            size=sum(layer.size for layer in manifest.layers),
            config_digest=manifest.config.digest,
        )

    def names(self) -> ImageStore:
        return self._names

    def content(self) -> ContentStore:
        return self._content

    def unpacked(self, image: Image) -> bool:
        return self._unpacker.unpacked(image.chain_id)

    def unpack(self, image: Image, *, progress: Progress | None = None) -> None:
        with self._shared():
            self._unpacker.unpack(image, progress)

    def prune(self, keep: Sequence[str]) -> int:
        with self._lock_path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable("images are being imported or unpacked", hint="it is tried again") from None
            images = [image for digest in keep if (image := self.image(digest))]
            with self._leases.settled() as leased:
                freed = self._content.drop_partials(keep=leased)
            return freed + pruning.prune(images, self._content, self._names, self._snapshotter, leased)

    def cleanup(self) -> int:
        return self._content.cleanup() + self._unpacker.cleanup()

    def _registries(self) -> Puller:
        if self._puller is None:
            raise Unsupported("no registries are set up here")
        return self._puller

    def _whole(self, digest: str, wanted: Platform) -> Image | None:
        """The image by the digest of its manifest, when nothing of it has to be fetched."""
        try:
            image = self.image(digest)
        except InvalidArgument:
            return None
        return image if image and parse_platform(image.platform).matches(wanted) else None

    def _import_archive(
        self, source: Path, platform: str, progress: Progress | None, *, layout_only: bool
    ) -> Sequence[Image]:
        wanted = parse_platform(platform)
        archive = Archive()
        told = _sized(progress, source, source.stat().st_size if source.exists() else 0)
        counted = None if told is None else _counting(told)
        with self._importing() as kept:
            read_archive(source, self._content, self._limits, counted, archive)
            try:
                found = list(importing.manifests(archive, self._content, wanted, self._limits, layout_only=layout_only))
            except InvalidArgument as error:
                raise InvalidArgument(f"{source.name}: {error.message}", hint=error.hint) from error
            if not found:
                raise InvalidArgument(f"{source.name} has no image for {wanted}", hint="see `skopeo inspect --raw`")
            names: dict[str, tuple[str, ...]] = {}
            for target, given in found:  # one manifest may be listed once for each of its names
                names[target.digest] = tuple(dict.fromkeys((*names.get(target.digest, ()), *given)))
            images = [replace(self._complete(digest), names_in=given) for digest, given in names.items()]
            kept.update(blob for image in images for blob in _blobs(image))
        return images

    def _complete(self, digest: str) -> Image:
        image = self.image(digest)
        if image is None:
            raise DataLoss(f"the image {digest} was here, but its content is gone", hint="import or pull it again")
        return image

    @contextmanager
    def _shared(self) -> Iterator[None]:
        with self._lock_path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def _importing(self) -> Iterator[set[str]]:
        """Yields the set of blobs to keep; what else this import brought is deleted at the end, also after an error.

        Only where no other import ran meanwhile: it might want the same blobs. Then they are left to `prune`.
        """
        with self._shared(), self._counted() as alone:
            before = {blob.digest for blob in self._content.walk()}
            wanted: set[str] = set()
            try:
                yield wanted
            finally:
                with self._imports:
                    if alone():
                        for blob in list(self._content.walk()):
                            if blob.digest not in before and blob.digest not in wanted:
                                self._content.delete(blob.digest)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[], bool]]:
        """For whatever brings blobs. What it yields tells, under the lock, whether nothing else that does ran since."""
        with self._imports:
            first = self._running == 0
            self._running += 1
            self._started += 1
            mine = self._started
        try:
            yield lambda: first and self._started == mine
        finally:
            with self._imports:
                self._running -= 1


def _blobs(image: Image) -> set[str]:
    return {image.id, image.config_digest, *(layer.digest for layer in image.layers)}


def _sized(progress: Progress | None, source: Path, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda _what, done, _total: progress(f"import {source.name}", done, total)


def _counting(progress: Progress) -> Callable[[int], None]:
    return lambda done: progress("", done, 0)
