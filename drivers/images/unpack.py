"""Unpack images: layers side by side in worker processes, committed from the bottom up under their chain IDs.

Every layer but the first missing one is extracted without knowing those below, on the empty parent, and put on its parent
when that is committed. The few that need what is below them (a folder that is not in the layer itself, a hard link to a
lower file) are done again then.
"""

import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drivers.images.digest import chain_ids
from drivers.images.extract import Extracted, NeedsLower
from drivers.images.interface import Descriptor, Image, Progress
from drivers.images.layer import LayerJob, unpack_layer
from drivers.images.limits import DEFAULT, Limits
from drivers.images.unpack_process import UnpackProcess
from drivers.snapshots.interface import SnapshotKind, Snapshotter
from resources.errors import Cancelled, EngineError

KEY = "unpack-"
_SMALL = 1 << 20
"""Layers below this are unpacked in a thread: starting a process costs more."""


@dataclass(slots=True)
class _Run:
    """One call of unpack: what it has under way."""

    image: Image
    chain: tuple[str, ...]
    progress: Progress | None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    stopped: threading.Event = field(default_factory=threading.Event)
    processes: set[UnpackProcess] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def key(self, index: int, attempt: str = "") -> str:
        return f"{KEY}{self.token}-{index}{attempt}"

    def stop(self) -> None:
        with self.lock:
            self.stopped.set()
            for process in self.processes:
                process.kill()


class Unpacker:
    def __init__(self, blob_path: Callable[[str], Path], snapshotter: Snapshotter, limits: Limits = DEFAULT) -> None:
        self._blob_path = blob_path
        self._snapshotter = snapshotter
        self._limits = limits
        self._workers = max(2, os.cpu_count() or 2)
        self._slots = threading.BoundedSemaphore(self._workers)
        self._flights: dict[str, tuple[threading.Lock, int]] = {}
        self._flights_lock = threading.Lock()

    def unpacked(self, chain_id: str) -> bool:
        if not chain_id:
            return True
        info = self._snapshotter.stat(chain_id)
        return info is not None and info.kind is SnapshotKind.COMMITTED

    def unpack(self, image: Image, progress: Progress | None = None) -> None:
        chain = chain_ids(image.diff_ids)
        while (first := self._first_missing(chain)) < len(chain):
            # Images with the same base at once: the second waits for the first here, then finds its layers.
            with self._flight(chain[first]):
                if self._first_missing(chain) == first:
                    self._unpack_from(first, _Run(image, chain, progress))

    def cleanup(self) -> int:
        """Remove what unpacks left that a killed engine had under way. Only before any is started."""
        stale = [info.key for info in self._snapshotter.walk() if _is_leftover(info.key, info.kind)]
        for key in stale:
            self._snapshotter.remove(key)
        return len(stale)

    def _first_missing(self, chain: tuple[str, ...]) -> int:
        missing = len(chain)
        while missing and not self.unpacked(chain[missing - 1]):
            missing -= 1
        return missing

    @contextmanager
    def _flight(self, chain_id: str) -> Iterator[None]:
        with self._flights_lock:
            lock, users = self._flights.get(chain_id, (threading.Lock(), 0))
            self._flights[chain_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._flights_lock:
                lock, users = self._flights.pop(chain_id)
                if users > 1:
                    self._flights[chain_id] = (lock, users - 1)

    def _unpack_from(self, first: int, run: _Run) -> None:
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="unpack")
        try:
            layers = range(first, len(run.chain))
            futures = {i: pool.submit(self._extract, run, i, i == first) for i in layers}
            for i in layers:
                self._commit(run, i, self._result(run, i, futures[i]))
        except BaseException:
            run.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._sweep(run)

    def _result(self, run: _Run, index: int, future: Future[Extracted]) -> Extracted:
        try:
            return future.result()
        except NeedsLower:
            self._snapshotter.remove(run.key(index))
            return self._extract(run, index, True)
        except CancelledError as error:
            raise Cancelled("unpacking was cancelled") from error

    def _extract(self, run: _Run, index: int, below_known: bool) -> Extracted:
        parent = run.chain[index - 1] if index and below_known else ""
        mounts = self._snapshotter.prepare(run.key(index), parent)
        lower: tuple[Path, ...] | None = None
        if below_known or index == 0:
            lower = mounts[0].lower
        layer = run.image.layers[index]
        job = LayerJob(
            self._blob_path(layer.digest),
            self._snapshotter.directory(run.key(index)),
            layer.media_type,
            layer.digest,
            layer.size,
            run.image.diff_ids[index],
            lower,
        )
        progress = _layer_progress(run, layer)
        with self._slots:
            if run.stopped.is_set():
                raise Cancelled("unpacking was cancelled")
            if layer.size < _SMALL:
                return unpack_layer(job, progress, self._limits)
            with self._process(run, job) as process:
                try:
                    return process.run(progress)
                except EngineError as error:
                    if run.stopped.is_set():
                        raise Cancelled("unpacking was cancelled") from error
                    raise

    @contextmanager
    def _process(self, run: _Run, job: LayerJob) -> Iterator[UnpackProcess]:
        process = UnpackProcess(job, self._limits)
        with run.lock:
            run.processes.add(process)
            if run.stopped.is_set():
                process.kill()
        try:
            yield process
        finally:
            with run.lock:
                run.processes.discard(process)

    def _commit(self, run: _Run, index: int, result: Extracted) -> None:
        key, parent = run.key(index), run.chain[index - 1] if index else ""
        info = self._snapshotter.stat(key)
        if parent and not result.root_seen and info and info.parent == "":
            self._take_root(run, index, parent)
        # Nothing below an opaque root is ever seen, and overlayfs heeds no mark on a root: leave the layers below away.
        self._snapshotter.commit(run.chain[index], key, parent="" if result.root_opaque else parent)

    def _take_root(self, run: _Run, index: int, parent: str) -> None:
        """Give a layer that says nothing of its root folder that of the layer below."""
        probe = run.key(index, "-root")
        self._snapshotter.prepare(probe, parent)
        status = self._snapshotter.directory(probe).stat()
        own = self._snapshotter.directory(run.key(index))
        os.chown(own, status.st_uid, status.st_gid)
        os.chmod(own, stat.S_IMODE(status.st_mode))
        self._snapshotter.remove(probe)

    def _sweep(self, run: _Run) -> None:
        for info in list(self._snapshotter.walk()):
            if info.key.startswith(f"{KEY}{run.token}-"):
                self._snapshotter.remove(info.key)


def _layer_progress(run: _Run, layer: Descriptor) -> Callable[[int], None] | None:
    progress = run.progress
    if progress is None:
        return None
    what = f"unpack {layer.digest}"
    return lambda done: progress(what, done, layer.size)


def _is_leftover(key: str, kind: SnapshotKind) -> bool:
    return key.startswith(KEY) and kind is not SnapshotKind.COMMITTED
