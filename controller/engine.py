"""The loop: workers take keys from the queue and reconcile them. Everything that retries, retries here.

One pass over a key: get what is desired, observe, diff, act, and again until there is nothing to do now; then report a
status. Nothing is remembered between passes but statuses of this life, which gate what depends on them, and when to look
again. A status of an earlier life gates nothing: after a restart everything is looked at before anything is relied upon.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import structlog

from controller.graph import dependencies
from controller.graph.blockers import blockers
from controller.graph.implied import as_used
from controller.graph.unseen import unseen_changes
from controller.graph.users import Users
from controller.reports.conditions import gating, kept_times, news, with_failure
from controller.reports.drift import Drift
from controller.reports.failures import Failures, expected, retryable
from controller.store.objects import ObjectStore
from controller.workqueue import WorkQueue
from reconcilers.interface import ChangeKind, Context, Diff, Events, Reconciler
from resources.errors import Conflict, NotFound, engine_error
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object

_ROUNDS = 16
"""Of observing and acting in one pass; a key that wants more goes to the end of the queue."""
_MOMENT = 0.05
"""Seconds until a key whose turn has not come is looked at, if nothing wakes it before."""
SLOW_ACT = 0.25
"""Seconds an act may hold a worker."""


Standing = tuple[tuple[Key, int, Any], ...]


@runtime_checkable
class Refreshing(Protocol):
    """A reconciler of what may have become another though nobody changed it here."""

    def refresh(self, key: Key, *, ask: bool) -> None:
        """An apply has come by: what failed is tried again at once. With `ask` the apply names the object itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last pass over a key ended."""

    resource_version: int
    waiting: str = ""
    error: str = ""
    dependencies: Standing = ()
    """How what it refers to stood when that pass began."""


class Engine:
    def __init__(
        self,
        objects: ObjectStore,
        reconcilers: Mapping[Kind, Reconciler[Any, Any]],
        events: Events,
        now: Callable[[], datetime],
        workers: int,
        queue: WorkQueue[Key] | None = None,
    ) -> None:
        self.objects = objects
        self.reconcilers = reconcilers
        self.events = events
        self.queue: WorkQueue[Key] = queue or WorkQueue()
        self.slowest_act = ("", 0.0)
        self.on_rest: Callable[[Object], None] = lambda _: None
        """Called when an object has become ready, is so in a new generation, or is gone."""
        self._now = now
        self._log = structlog.get_logger()
        self._lock = threading.Lock()
        self._statuses: dict[Key, Status] = {}
        self._outcomes: dict[Key, Outcome] = {}
        self._drift = Drift(events)
        self._failures = Failures(events)
        self._given = 0
        """How often something was given back that others may wait for."""
        self._users = Users()
        self._threads = [threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(workers)]

    def start(self) -> None:
        for item in self.objects.list():
            self._users.update(item)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No action is begun any more; those under way are finished."""
        self.queue.close()
        for thread in self._threads:
            thread.join()

    def wake(self, key: Key) -> None:
        """Look at the object, and at those whose turn may depend on it."""
        item = self.objects.get(key)
        self.queue.add(key)
        if item is not None:
            self._wake_unused(self._users.update(item))
            self._wake_related(item)

    def refresh(self, item: Object) -> None:
        """An apply has named the object: it is looked at, and so is what it uses that may have become another."""
        for one in (item, *_there(dependencies.targets(item, self.objects)).values()):
            reconciler = self.reconcilers.get(one.kind)
            if isinstance(reconciler, Refreshing):
                reconciler.refresh(one.key, ask=one is item)
                self.queue.add(one.key)
        self.queue.add(item.key)

    def wake_all(self) -> None:
        for item in self.objects.list():
            self.queue.add(item.key)

    def status(self, key: Key) -> Status | None:
        """As of this life."""
        with self._lock:
            return self._statuses.get(key)

    def ready(self, item: Object) -> bool:
        """As of this life, and as it is asked for now."""
        status = self.status(item.key)
        return status is not None and status.ready and status.observed_generation >= item.metadata.generation

    def standing(self, item: Object | None) -> Standing:
        """How what it refers to stands: what it comes to may change when this does."""
        if item is None:
            return ()
        found = [target for target in dependencies.targets(item, self.objects).values() if target is not None]
        return tuple((one.key, one.metadata.resource_version, gating(self.status(one.key))) for one in found)

    def outcome(self, key: Key) -> Outcome | None:
        with self._lock:
            return self._outcomes.get(key)

    def users(self, ref: Ref) -> Sequence[Object]:
        found = (self.objects.get(key) for key in self._users.of(ref))
        return [item for item in found if item is not None]

    def context(self, desired: Object | None) -> Context:
        if desired is None:
            return Context(now=self._now())
        targets = dependencies.targets(desired, self.objects)
        waits_for = blockers(desired, targets, self.users(desired.ref), self.status)
        return Context(now=self._now(), dependencies=_there(targets), blockers=waits_for)

    def planning_context(
        self, desired: Object, after: dependencies.Listing, changing: Mapping[Ref, ChangeKind]
    ) -> Context:
        """With the objects as they would be after an apply."""
        found = _there(dependencies.targets(desired, after))
        return Context(now=self._now(), dependencies=found, planning=True, changing=changing)

    def step(self, *, wait: bool = False) -> bool:
        """Reconcile one key on the calling thread; False when there is none now, or, having waited, none any more."""
        key = self.queue.get(wait=wait)
        if key is None:
            return False
        try:
            self._reconcile(key)
        except Exception as error:  # a worker outlives whatever one object does to it
            self._failed(key, engine_error(error))
        finally:
            self.queue.done(key)
        return True

    def _work(self) -> None:
        while self.step(wait=True):
            pass

    def _reconcile(self, key: Key) -> None:
        reconciler = self.reconcilers[key.kind]
        failure: Exception | None = None
        if self._too_early(key):
            return
        for _ in range(_ROUNDS):
            given = self._given
            desired = self._desired(key)
            standing = self.standing(desired)
            context = self.context(desired)
            observed = reconciler.observe(key, desired, context)
            diff = reconciler.diff(desired, observed, context)
            self._drift.tell(key, diff)
            if failure is not None or not diff.actions:
                break
            failure = self._act(key, reconciler, diff)
        if failure is None:
            self.queue.forget(key)
        else:
            self._retry(key, failure)
        if diff.wake_at is not None:
            self.queue.add_after(key, (diff.wake_at - context.now).total_seconds())
        if failure is None and diff.actions:
            self.queue.add(key)
        if desired is None:
            self._forget(key)
            if failure is None:
                self._failures.forget(key)
            else:
                self._failures.tell(key, failure)
            return
        outcome = Outcome(desired.metadata.resource_version, diff.waiting, str(failure or ""), standing)
        self._end(desired, diff, outcome, reconciler.status(desired, observed, context), failure)
        if outcome.waiting and given != self._given:  # by somebody who could not know yet that it waits
            self.queue.add(key)

    def _too_early(self, key: Key) -> bool:
        item = self.objects.get(key)
        if item is None or item.deleting:
            return False
        unseen = unseen_changes(item, dependencies.targets(item, self.objects), self.status, self.outcome)
        for other in unseen:
            self.queue.add(other)
        if unseen:
            self.queue.add_after(key, _MOMENT)
        return bool(unseen)

    def _desired(self, key: Key) -> Object | None:
        """What is desired. An implied object stays and goes with its users: no write at all may come between looking for
        them and saying so."""
        changed = self.objects.changed()
        item = self.objects.get(key)
        if item is None or not item.metadata.implied or (self._users.used(item.ref) and not item.deleting):
            return item
        after = as_used(item, self.objects.snapshot(), self._now())
        if after == item:
            return item
        try:
            self.objects.commit([after], expect=changed)
        except Conflict:
            self.queue.add(key)
            return item
        why = ("Unused", "nothing uses it any more") if after.deleting else ("Used", "it is used again")
        self.events.emit(key, *why)
        return self.objects.get(key)

    def _act(self, key: Key, reconciler: Reconciler[Any, Any], diff: Diff[Any]) -> Exception | None:
        for action in diff.actions:
            begun = self._now()
            try:
                reconciler.act(action)
            except Exception as error:
                return engine_error(error)
            took = (self._now() - begun).total_seconds()
            if took > self.slowest_act[1]:
                self.slowest_act = (type(action).__name__, took)
            if getattr(action, "wakes", False):
                self._wake_waiting(key)
            if not getattr(action, "quiet", False):
                self.events.emit(key, type(action).__name__, action.describe())
        return None

    def _end(
        self, desired: Object, diff: Diff[Any], outcome: Outcome, report: Status, failure: Exception | None
    ) -> None:
        if failure is not None:
            self._report(desired, with_failure(report, failure, self._now()), outcome)
        elif desired.deleting and not (diff.actions or diff.waiting or diff.wake_at):
            self._remove(desired)
        else:
            self._report(desired, report, outcome)
            if not diff.actions:
                self._auto_remove(desired, report)

    def _retry(self, key: Key, failure: Exception) -> None:
        """The one retry switch: what can never work as asked waits for a new generation, or for the next resync."""
        if retryable(failure):
            self.queue.add_backoff(key)
        if not expected(failure):
            self._log.error("an error that should have been an EngineError", key=str(key), exc_info=failure)

    def _failed(self, key: Key, error: Exception) -> None:
        """The pass itself failed: observing, or writing the status."""
        self._retry(key, error)
        try:
            item = self.objects.get(key)
            if item is None:
                self._failures.tell(key, error)
            else:
                report = with_failure(self._seen(item), error, self._now())
                report = report.model_copy(
                    update={"observed_generation": (self.status(key) or Status()).observed_generation}
                )
                self._report(item, report, Outcome(item.metadata.resource_version, "", str(error)))
        except Exception as second:
            self._log.error("the status cannot be written", key=str(key), exc_info=second)

    def _seen(self, item: Object) -> Status:
        """What was reported last, under the name of what was tried to look at now."""
        update: dict[str, Any] = {"observed_generation": item.metadata.generation}
        update |= {"phase": "Deleting"} if item.deleting else {}
        return (self.status(item.key) or Status()).model_copy(update=update)

    def _report(self, item: Object, status: Status, outcome: Outcome) -> None:
        key = item.key
        before = self.status(key)
        report = kept_times(before or self.objects.status(key), status)
        self.objects.put_status(key, report)
        with self._lock:
            self._statuses[key] = report
            self._outcomes[key] = outcome
        if news(before) != news(report):
            self._wake_users(item)
        self._failures.note(key, before, report, again=bool(outcome.error))
        if report.ready and not (before and before.ready and before.observed_generation == report.observed_generation):
            self.on_rest(item)

    def _remove(self, item: Object) -> None:
        try:
            self.objects.remove(item.key, resource_version=item.metadata.resource_version)
        except (Conflict, NotFound):
            self.queue.add(item.key)
            return
        self.events.emit(item.key, "Deleted", f"{item.ref} is gone")
        self._forget(item.key)
        self._failures.forget(item.key)
        self.on_rest(item)
        self._wake_related(item)
        self._wake_waiting(item.key)

    def _auto_remove(self, item: Object, report: Status) -> None:
        ended = item.kind is Kind.CONTAINER and item.effective.auto_remove
        if ended and not item.deleting and report.phase in ("Completed", "Failed", "Stopped"):
            self.objects.edit(item.key, lambda found: marked_for_deletion(found, self._now()))
            self.queue.add(item.key)

    def _forget(self, key: Key) -> None:
        self._wake_unused(self._users.forget(key))
        with self._lock:
            self._statuses.pop(key, None)
            self._outcomes.pop(key, None)
        self._drift.forget(key)

    def _wake_related(self, item: Object) -> None:
        """Those that use it, and, when it is going, those it used: they may have waited for that."""
        self._wake_users(item)
        for target in dependencies.targets(item, self.objects).values():
            if target is not None and target.deleting:
                self.queue.add(target.key)

    def _wake_waiting(self, key: Key) -> None:
        """It has given back what others may wait for (a subnet, an address, a port), or is mended, which its users go by."""
        with self._lock:
            self._given += 1
            found = [other for other, outcome in self._outcomes.items() if outcome.waiting or outcome.error]
            waiting = [other for other in found if self._statuses[other].phase != "Deleting"]
        item = self.objects.get(key)
        used = _there(dependencies.targets(item, self.objects)).values() if item is not None else ()
        users = self._users.of(item.ref) if item is not None else ()
        for other in (*waiting, *users, *(target.key for target in used)):
            if other != key:
                self.queue.add(other)

    def _wake_unused(self, refs: Iterable[Ref]) -> None:
        """What is implied goes with its last user."""
        for item in map(self.objects.find, refs):
            if item is not None and item.metadata.implied and not self._users.used(item.ref):
                self.queue.add(item.key)

    def _wake_users(self, item: Object) -> None:
        for key in self._users.of(item.ref):
            self.queue.add(key)


def _there(targets: Mapping[Ref, Object | None]) -> dict[Ref, Object]:
    return {ref: item for ref, item in targets.items() if item is not None}


def marked_for_deletion(item: Object, now: datetime, *, data: bool = False) -> Object:
    changes = {
        "deletion_timestamp": item.metadata.deletion_timestamp or now,
        "delete_data": item.metadata.delete_data or data,
    }
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=changes)})
