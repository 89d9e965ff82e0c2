"""Leases: what unfinished pulls have fetched is protected from `prune` for a day, also over the death of the engine.

One small file a reference and platform, naming the blobs; its time of change is when the pull last said so.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from drivers.images.digest import is_digest
from drivers.images.partial import storage_error
from drivers.images.strictjson import load_object
from drivers.kernel import files
from drivers.kernel.durable import write_durable
from resources.errors import EngineError

LASTING = 86_400.0
_LIMIT = 4 << 20


class Leases:
    def __init__(self, root: Path) -> None:
        self._folder = root / "leases"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._users: Counter[str] = Counter()
        self._abandoned: set[str] = set()

    @contextmanager
    def during(self, reference: str, platform: str) -> Iterator["Lease"]:
        """For one pull. Its lease ends with it if it ends well, and nobody else pulls the same; otherwise it stays."""
        name = _name(reference, platform)
        with self._lock:
            self._users[name] += 1
            self._abandoned.discard(name)
        lease = Lease(self._folder / name, self._lock)
        try:
            yield lease
        finally:
            with self._lock:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name]
                    if lease.fulfilled or name in self._abandoned:
                        self._abandoned.discard(name)
                        lease.path.unlink(missing_ok=True)

    def abandon(self, reference: str) -> None:
        """End all leases of the reference; one whose pull still runs, when that has ended."""
        with self._lock:
            for path in self._folder.glob(f"{_name(reference, '')}*"):
                if path.name in self._users:
                    self._abandoned.add(path.name)
                else:
                    path.unlink(missing_ok=True)

    @contextmanager
    def settled(self) -> Iterator[set[str]]:
        """Every blob under a lease, and no new one while the context lasts.

        Those that are over are deleted, those that cannot be read too: they protect nothing but a download.
        """
        with self._lock:
            found: set[str] = set()
            for path in list(self._folder.iterdir()):
                digests = _digests(path, always=path.name in self._users)
                if digests is None:
                    path.unlink(missing_ok=True)
                else:
                    found |= digests
            yield found


class Lease:
    def __init__(self, path: Path, lock: threading.Lock) -> None:
        self.path = path
        self._lock = lock
        self.fulfilled = False

    def hold(self, digests: Collection[str]) -> None:
        """Raises: ResourceExhausted, DataLoss."""
        with self._lock:
            try:
                write_durable(self.path, json.dumps({"digests": sorted(digests)}).encode())
            except OSError as error:
                raise storage_error(error) from error


def _name(reference: str, platform: str) -> str:
    return f"{hashlib.sha256(reference.encode()).hexdigest()}-{platform.replace('/', '-')}"


def _digests(path: Path, *, always: bool) -> set[str] | None:
    with suppress(OSError, EngineError):
        age = time.time() - path.stat().st_mtime
        if always or -LASTING < age < LASTING:
            document = load_object(files.read(str(path), _LIMIT), path.name, _LIMIT)
            digests = document.get("digests")
            return {digest for digest in digests if is_digest(digest)} if isinstance(digests, list) else None
    return None
