"""Long work in bounded pools of threads: import, unpack, populate, probes. An `act` starts a job, `observe` reads it.

A job's ID is the key it works for and a word: `image:<uid>/import`. When it ends its key is woken. States live as long as
the process: a job that died with an engine was never begun, for all the next one knows, and its reconciler begins again.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from reconcilers.interface import JobProgress, JobState
from resources.errors import Cancelled
from resources.kinds import Kind
from resources.meta import Key

_KINDS = {kind.lower(): kind for kind in Kind}


@dataclass(slots=True)
class _Job:
    state: JobState
    cancelled: threading.Event
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Progress may come from several threads."""


class ThreadJobs:
    """`pools` says how many may run at once in each; what is more waits in order."""

    def __init__(self, pools: Mapping[str, int], on_end: Callable[[Key], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._pools = {name: ThreadPoolExecutor(size, thread_name_prefix=f"{name}-job") for name, size in pools.items()}

    def start(self, job_id: str, pool: str, work: Callable[[JobProgress], None]) -> None:
        with self._lock:
            known = self._jobs.get(job_id)
            if known and known.state.running:
                return
            job = self._jobs[job_id] = _Job(JobState(running=True), threading.Event())
        self._pools[pool].submit(self._run, job_id, job, work)

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
            pool.shutdown(wait=False, cancel_futures=True)

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
            error = failure
        with job.lock:
            job.state = replace(job.state, running=False, error=error)
        self._on_end(job_key(job_id))


def job_key(job_id: str) -> Key:
    kind, _, rest = job_id.partition(":")
    return Key(kind=_KINDS[kind], uid=rest.partition("/")[0])
