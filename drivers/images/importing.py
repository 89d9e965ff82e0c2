"""From archives to manifests: what an archive's documents mean, once all its files are in the content store."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from drivers.images.archive import DOCKER, INDEX, LAYOUT, Archive, docker_images
from drivers.images.config import parse_config
from drivers.images.digest import of_bytes
from drivers.images.interface import ContentStore, Descriptor
from drivers.images.limits import Limits
from drivers.images.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    REF_NAME,
    Platform,
    choose,
    parse_manifest,
)
from drivers.images.streams import PLAIN, compression, opened
from drivers.images.tar import TarReader
from drivers.images.treepath import clean
from resources.errors import InvalidArgument

CONTAINERD_NAME = "io.containerd.image.name"


def manifests(
    archive: Archive, content: ContentStore, wanted: Platform, limits: Limits, *, layout_only: bool
) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    """The manifests of the platform in an archive, with the names it gives them.

    Raises: InvalidArgument when it is no archive of images, or speaks of what is not in it.
    """
    if LAYOUT in archive.documents and INDEX in archive.documents:
        yield from _from_layout(archive, content, wanted, limits)
    elif DOCKER in archive.documents and not layout_only:
        yield from _from_docker(archive, content, wanted, limits)
    else:
        found = ", ".join(sorted(archive.blobs)[:3]) or "nothing"
        raise InvalidArgument(
            f"no archive of images: neither oci-layout and index.json nor manifest.json at its top (but {found})"[:400],
            hint="a tar of a root file system is imported with `from: {rootfs: …}`",
        )


def store_manifest(content: ContentStore, config: Descriptor, layers: list[Descriptor], limits: Limits) -> Descriptor:
    """Write the manifest for a config and layers that came without; the same for the same content."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _reference(config),
        "layers": [_reference(layer) for layer in layers],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    parse_manifest(data, "the manifest made for it", limits)
    return content.ingest(BytesIO(data), Descriptor(OCI_MANIFEST, of_bytes(data), len(data)))


def store_rootfs(content: ContentStore, blob: Descriptor, wanted: Platform, limits: Limits) -> Descriptor:
    """Make the image of one layer: look through the whole tar, and write a config that only says what is in it."""
    with content.open(blob.digest) as file, opened(file, blob.size, limits) as stream:
        entries = 0
        for entry in TarReader(stream, limits=limits):
            clean(entry.name, limits)
            entries += 1
        stream.drain()
        diff_id, kind = stream.diff_id, stream.compression
    if not entries:
        raise InvalidArgument("the root file system is empty")
    document: dict[str, Any] = {"architecture": wanted.architecture, "os": wanted.os}
    if wanted.variant:
        document["variant"] = wanted.variant
    document |= {"config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    data = json.dumps(document, separators=(",", ":")).encode()
    config = content.ingest(BytesIO(data), Descriptor(OCI_CONFIG, of_bytes(data), len(data)))
    layer = Descriptor(_layer_type(kind), blob.digest, blob.size)
    return store_manifest(content, config, [layer], limits)


def _from_layout(
    archive: Archive, content: ContentStore, wanted: Platform, limits: Limits
) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    def read(entry: Descriptor) -> bytes | None:
        present = archive.blobs.get(f"blobs/sha256/{entry.digest.removeprefix('sha256:')}")
        return content.read(entry.digest, limits.max_manifest) if present else None

    for entry, stated in choose(archive.documents[INDEX], wanted, read, limits):
        data = read(entry)
        if data is None:
            if stated:
                raise InvalidArgument(f"the archive's index speaks of {entry.digest}, which is not in it")
            continue
        manifest = parse_manifest(data, f"manifest {entry.digest}", limits)
        for blob in (manifest.config, *manifest.layers):
            _check_size(archive, blob)
        config = parse_config(
            content.read(manifest.config.digest, limits.max_config), f"config {manifest.config.digest}", limits
        )
        if config.platform.matches(wanted):
            # Beside a whole name the other is its tag alone.
            name = entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REF_NAME)
            yield Descriptor(entry.media_type, entry.digest, len(data)), (name,) if name else ()


def _check_size(archive: Archive, blob: Descriptor) -> None:
    present = archive.blob(f"blobs/sha256/{blob.digest.removeprefix('sha256:')}")
    if present.size != blob.size:
        raise InvalidArgument(f"{blob.digest} has {present.size} bytes, its manifest says {blob.size}")


def _from_docker(
    archive: Archive, content: ContentStore, wanted: Platform, limits: Limits
) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    for entry in docker_images(archive.documents[DOCKER], limits):
        config = archive.blob(_path(entry["Config"], limits))
        parsed = parse_config(
            content.read(config.digest, limits.max_config), f"config {entry['Config'][:80]!r}", limits
        )
        layers = [archive.blob(_path(name, limits)) for name in entry.get("Layers") or []]
        if len(layers) != len(parsed.diff_ids):
            raise InvalidArgument(f"{DOCKER}: {len(layers)} layers, but {len(parsed.diff_ids)} diff IDs in the config")
        if not parsed.platform.matches(wanted):
            continue
        typed = [Descriptor(_layer_type(_sniff(content, layer)), layer.digest, layer.size) for layer in layers]
        made = store_manifest(content, Descriptor(OCI_CONFIG, config.digest, config.size), typed, limits)
        yield made, tuple(entry.get("RepoTags") or ())


def _path(name: str, limits: Limits) -> str:
    return clean(name.encode(), limits).decode()


def _sniff(content: ContentStore, blob: Descriptor) -> str:
    with content.open(blob.digest) as file:
        return compression(file.read(6))


def _layer_type(kind: str) -> str:
    return OCI_LAYER if kind == PLAIN else f"{OCI_LAYER}+{kind}"


def _reference(blob: Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
