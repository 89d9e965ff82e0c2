"""Large content that clients send ahead of the objects that name it: one file a digest, gone when nothing needs it.

The reconcilers' Inputs and the API's Uploads are this one folder.
"""

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from resources.errors import InvalidArgument, ResourceExhausted

FRESH_SECONDS = 600.0
"""How long an apply may take to follow what was sent for it; one that was refused never does."""
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class UploadFolder:
    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self.unfinished = root / "tmp"
        """What is on its way; nothing in it outlives the engine."""
        self._lock = threading.RLock()
        self._fresh: dict[str, float] = {}
        """Came, or was asked for, in this life and may be named by an apply that is still on its way; since when."""
        self.unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.unfinished.iterdir():
            left.unlink()

    def path(self, digest: str) -> Path | None:
        path = self._path(digest)
        return path if path.exists() else None

    def has(self, digest: str) -> bool:
        return self.path(digest) is not None

    def held(self) -> AbstractContextManager[object]:
        """While it lasts nothing goes: between finding content here and having written who needs it, and the other way round."""
        return self._lock

    def expect(self, digest: str) -> bool:
        """Whether it is here; if so it stays for the apply that is going to name it."""
        with self._lock:
            if not self.has(digest):
                return False
            self._fresh[digest] = self._clock()
            return True

    def receive(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        target = self._path(digest)
        path = self.unfinished / secrets.token_hex(8)
        try:
            with path.open("xb") as file:
                _copy(chunks, file.fileno(), digest, size)
                os.fsync(file.fileno())
            with self._lock:
                path.rename(target)
                self._fresh[digest] = self._clock()
        except OSError as error:
            raise ResourceExhausted(f"what was sent cannot be kept: {error.strerror}") from error
        finally:
            path.unlink(missing_ok=True)

    def keep_only(self, needed: Collection[str], *, fresh: bool = True) -> None:
        """Delete what is not needed; with `fresh`, keep too what came lately in this life and was not `used` yet."""
        with self._lock:
            since = self._clock() - FRESH_SECONDS
            self._fresh = {digest: at for digest, at in self._fresh.items() if at > since}
            for path in self._root.glob("[0-9a-f]*"):
                digest = f"sha256:{path.name}"
                if digest not in needed and not (fresh and digest in self._fresh):
                    path.unlink(missing_ok=True)

    def used(self, digests: Collection[str]) -> None:
        """An object names them now: from here on it alone says how long they stay."""
        with self._lock:
            for digest in digests:
                self._fresh.pop(digest, None)

    def _path(self, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise InvalidArgument(f"{digest[:80]!r} is not a digest (sha256: and 64 hex digits)")
        return self._root / match[1]


def _copy(chunks: Iterator[bytes], target: int, digest: str, size: int) -> None:
    total, hashed = 0, hashlib.sha256()
    for chunk in chunks:
        total += len(chunk)
        if total > size:
            break
        hashed.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(target, rest) :]
    if total != size or f"sha256:{hashed.hexdigest()}" != digest:
        raise InvalidArgument(
            "what was sent is not what was announced", hint="did the file change meanwhile? try again"
        )
