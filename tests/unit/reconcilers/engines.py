"""What reconcilers need of an engine, driven by hand: jobs that run when told, inputs, objects, and the loop itself."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from reconcilers.interface import Context, Diff, JobProgress, JobState, Reconciler
from resources.errors import Cancelled
from resources.kinds import Kind
from resources.meta import Key, ObjectMeta, Ref, Status
from resources.object import EFFECTIVE, SPECS, Input, Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone, now."""


@dataclass(slots=True)
class Fuse:
    """Lets so many steps of acts and jobs happen, then kills."""

    left: int = 1_000_000

    def step(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1


class ManualJobs:
    """Jobs that run when `run` is called, on the caller's thread."""

    def __init__(self, fuse: Fuse | None = None) -> None:
        self.fuse = fuse or Fuse()
        self.states: dict[str, JobState] = {}
        self.cancelled: set[str] = set()
        self.started: list[str] = []
        self._work: dict[str, Callable[[JobProgress], None]] = {}

    def start(self, job_id: str, pool: str, work: Callable[[JobProgress], None], lane: str = "") -> None:
        if job_id in self._work:
            return
        self.started.append(job_id)
        self.cancelled.discard(job_id)
        self._work[job_id] = work
        self.states[job_id] = JobState(running=True)

    def state(self, job_id: str) -> JobState | None:
        return self.states.get(job_id)

    def of(self, owner: str) -> Mapping[str, JobState]:
        return {job_id: state for job_id, state in self.states.items() if job_id.startswith(f"{owner}/")}

    def cancel(self, job_id: str) -> None:
        self.cancelled.add(job_id)

    def forget(self, job_id: str) -> None:
        self.cancelled.add(job_id)
        self.states.pop(job_id, None)
        self._work.pop(job_id, None)

    def run(self) -> bool:
        """Run what is queued; False when there was nothing."""
        queued = list(self._work)
        for job_id in queued:
            self._run(job_id)
        return bool(queued)

    def _run(self, job_id: str) -> None:
        def progress(what: str, done: int, total: int) -> None:
            self.fuse.step()
            if job_id in self.cancelled:
                raise Cancelled(f"{what} was cancelled")
            if job_id in self.states:
                self.states[job_id] = self.states[job_id].told(what, done, total)

        error: Exception | None = None
        try:
            self._work[job_id](progress)
        except Exception as failure:
            error = failure
        self._work.pop(job_id, None)
        if job_id in self.states:  # of one that was forgotten nobody reads how it ends
            self.states[job_id] = replace(self.states[job_id], running=False, error=error)


@dataclass(slots=True)
class FolderInputs:
    """Inputs as files named by their digest's hex digits."""

    folder: Path
    gone: set[str] = field(default_factory=set)

    def path(self, digest: str) -> Path | None:
        path = self.folder / digest.removeprefix("sha256:")
        return path if path.exists() and digest not in self.gone else None

    def put(self, letter: str) -> str:
        digest = digest_of(letter)
        (self.folder / digest.removeprefix("sha256:")).write_bytes(letter.encode())
        return digest


def digest_of(letter: str) -> str:
    """A digest one can read."""
    return "sha256:" + (letter.encode().hex() * 64)[:64]


def uid_of(name: str) -> str:
    return (name.encode().hex() * 32)[:32]


def made(
    kind: Kind,
    name: str,
    spec: Mapping[str, Any],
    *,
    effective: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    generation: int = 1,
    deleting: bool = False,
    delete_data: bool = False,
) -> Object:
    """An object as the store keeps it. `inputs` are digests by field."""
    plain = json.loads(json.dumps(spec))
    return Object(
        kind=kind,
        metadata=ObjectMeta(
            name=name,
            uid=uid_of(name),
            generation=generation,
            creation_timestamp=NOW,
            deletion_timestamp=NOW if deleting else None,
            delete_data=delete_data,
        ),
        spec=SPECS[kind].parse(plain),
        effective=EFFECTIVE[kind].parse(plain if effective is None else effective),
        inputs={path: Input(digest=digest, size=1) for path, digest in (inputs or {}).items()},
    )


def deleted(item: Object, *, data: bool = False) -> Object:
    changes = {"deletion_timestamp": NOW, "delete_data": data}
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=changes)})


class Loop:
    """One life of an engine, with one reconciler. `build` makes it of the jobs and the clock."""

    def __init__(
        self,
        build: Callable[[ManualJobs, Callable[[], datetime]], Reconciler[Any, Any]],
        fuse: Fuse | None = None,
    ) -> None:
        self.fuse = fuse or Fuse()
        self.now = NOW
        self.jobs = ManualJobs(self.fuse)
        self.reconciler = build(self.jobs, lambda: self.now)
        self.dependencies: Mapping[Ref, Object] = {}
        self.blockers: tuple[str, ...] = ()
        self.acted: list[str] = []
        """Names of the actions, in order."""

    def context(self, *, planning: bool = False) -> Context:
        return Context(self.now, self.dependencies, self.blockers, planning)

    def look(self, key: Key, desired: Object | None, *, planning: bool = False) -> Diff[Any]:
        context = self.context(planning=planning)
        return self.reconciler.diff(desired, self.reconciler.observe(key, desired, context), context)

    def plan(self, desired: Object) -> list[str]:
        return [action.describe() for action in self.look(desired.key, desired, planning=True).actions]

    def converge(self, desired: Object | None, key: Key | None = None, *, jobs: bool = True) -> Diff[Any]:
        """Until there is nothing to do now; with `jobs`, until no work goes on either. The last diff."""
        where = key or (desired.key if desired else None)
        if where is None:
            raise ValueError("converge what?")
        for _ in range(50):
            diff = self.look(where, desired)
            if not diff.actions and not (jobs and self.jobs.run()):
                return diff
            for action in diff.actions:
                self.fuse.step()
                self.reconciler.act(action)
                self.acted.append(type(action).__name__)
        raise RuntimeError(f"does not converge: {self.acted[-20:]}")

    def status(self, desired: Object) -> Status:
        context = self.context()
        return self.reconciler.status(desired, self.reconciler.observe(desired.key, desired, context), context)

    def wait(self, until: datetime | None) -> None:
        self.now = until or self.now + timedelta(seconds=1)


W = TypeVar("W")


def killed_at_every_step(make: Callable[[], W], work: Callable[[W, Fuse], None]) -> Iterator[W]:
    """Worlds in which the engine was killed while it worked: after no step, after one, and so on until it was done."""
    for steps in range(200):
        world = make()
        try:
            work(world, Fuse(steps))
        except Killed:
            yield world
        else:
            if steps == 0:
                raise RuntimeError("there was nothing to do")
            return
    raise RuntimeError("200 steps are not enough")
