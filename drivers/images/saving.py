"""Archives of images: an OCI layout as a tar stream, which `docker save` calls its own with one more document in it.

Blobs go out as they lie in the content store, so what is loaded again has the same digests. Nothing but the current piece
of a blob is held in memory.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.images.archive import DOCKER, INDEX, LAYOUT
from drivers.images.importing import CONTAINERD_NAME
from drivers.images.interface import ContentStore, Image
from drivers.images.manifest import OCI_INDEX, REF_NAME
from drivers.images.streams import CHUNK
from drivers.images.tar import Entry, Type
from drivers.images.tarwriter import END, header, padding
from resources.errors import DataLoss, NotFound


@dataclass(frozen=True, slots=True)
class Named:
    image: Image
    names: tuple[str, ...]
    """Normalised references."""


def archive(saved: Sequence[Named], content: ContentStore, *, docker: bool) -> Iterator[bytes]:
    """`docker`: also what `docker load` looks for. Keep prunes off while it lasts.

    Raises: NotFound, before anything is yielded, when some of the content is not here; DataLoss.
    """
    sizes = {digest: _size(content, digest) for one in saved for digest in _blobs(one.image)}
    return _archive(saved, content, sizes, docker=docker)


def _archive(saved: Sequence[Named], content: ContentStore, sizes: dict[str, int], *, docker: bool) -> Iterator[bytes]:
    yield _file(LAYOUT, json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
    yield _file(INDEX, _index(saved))
    if docker:
        yield _file(DOCKER, json.dumps([_docker_entry(one) for one in saved]).encode())
    yield from (header(_entry(Type.DIRECTORY, name, 0)) for name in ("blobs/", "blobs/sha256/"))
    for digest, size in sizes.items():
        yield header(_entry(Type.FILE, _path(digest), size))
        yield from _blob(content, digest, size)
        yield padding(size)
    yield END


def _blob(content: ContentStore, digest: str, size: int) -> Iterator[bytes]:
    left = size
    with content.open(digest) as file:
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise DataLoss(f"the content {digest} is cut short", hint="import or pull the image again")


def _size(content: ContentStore, digest: str) -> int:
    found = content.info(digest)
    if found is None:
        raise NotFound(f"the content {digest} is not here", hint="import or pull the image again")
    return found.size


def _blobs(image: Image) -> tuple[str, ...]:
    return (image.manifest.digest, image.config_digest, *(layer.digest for layer in image.layers))


def _index(saved: Sequence[Named]) -> bytes:
    """One manifest is there once for each of its names: readers look for one name an entry."""
    manifests: list[dict[str, Any]] = []
    for one in saved:
        target = one.image.manifest
        system, architecture, *variant = one.image.platform.split("/")
        platform = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entry = {
            "mediaType": target.media_type,
            "digest": target.digest,
            "size": target.size,
            "platform": platform,
        }
        named = [{**entry, "annotations": {REF_NAME: name, CONTAINERD_NAME: name}} for name in one.names]
        manifests += named or [entry]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def _docker_entry(one: Named) -> dict[str, Any]:
    return {
        "Config": _path(one.image.config_digest),
        "RepoTags": [name for name in one.names if "@" not in name],
        "Layers": [_path(layer.digest) for layer in one.image.layers],
    }


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _file(name: str, data: bytes) -> bytes:
    return header(_entry(Type.FILE, name, len(data))) + data + padding(len(data))


def _entry(kind: Type, name: str, size: int) -> Entry:
    mode = 0o755 if kind is Type.DIRECTORY else 0o644
    return Entry(kind, name.encode(), b"", size, mode, 0, 0, 0, 0, 0, {})
