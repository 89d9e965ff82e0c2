"""Manifests and indexes of images, OCI and Docker: parsed strictly, chosen by platform."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.images.digest import checked
from drivers.images.interface import Descriptor
from drivers.images.limits import DEFAULT, Limits
from drivers.images.streams import GZIP, PLAIN, ZSTD
from drivers.images.strictjson import load_object
from resources.errors import InvalidArgument

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIGS = (OCI_CONFIG, "application/vnd.docker.container.image.v1+json")
_LAYERS = {
    OCI_LAYER: PLAIN,
    f"{OCI_LAYER}+gzip": GZIP,
    f"{OCI_LAYER}+zstd": ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar": PLAIN,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": ZSTD,
}
_MAX_SIZE = 1 << 50
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Manifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def matches(self, wanted: "Platform") -> bool:
        return self.normal() == wanted.normal()

    def normal(self) -> tuple[str, str, str]:
        machine = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}.get(self.architecture, self.architecture)
        default = {"arm64": "v8", "arm": "v7", "amd64": "v1"}.get(machine, "")
        return self.os, machine, self.variant or default


def platform(text: str) -> Platform:
    """Parse `linux/amd64`, `linux/arm/v7`. Raises: InvalidArgument."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(
        p.isascii() and p.replace("_", "").replace("-", "").isalnum() for p in parts
    ):
        raise InvalidArgument(f"platform {text[:80]!r}", hint="os/architecture or os/architecture/variant: linux/amd64")
    return Platform(*parts)


def layer_compression(media_type: str) -> str:
    """What the layer's media type says of its compression. Raises: InvalidArgument for one that is no layer we take."""
    try:
        return _LAYERS[media_type]
    except KeyError:
        flaw = (
            "a layer that may not be distributed" if "foreign" in media_type or "nondist" in media_type else "a layer"
        )
        raise InvalidArgument(
            f"{flaw} of type {media_type[:120]!r} is not taken", hint="tar, plain or with gzip or zstd"
        ) from None


def descriptor(value: Any, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is not a descriptor")
    media_type, size = value.get("mediaType"), value.get("size")
    digest = checked(value.get("digest"), f"{what}: digest")
    if not isinstance(media_type, str) or not 0 < len(media_type) <= 255:
        raise InvalidArgument(f"{what}: mediaType is missing or malformed")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _MAX_SIZE:
        raise InvalidArgument(f"{what}: size {str(size)[:40]} is not a size")
    annotations = value.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
        raise InvalidArgument(f"{what}: annotations are not text by text")
    return Descriptor(media_type, digest, size, annotations)


def parse_manifest(data: bytes, what: str, limits: Limits = DEFAULT) -> Manifest:
    """Raises: InvalidArgument, also for a document that two readers could take for different things."""
    document = _document(data, what, limits, MANIFESTS)
    if "manifests" in document or "fsLayers" in document:
        raise InvalidArgument(f"{what} is a manifest and something else at once")
    config = descriptor(document.get("config"), f"{what}: config")
    if config.media_type not in _CONFIGS:
        raise InvalidArgument(
            f"{what}: its config is of type {config.media_type[:120]!r}",
            hint="this is an artifact, not an image to run",
        )
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) > limits.max_descriptors:
        raise InvalidArgument(f"{what}: layers are missing or more than {limits.max_descriptors}")
    parsed = tuple(descriptor(layer, f"{what}: layers[{i}]") for i, layer in enumerate(layers))
    for layer in parsed:
        layer_compression(layer.media_type)
    return Manifest(document.get("mediaType", OCI_MANIFEST), config, parsed)


def parse_index(data: bytes, what: str, limits: Limits = DEFAULT) -> Sequence[tuple[Descriptor, Platform | None]]:
    document = _document(data, what, limits, INDEXES)
    manifests = document.get("manifests")
    if "layers" in document or "config" in document or "fsLayers" in document:
        raise InvalidArgument(f"{what} is an index and something else at once")
    if not isinstance(manifests, list) or len(manifests) > limits.max_descriptors:
        raise InvalidArgument(f"{what}: manifests are missing or more than {limits.max_descriptors}")
    return [
        (descriptor(entry, f"{what}: manifests[{i}]"), _platform_of(entry, f"{what}: manifests[{i}]"))
        for i, entry in enumerate(manifests)
    ]


def choose(
    index: bytes,
    wanted: Platform,
    read: Callable[[Descriptor], bytes | None],
    limits: Limits = DEFAULT,
    what: str = "index.json",
) -> Iterator[tuple[Descriptor, bool]]:
    """The manifests of an index, and of indexes in it, that may be of the platform; first match within each nested one.

    The second value tells whether the index said so; else only the config can tell. `read` returns a blob or None.
    """
    yield from _choose(index, wanted, read, limits, 1, what)


def _choose(
    index: bytes,
    wanted: Platform,
    read: Callable[[Descriptor], bytes | None],
    limits: Limits,
    depth: int,
    what: str,
) -> Iterator[tuple[Descriptor, bool]]:
    if depth > limits.max_index_depth:
        raise InvalidArgument(f"{what}: indexes nested deeper than {limits.max_index_depth}")
    for entry, stated in parse_index(index, what, limits):
        if entry.media_type in INDEXES:
            nested = read(entry)
            if nested is not None:
                found = next(_choose(nested, wanted, read, limits, depth + 1, entry.digest), None)
                if found:
                    names = {**found[0].annotations, **entry.annotations}
                    yield Descriptor(found[0].media_type, found[0].digest, found[0].size, names), found[1]
        elif entry.media_type in MANIFESTS and (stated is None or stated.matches(wanted)):
            yield entry, stated is not None


def _document(data: bytes, what: str, limits: Limits, expected: Sequence[str]) -> dict[str, Any]:
    document = load_object(data, what, limits.max_manifest)
    if document.get("schemaVersion") != 2 or isinstance(document.get("schemaVersion"), bool):
        raise InvalidArgument(f"{what}: schemaVersion is not 2", hint="images of before 2016 have to be converted")
    if document.get("mediaType", expected[0]) not in expected:
        raise InvalidArgument(
            f"{what}: its mediaType {str(document['mediaType'])[:120]!r} is not what it is referred to as"
        )
    return document


def _platform_of(entry: Any, what: str) -> Platform | None:
    stated = entry.get("platform")
    if stated is None:
        return None
    if not isinstance(stated, dict):
        raise InvalidArgument(f"{what}: platform is not an object")
    values = [stated.get(key, "") for key in ("os", "architecture", "variant")]
    if not all(isinstance(v, str) and len(v) < 64 for v in values):
        raise InvalidArgument(f"{what}: platform is malformed")
    return Platform(*values)
