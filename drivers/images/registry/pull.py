"""Pull an image: what the reference points at, the manifest of the platform, its config, then the layers side by side."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from typing import TypeVar

from drivers.images.config import ConfigBlob, parse_config
from drivers.images.content import LayoutContentStore
from drivers.images.interface import Credentials, Descriptor, Progress
from drivers.images.leases import Lease, Leases
from drivers.images.limits import Limits
from drivers.images.manifest import INDEXES, Manifest, Platform, choose, parse_index, parse_manifest
from drivers.images.reference import Reference
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.fetch import Fetcher
from drivers.images.registry.repository import Repository
from drivers.images.registry.stop import Stop
from resources.errors import DataLoss, InvalidArgument, ResourceExhausted

T = TypeVar("T")
RESOLVE = "resolve"
_TICK = 0.1
_GRACE = 1.0
"""How long threads whose sockets have been cut are waited for; a name being looked up cannot be cut."""
_MAX_NESTED = 16
"""Indexes in an index that are looked into."""
_MAX_CANDIDATES = 16
"""Manifests of an index whose config has to be fetched to tell what they are for."""


@dataclass(frozen=True, slots=True)
class Pulled:
    manifest: Descriptor
    resolved: str


class Puller:
    def __init__(
        self,
        client: RegistryClient,
        content: LayoutContentStore,
        leases: Leases,
        limits: Limits,
        shared: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`shared` keeps `prune` away while it lasts."""
        self._client = client
        self._content = content
        self._leases = leases
        self._limits = limits
        self._shared = shared
        self._fetcher = Fetcher(content, client.total)

    def resolve(self, reference: Reference, credentials: Credentials | None, progress: Progress | None) -> Descriptor:
        stop = Stop()
        with self._client.session(stop) as session, _watching(stop, progress, 1) as watch:
            return watch.one(lambda: self._client.repository(session, reference, credentials).resolve())

    def pull(
        self,
        reference: Reference,
        platform: Platform,
        credentials: Credentials | None,
        progress: Progress | None,
        finish: Callable[[Pulled], T],
    ) -> T:
        """`finish` makes what is returned of it, while it is still under its lease."""
        stop = Stop()
        with self._leases.during(str(reference), str(platform)) as lease, self._client.session(stop) as session:
            with _watching(stop, progress, self._client.parallel) as watch:
                repository = watch.one(lambda: self._client.repository(session, reference, credentials))
                pulled = self._pull(_Run(repository, platform, credentials, lease, watch))
            finished = finish(pulled)
            lease.fulfilled = True
        return finished

    def _pull(self, run: "_Run") -> Pulled:
        found = run.watch.one(lambda: self._plan(run))
        self._check_room(found)
        run.watch.all([partial(self._fetch, run, layer) for layer in found.layers])
        self._content.ingest(BytesIO(found.raw), found.manifest)
        return Pulled(found.manifest, found.resolved)

    def _plan(self, run: "_Run") -> "_Found":
        reference = run.repository.reference
        target, raw = run.repository.manifest(reference.digest or reference.tag, self._limits.max_manifest)
        if target.media_type not in INDEXES:
            found = self._look(run, target, raw, target.digest)
            if not found.config.platform.matches(run.platform):
                raise self._nothing_for(run, [found.config.platform])
            return found
        candidates = choose(raw, run.platform, _nested(run, self._limits), self._limits, f"index {target.digest}")
        for entry, stated in islice(candidates, _MAX_CANDIDATES):
            entry_raw = self._by_digest(run, entry)
            found = self._look(run, entry, entry_raw, target.digest)
            # A variant is often in the index alone.
            said = found.config.platform.normal()[:2] == run.platform.normal()[:2]
            if found.config.platform.matches(run.platform) or (stated and said):
                return found
        platforms = [stated for _, stated in parse_index(raw, f"index {target.digest}", self._limits) if stated]
        raise self._nothing_for(run, platforms)

    def _by_digest(self, run: "_Run", entry: Descriptor) -> bytes:
        target, raw = run.repository.manifest(entry.digest, self._limits.max_manifest)
        if (target.size, target.media_type) != (entry.size, entry.media_type):
            raise DataLoss(f"{entry.digest} is not of the size and type that its index says")
        return raw

    def _look(self, run: "_Run", target: Descriptor, raw: bytes, resolved: str) -> "_Found":
        """Read manifest and config; from here on all that is wanted is under the lease."""
        what = f"manifest {target.digest}"
        manifest = parse_manifest(raw, what, self._limits)
        layers = _distinct(manifest, what)
        if manifest.config.size > self._limits.max_config:
            raise InvalidArgument(
                f"{what}: its config has {manifest.config.size} bytes", hint=f"at most {self._limits.max_config}"
            )
        with self._shared():
            run.lease.hold([target.digest, manifest.config.digest, *(layer.digest for layer in layers)])
        self._fetch(run, manifest.config, told=False)
        data = self._content.read(manifest.config.digest, self._limits.max_config)
        config = parse_config(data, f"config {manifest.config.digest}", self._limits)
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidArgument(f"{what}: {len(manifest.layers)} layers, but {len(config.diff_ids)} diff IDs")
        return _Found(Descriptor(manifest.media_type, target.digest, len(raw)), raw, layers, config, resolved)

    def _fetch(self, run: "_Run", blob: Descriptor, *, told: bool = True) -> None:
        def advanced(done: int) -> None:
            if told:
                run.watch.tell(blob, done)

        # Whoever says another size of the same blob is told something else of it.
        source = (run.repository.reference.name, run.credentials, blob.size)
        self._fetcher.fetch(blob, run.repository, source, advanced)

    def _check_room(self, found: "_Found") -> None:
        begun = self._content.partials()
        missing = [layer for layer in found.layers if self._content.info(layer.digest) is None]
        needed = sum(max(0, layer.size - begun.get(layer.digest, 0)) for layer in missing)
        free = self._content.free()
        if needed > free:
            raise ResourceExhausted(
                f"the image needs {needed} bytes more, {free} are free", hint="`lading image prune`, or a larger disk"
            )

    def _nothing_for(self, run: "_Run", there: Iterable[Platform]) -> InvalidArgument:
        names = sorted({str(platform) for platform in there if str(platform).isprintable()})
        return InvalidArgument(
            f"{run.repository.reference} has no image for {run.platform}",
            hint=f"there are {', '.join(names)[:400]}" if names else "its index names no platform",
        )


@dataclass(frozen=True, slots=True)
class _Run:
    repository: Repository
    platform: Platform
    credentials: Credentials | None
    lease: Lease
    watch: "_Watch"


@dataclass(frozen=True, slots=True)
class _Found:
    manifest: Descriptor
    raw: bytes
    layers: tuple[Descriptor, ...]
    config: ConfigBlob
    resolved: str


class _Watch:
    """The work of one pull in threads of its own, and the caller's thread that watches over it: only that one calls
    `progress`, ten times a second, so that whatever a thread waits for, a cancellation comes through."""

    def __init__(self, stop: Stop, progress: Progress | None, threads: int) -> None:
        self._stop = stop
        self._progress = progress
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pull")
        self._lock = threading.Lock()
        self._told: dict[str, tuple[int, int]] = {}
        self._last = (RESOLVE, 0, 0)

    def tell(self, blob: Descriptor, done: int) -> None:
        with self._lock:
            self._told[blob.digest] = (done, blob.size)

    def one(self, work: Callable[[], T]) -> T:
        future = self._pool.submit(work)
        self._until([future])
        return future.result()

    def all(self, works: Sequence[Callable[[], None]]) -> None:
        self._until([self._pool.submit(work) for work in works])

    def close(self) -> None:
        """End without waiting for threads that hang in what cannot be cut."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _until(self, futures: Sequence["Future[T]"]) -> None:
        """Raises: what the first thread that failed has raised, or `progress`."""
        running = set(futures)
        try:
            while running:
                done, running = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                self._report()
        except BaseException:
            self._stop.set()
            for future in running:
                future.cancel()
            wait(running, timeout=_GRACE)
            raise

    def _report(self) -> None:
        if self._progress is None:
            return
        with self._lock:
            told, self._told = self._told, {}
        for digest, (done, total) in told.items():
            self._last = (digest, done, total)
            self._progress(*self._last)
        if not told:
            self._progress(*self._last)


@contextmanager
def _watching(stop: Stop, progress: Progress | None, threads: int) -> Iterator[_Watch]:
    watch = _Watch(stop, progress, threads)
    try:
        yield watch
    finally:
        watch.close()


def _nested(run: _Run, limits: Limits) -> Callable[[Descriptor], bytes]:
    left = _MAX_NESTED

    def read(entry: Descriptor) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise InvalidArgument(f"the index has more than {_MAX_NESTED} indexes in it")
        return run.repository.manifest(entry.digest, limits.max_manifest)[1]

    return read


def _distinct(manifest: Manifest, what: str) -> tuple[Descriptor, ...]:
    found: dict[str, Descriptor] = {}
    for layer in manifest.layers:
        if found.setdefault(layer.digest, layer).size != layer.size:
            raise InvalidArgument(f"{what}: {layer.digest} has two sizes")
    return tuple(found.values())
