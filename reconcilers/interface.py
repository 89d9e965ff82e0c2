"""The contract of reconcilers: converge one kind, level-triggered, from observed to desired.

The engine calls, for one key at a time per key and on any worker thread::

    observed = reconciler.observe(key, desired, context)
    diff     = reconciler.diff(desired, observed, context)         # pure: `plan` calls the same
    for action in diff.actions: reconciler.act(action)
    status   = reconciler.status(desired, reconciler.observe(…), context)   # pure

`observe` reads, `diff` decides, `act` writes; no function does two of these. Observed values live on the stack of one
reconcile and nowhere else. `diff` never reads a status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object
from resources.secret import Sealed

_PARTS = 64


class ChangeKind(IntEnum):
    """What a change does to what runs, mildest first (architecture.md §5); a plan shows the worst of its changes."""

    NONE = 0
    HOT = 1
    RESTART = 2
    RECREATE = 3
    DATA_LOSS = 4


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field whose observed or applied value is not the desired one. Values are JSON; secrets never appear."""

    path: str
    """As in a manifest: `spec.resources.memory`."""
    old: Any
    new: Any
    kind: ChangeKind
    drift: bool = False
    """Somebody else changed the host; the manifest did not."""


class Action(Protocol):
    """One step; a frozen dataclass named verb + noun (`CreateSandbox`). Carries all it needs.

    A class attribute `quiet` that is true says that doing it is routine (a probe, a look) and worth no event; `wakes`, that
    others may have waited for just this: those that wait are looked at again."""

    def describe(self) -> str:
        """Say it in one line for plan and events; no secret."""


A = TypeVar("A")
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True, slots=True)
class Diff(Generic[A]):
    actions: tuple[A, ...] = ()
    """In order; empty means converged, or waiting."""
    changes: tuple[FieldChange, ...] = ()
    """Why, field by field; what plan prints."""
    kind: ChangeKind = ChangeKind.NONE
    wake_at: datetime | None = None
    """Look again then: backoff, stop timeout, next probe."""
    waiting: str = ""
    """For what, when there is something to do that cannot be done yet."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a decision may know besides its two states."""

    now: datetime
    dependencies: Mapping[Ref, Object] = field(default_factory=dict)
    """The objects this one refers to that exist, by what it calls them."""
    blockers: tuple[str, ...] = ()
    """What must happen first, in words ("container/db is not healthy"): while there is any, nothing is created or
    started, and when deleting nothing is removed that others still use. What runs already goes on."""
    planning: bool = False
    """Nothing will be acted on. Dependencies may not be there yet: what depends on them is "known after apply", and a
    thing that waits is shown as what will happen once it need not wait."""
    changing: Mapping[Ref, ChangeKind] = field(default_factory=dict)
    """Planning: what else is planned for, by then, and what comes of it."""


class Sealer(Protocol):
    """Opens the values of secrets. Only an `act` that projects a value, or writes a config.json, calls it."""

    def open(self, sealed: Sealed) -> bytes:
        """Raises: DataLoss when the host's key does not open it."""


class Inputs(Protocol):
    """Large content a client has sent for an object (`Object.inputs`), kept until the object needs it no more."""

    def path(self, digest: str) -> Path | None:
        """The verified file; None when it is not here (any more): the object says so and waits for the next apply."""


class Events(Protocol):
    """Where an `act` may tell what happened beside the actions themselves (those the engine tells)."""

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        """`reason` is CamelCase (`OOMKilled`, `LogRotated`, `ProbeFailed`). Never raises; no secret."""


class Jobs(Protocol):
    """Long work (import, unpack, populate) in bounded pools; `act` starts it, `observe` reads it."""

    def start(self, job_id: str, pool: str, work: Callable[["JobProgress"], None], lane: str = "") -> None:
        """Queue the work once: running or queued already is fine; a failed one of the same ID is begun again.

        Jobs of one lane (what they wait for: a registry) never take more than a third of the pool.
        On the end of a job its key, the part of `job_id` before "/" (`image:<uid>`), is woken.
        """

    def state(self, job_id: str) -> "JobState | None": ...

    def of(self, owner: str) -> Mapping[str, "JobState"]:
        """All that are known of one object (`container:<uid>`), by ID."""

    def cancel(self, job_id: str) -> None: ...

    def forget(self, job_id: str) -> None: ...


class JobProgress(Protocol):
    def __call__(self, what: str, done: int, total: int) -> None:
        """Raises: Cancelled when the job has been cancelled."""


@dataclass(frozen=True, slots=True)
class JobPart:
    """One of the things a job does, side by side or one after the other: a layer that is fetched."""

    what: str
    done: int
    total: int
    """0 where that is not known."""


@dataclass(frozen=True, slots=True)
class JobState:
    running: bool
    what: str = ""
    """What it has told of last, and how far that is."""
    done: int = 0
    total: int = 0
    error: Exception | None = None
    """Set when it failed; a finished job that did not fail has running False and no error."""
    parts: tuple[JobPart, ...] = ()
    """Each thing it has told of, in the order in which it first did; of very many the first."""

    def told(self, what: str, done: int, total: int) -> "JobState":
        """With what the work has just told of itself."""
        part = JobPart(what, done, total)
        place = next((number for number, known in enumerate(self.parts) if known.what == what), len(self.parts))
        parts = (*self.parts[:place], part, *self.parts[place + 1 :])[:_PARTS]
        return replace(self, what=what, done=done, total=total, parts=parts)


class Reconciler(Protocol[O, A]):
    """Converge one kind."""

    kind: Kind

    def observe(self, key: Key, desired: Object | None, context: Context) -> O:
        """Read drivers and kernel; change nothing. Absence is a value, not an error. `desired` None: only what is there
        under this uid is of interest, to be removed."""

    def diff(self, desired: Object | None, observed: O, context: Context) -> Diff[A]:
        """Decide, purely. None or `desired.deleting`: it must not exist. Performing the actions and looking again must
        reach an empty Diff."""

    def act(self, action: A) -> None:
        """Perform one action, idempotently, within 250 ms. Raises: EngineError; `retryable` decides what follows."""

    def status(self, desired: Object, observed: O, context: Context) -> Status:
        """Say purely what is so. Conditions' times are `context.now`; the engine keeps the old time where nothing changed."""

    def known(self) -> list[Key]:
        """Every key the drivers hold something of ours for: the orphan sweep deletes listed minus stored."""
