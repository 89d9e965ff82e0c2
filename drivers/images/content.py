"""The content store: blobs by digest in an OCI image layout that other tools can read.

`root` holds oci-layout, index.json (drivers.images.names), blobs/sha256/, and ingest/ for what is not verified yet:
what is being stored under a random name, what is being fetched as `sha256-<hex>.part`.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from drivers.images.digest import checked, is_digest
from drivers.images.interface import Descriptor, Progress
from drivers.images.partial import Partial, storage_error
from drivers.images.streams import CHUNK
from drivers.kernel.durable import sync_directory, write_durable
from resources.errors import DataLoss, InvalidArgument, NotFound, ResourceExhausted

_PART = ".part"
_MAX_PARTIALS = 64
_MAX_PARTIAL_BYTES = 64 << 30
_PARTIAL_AGE = 86_400.0
_LAYOUT = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()


class LayoutContentStore:
    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        for directory in (root, root / "blobs", self._blobs, self._ingest):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (root / "oci-layout").exists():
            write_durable(root / "oci-layout", _LAYOUT)

    def info(self, digest: str) -> Descriptor | None:
        try:
            return Descriptor("", digest, self.path(digest).stat().st_size)
        except FileNotFoundError:
            return None

    def open(self, digest: str) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"the content {digest} is not here", hint="import or pull the image again") from None

    def read(self, digest: str, limit: int) -> bytes:
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ResourceExhausted(f"the content {digest} is longer than {limit} bytes")
        return data

    def ingest(
        self, data: BinaryIO, expected: Descriptor | None = None, *, progress: Progress | None = None
    ) -> Descriptor:
        if expected:
            checked(expected.digest)
            if isinstance(expected.size, bool) or not isinstance(expected.size, int) or expected.size < 0:
                raise InvalidArgument(f"{expected.digest} with the size {expected.size!r}")
        temporary = self._ingest / secrets.token_hex(12)
        try:
            with temporary.open("xb") as file:
                digest, size = _copy(data, file, expected, progress)
                if expected and (digest, size) != (expected.digest, expected.size):
                    raise DataLoss(
                        f"content of {size} bytes with digest {digest} where {expected.size} bytes "
                        f"with digest {expected.digest} were promised",
                        hint="damaged or tampered with: get it again",
                    )
                target = self.path(digest)
                if not target.exists():
                    file.flush()
                    os.fsync(file.fileno())
            if not target.exists():
                temporary.chmod(0o400)
                os.rename(temporary, target)
                sync_directory(self._blobs)
        except OSError as error:
            raise storage_error(error) from error
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return Descriptor(expected.media_type if expected else "", digest, size)

    def delete(self, digest: str) -> None:
        with suppress(FileNotFoundError):
            self.path(digest).unlink()

    def walk(self) -> Iterator[Descriptor]:
        for name in os.listdir(self._blobs):
            if is_digest(f"sha256:{name}") and (found := self.info(f"sha256:{name}")):
                yield found

    def cleanup(self) -> int:
        kept = set(self._fresh())
        left = [name for name in os.listdir(self._ingest) if name not in kept]
        for name in left:
            with suppress(FileNotFoundError):
                (self._ingest / name).unlink()
        return len(left)

    def partial(self, expected: Descriptor, check: Callable[[], None]) -> Partial:
        """Go on with a blob that is being fetched, or begin it. Nobody sees it before it is committed.

        `check` is called now and then while what is there already is hashed. Raises: Unavailable when another process
        is fetching it, ResourceExhausted, DataLoss.
        """
        try:
            return Partial(self._partial_path(expected.digest), self.path(expected.digest), expected, check)
        except OSError as error:
            raise storage_error(error) from error

    def partials(self) -> dict[str, int]:
        """How much of blobs that are being fetched is there, by digest."""
        found = {}
        for name in os.listdir(self._ingest):
            digest = name.removesuffix(_PART).replace("-", ":", 1)
            if name.endswith(_PART) and is_digest(digest):
                with suppress(FileNotFoundError):
                    found[digest] = (self._ingest / name).stat().st_size
        return found

    def drop_partials(self, keep: Collection[str] = ()) -> int:
        """Delete what has come of blobs that are not in `keep`; return the bytes."""
        freed = 0
        for digest, size in self.partials().items():
            if digest not in keep:
                self._partial_path(digest).unlink(missing_ok=True)
                freed += size
        return freed

    def free(self) -> int:
        """Bytes there is room for."""
        found = os.statvfs(self._blobs)
        return found.f_bavail * found.f_frsize

    def _partial_path(self, digest: str) -> Path:
        return self._ingest / f"{checked(digest).replace(':', '-')}{_PART}"

    def _fresh(self) -> Iterator[str]:
        """The files of partials that are worth going on with, the newest first, up to a bound."""
        now, total = time.time(), 0
        found = [self._partial_path(digest) for digest in self.partials()]
        states = sorted(((path.stat(), path.name) for path in found), key=lambda item: item[0].st_mtime, reverse=True)
        for state, name in states[:_MAX_PARTIALS]:
            total += state.st_size
            if abs(now - state.st_mtime) < _PARTIAL_AGE and total <= _MAX_PARTIAL_BYTES:
                yield name

    def path(self, digest: str) -> Path:
        return self._blobs / checked(digest).removeprefix("sha256:")


def _copy(data: BinaryIO, file: BinaryIO, expected: Descriptor | None, progress: Progress | None) -> tuple[str, int]:
    """Copy and hash; with `expected` at most one byte more than its size, which is enough to know it is wrong."""
    digest = hashlib.sha256()
    size = 0
    total = expected.size if expected else 0
    while chunk := data.read(min(CHUNK, total + 1 - size) if expected else CHUNK):
        digest.update(chunk)
        file.write(chunk)
        size += len(chunk)
        if progress:
            progress("store", size, total)
        if expected and size > total:
            break
    return f"sha256:{digest.hexdigest()}", size
