"""Long work in bounded pools of threads: import, unpack, populate, probes. An `act` starts a job, `observe` reads it.

A job's ID is the key it works for and a word: `image:<uid>/import`. When it ends its key is woken. States live as long as
the process: a job that died with an engine was never begun, for all the next one knows, and its reconciler begins again.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from reconcilers.interface import JobProgress, JobState
from resources.errors import Cancelled, engine_error
from resources.kinds import Kind
from resources.meta import Key

_KINDS = {kind.lower(): kind for kind in Kind}


@dataclass(slots=True)
class _Job:
    state: JobState
    cancelled: threading.Event
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Progress may come from several threads."""


class _Pool:
    """What is submitted runs in order, but a lane never takes more than a third: a slow registry leaves room for others."""

    def __init__(self, name: str, size: int) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=f"{name}-job")
        self._size = size
        self._lock = threading.Lock()
        self._queue: list[tuple[str, Callable[[], None]]] = []
        self._busy: Counter[str] = Counter()
        """By lane."""

    def submit(self, lane: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._queue.append((lane, work))
            self._fill()

    def close(self) -> None:
        with self._lock:
            self._queue.clear()
            self._size = 0
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fill(self) -> None:
        while self._busy.total() < self._size:
            place = next((place for place, (lane, _) in enumerate(self._queue) if self._has_room(lane)), None)
            if place is None:
                break
            lane, work = self._queue.pop(place)
            self._busy[lane] += 1
            self._threads.submit(self._run, lane, work)

    def _has_room(self, lane: str) -> bool:
        return not lane or self._busy[lane] < -(-self._size // 3)

    def _run(self, lane: str, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._busy[lane] -= 1
                self._busy += Counter()  # drops lanes that nobody is in
                self._fill()


class ThreadJobs:
    """`pools` says how many may run at once in each; what is more waits in order."""

    def __init__(self, pools: Mapping[str, int], on_end: Callable[[Key], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._pools = {name: _Pool(name, size) for name, size in pools.items()}

    def start(self, job_id: str, pool: str, work: Callable[[JobProgress], None], lane: str = "") -> None:
        with self._lock:
            known = self._jobs.get(job_id)
            if known and known.state.running:
                return
            job = self._jobs[job_id] = _Job(JobState(running=True), threading.Event())
        self._pools[pool].submit(lane, lambda: self._run(job_id, job, work))

    def state(self, job_id: str) -> JobState | None:
        with self._lock:
            job = self._jobs.get(job_id)
            return job.state if job else None

    def of(self, owner: str) -> Mapping[str, JobState]:
        with self._lock:
            return {job_id: job.state for job_id, job in self._jobs.items() if job_id.startswith(f"{owner}/")}

    def cancel(self, job_id: str) -> None:
        with self._lock:
            job = self._jobs.get(job_id)
        if job:
            job.cancelled.set()

    def forget(self, job_id: str) -> None:
        """One that still runs is cancelled, and nobody reads how it ends."""
        with self._lock:
            job = self._jobs.pop(job_id, None)
        if job:
            job.cancelled.set()

    def running(self) -> int:
        with self._lock:
            return sum(job.state.running for job in self._jobs.values())

    def close(self) -> None:
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancelled.set()
        for pool in self._pools.values():
            pool.close()

    def _run(self, job_id: str, job: _Job, work: Callable[[JobProgress], None]) -> None:
        def progress(what: str, done: int, total: int) -> None:
            if job.cancelled.is_set():
                raise Cancelled(f"{what} was cancelled")
            with job.lock:
                job.state = job.state.told(what, done, total)

        error: Exception | None = None
        try:
            if job.cancelled.is_set():
                raise Cancelled("the work was cancelled before it began")
            work(progress)
        except Exception as failure:  # whatever a job dies of is its state, for its reconciler to judge
            error = engine_error(failure)
        with job.lock:
            job.state = replace(job.state, running=False, error=error)
        self._on_end(job_key(job_id))


def job_key(job_id: str) -> Key:
    kind, _, rest = job_id.partition(":")
    return Key(kind=_KINDS[kind], uid=rest.partition("/")[0])
