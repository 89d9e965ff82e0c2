"""Read an OCI layout or `docker save` archive: once through, every file into the content store, then what it meant.

What an archive calls its files is only ever compared with what its documents ask for: no path of it touches the disk.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from drivers.images.digest import is_digest
from drivers.images.interface import ContentStore, Descriptor
from drivers.images.limits import Limits
from drivers.images.streams import opened
from drivers.images.strictjson import loads
from drivers.images.tar import TarReader, Type, printable
from drivers.images.treepath import clean
from resources.errors import DataLoss, InvalidArgument

INDEX, LAYOUT, DOCKER = "index.json", "oci-layout", "manifest.json"
_DOCUMENTS = (INDEX, LAYOUT, DOCKER)
_MAX_LINKS = 10


@dataclass(slots=True)
class Archive:
    """What was in it: documents at its top, blobs by their path, and links between those."""

    documents: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, Descriptor] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Digests that were not in the store before."""

    def blob(self, path: str) -> Descriptor:
        """The file at a path of the archive. Raises: InvalidArgument when there is none."""
        where = path
        for _ in range(_MAX_LINKS):
            if where in self.blobs:
                return self.blobs[where]
            if where not in self.links:
                break
            where = self.links[where]
        raise InvalidArgument(f"the archive speaks of {path[:200]!r}, which is not in it")


class _EntryReader(io.RawIOBase):
    """The data of the tar reader's current entry as a file."""

    def __init__(self, reader: TarReader) -> None:
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        return self._reader.read(size if size >= 0 else 1 << 30)


def read_archive(
    source: Path,
    content: ContentStore,
    limits: Limits,
    progress: Callable[[int], None] | None,
    archive: Archive,
) -> None:
    """Fill `archive`; on an error it holds what has been stored until then.

    Raises: InvalidArgument, DataLoss (a blob that is not what its path says), ResourceExhausted.
    """
    try:
        with source.open("rb") as file, opened(file, source.stat().st_size, limits, progress) as stream:
            reader = TarReader(stream, limits=limits)
            for path, kind, link in _entries(reader, limits):
                if kind is Type.FILE:
                    _take(path, reader, content, limits, archive)
                elif kind in (Type.SYMLINK, Type.HARDLINK):
                    archive.links[path] = _link_target(path, kind, link, limits)
            stream.drain()
    except InvalidArgument as error:
        raise InvalidArgument(f"{source.name}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise InvalidArgument(f"{source.name} cannot be read: {error.strerror}") from error


def _entries(reader: TarReader, limits: Limits) -> Iterator[tuple[str, Type, bytes]]:
    count = 0
    for entry in reader:
        count += 1
        if count > limits.max_archive_entries:
            raise InvalidArgument("it has more entries than an archive of images can have")
        yield clean(entry.name, limits).decode("utf-8", "backslashreplace"), entry.type, entry.link


def _take(path: str, reader: TarReader, content: ContentStore, limits: Limits, archive: Archive) -> None:
    if path in archive.blobs or path in archive.documents:
        raise InvalidArgument(f"{printable(path.encode())} is there twice")
    if path in _DOCUMENTS:
        data = b"".join(iter(lambda: reader.read(1 << 20), b"")) if reader.left <= limits.max_manifest else b""
        if reader.left:
            raise InvalidArgument(f"{path} has more than {limits.max_manifest} bytes")
        archive.documents[path] = data
        return
    directory, _, name = path.rpartition("/")
    expected = None
    if directory == "blobs/sha256" and is_digest(f"sha256:{name}"):
        expected = Descriptor("", f"sha256:{name}", reader.left)
    known = expected is not None and content.info(expected.digest) is not None
    try:
        stored = content.ingest(cast(BinaryIO, _EntryReader(reader)), expected)
    except DataLoss as error:
        raise DataLoss(f"{printable(path.encode())}: {error.message}", hint=error.hint) from error
    if not known:
        archive.fresh.add(stored.digest)
    archive.blobs[path] = stored


def _link_target(path: str, kind: Type, link: bytes, limits: Limits) -> str:
    base = path.rpartition("/")[0].encode() if kind is Type.SYMLINK and not link.startswith(b"/") else b""
    return clean(base + b"/" + link, limits).decode("utf-8", "backslashreplace")


def docker_images(document: bytes, limits: Limits) -> list[dict[str, Any]]:
    """The entries of a `docker save` manifest.json, their fields checked. Raises: InvalidArgument."""
    parsed = loads(document, DOCKER, limits.max_manifest)
    if not isinstance(parsed, list) or not 0 < len(parsed) <= limits.max_descriptors:
        raise InvalidArgument(f"{DOCKER} is not a list of images")
    for i, entry in enumerate(parsed):
        if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
            raise InvalidArgument(f"{DOCKER}[{i}]: Config is missing")
        for key in ("Layers", "RepoTags"):
            value = entry.get(key) or []
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise InvalidArgument(f"{DOCKER}[{i}]: {key} is not a list of texts")
        if len(entry.get("Layers") or []) > limits.max_descriptors:
            raise InvalidArgument(f"{DOCKER}[{i}]: too many layers")
    return parsed
