"""Names of images, kept in the index.json of the content store's layout, where skopeo and its like look for them."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from drivers.images.digest import checked
from drivers.images.interface import Descriptor
from drivers.images.partial import storage_error
from drivers.images.strictjson import load_object
from drivers.kernel import files
from drivers.kernel.durable import write_durable
from resources.errors import DataLoss, InvalidArgument, ResourceExhausted

_NAME = "org.opencontainers.image.ref.name"
_LIMIT = 64 << 20
_MAX_NAME = 600
_SPARE = 256 << 10
"""What is kept to be given up for taking names away when the disk is full."""


class IndexImageStore:
    """Every change rewrites the file under a lock: there are tens of names, and a reader sees all or nothing of it."""

    def __init__(self, root: Path) -> None:
        self._path = root / "index.json"
        self._lock_path = root / "index.lock"
        self._spare = root / "index.spare"
        self._lock = threading.Lock()
        with self._exclusive():
            if not self._path.exists():
                self._write({})

    def get(self, name: str) -> Descriptor | None:
        return self._read().get(name)

    def put(self, name: str, target: Descriptor) -> None:
        if not name or len(name) > _MAX_NAME or not name.isprintable():
            raise InvalidArgument(f"{name[:80]!r} cannot name an image")
        checked(target.digest)
        with self._exclusive():
            names = self._read()
            if names.get(name) != target:
                self._write({**names, name: target})

    def delete(self, name: str) -> None:
        with self._exclusive():
            names = self._read()
            if names.pop(name, None):
                try:
                    self._write(names)
                except ResourceExhausted:
                    # Whoever makes room on a full disk begins here.
                    self._spare.unlink(missing_ok=True)
                    self._write(names)

    def list(self) -> Sequence[tuple[str, Descriptor]]:
        return sorted(self._read().items(), key=lambda item: item[0])

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock, self._lock_path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Descriptor]:
        try:
            document = load_object(files.read(str(self._path), _LIMIT), str(self._path), _LIMIT)
            return dict(_named(entry) for entry in document["manifests"])
        except (InvalidArgument, OSError, KeyError, TypeError) as error:
            raise DataLoss(
                f"the index of images {self._path} cannot be read: {error}",
                hint="move it away: the images are still there and get their names at the next apply",
            ) from error

    def _write(self, names: dict[str, Descriptor]) -> None:
        manifests = [
            {
                "mediaType": t.media_type,
                "digest": t.digest,
                "size": t.size,
                "annotations": {**t.annotations, _NAME: name},
            }
            for name, t in sorted(names.items())
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        }
        try:
            write_durable(self._path, json.dumps(document, indent=1).encode() + os.linesep.encode())
        except OSError as error:
            raise storage_error(error) from error
        if not self._spare.exists():
            with suppress(OSError):
                write_durable(self._spare, bytes(_SPARE))


def _named(entry: dict[str, Any]) -> tuple[str, Descriptor]:
    annotations = dict(entry["annotations"])
    name = annotations.pop(_NAME)
    return name, Descriptor(entry["mediaType"], checked(entry["digest"]), entry["size"], annotations)
