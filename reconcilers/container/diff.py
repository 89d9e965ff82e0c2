"""Decide what a Container needs (PURE).

What is asked for (running, paused, stopped, created) meets what is there: nothing yet, a process that lives, or one that
has ended. Differences in what was applied say whether it is enough to touch it, or whether it has to be started or made
again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drivers.images.interface import ImageConfig
from drivers.runtime.interface import TaskState, TaskStatus
from reconcilers.container import create, network_steps
from reconcilers.container.actions import (
    ContainerAction,
    ForgetJob,
    PauseTask,
    PrepareSnapshot,
    RecordApplied,
    RecordExit,
    ResumeTask,
)
from reconcilers.container.changes import changes, worst
from reconcilers.container.health import UNHEALTHY, effective_check, record_of, state
from reconcilers.container.intent import CREATED, PAUSED, RUNNING, STOPPED, Intent, intent, with_networks_of
from reconcilers.container.lacking import lacking
from reconcilers.container.model import ALIVE, UNKNOWN, Incarnation, Observed, number_of, task_id
from reconcilers.container.restart import verdict
from reconcilers.container.stop import since_when, stopping
from reconcilers.container.upkeep import Upkeep, upkeep, watch
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange
from resources.container import ContainerSpec
from resources.object import Object

ContainerDiff = Diff[ContainerAction]
_IMAGE_WATCH = timedelta(seconds=2)
"""An image that is only named wakes nobody when it comes."""


@dataclass(frozen=True, slots=True)
class _Case:
    """All a decision is made from."""

    intent: Intent
    observed: Observed
    context: Context
    life: Incarnation
    found: tuple[FieldChange, ...] = ()

    @property
    def task(self) -> TaskState:
        if self.life.task is None:
            raise ValueError(f"{self.life.id[:12]} has no task")
        return self.life.task

    @property
    def spec(self) -> ContainerSpec:
        return self.intent.spec

    @property
    def image(self) -> ImageConfig | None:
        return self.intent.image

    @property
    def kind(self) -> ChangeKind:
        return worst(self.found)

    def diff(
        self, actions: Sequence[ContainerAction] = (), *, wake_at: datetime | None = None, waiting: str = ""
    ) -> ContainerDiff:
        return Diff(tuple(actions), self.found, self.kind, wake_at, waiting)

    def at_rest(self) -> ContainerDiff:
        """Nothing runs, and nothing is going to: what would take another process takes none."""
        quiet = [
            replace(c, kind=ChangeKind.HOT) if c.kind is ChangeKind.RESTART else c
            for c in self.found
            if not c.path.startswith("endpoint.")  # made anew with the next process
        ]
        off = network_steps.at_rest(self.intent, self.observed, self.life)
        return replace(self, found=tuple(quiet)).diff([*_exit(self), *off, *_recorded(self, at_rest=True)])

    def gate(self) -> str:
        """What has to be there before anything is made or started; "" when all is."""
        reasons = [*self.context.blockers, *lacking(self.intent, self.observed, self.context)]
        return "; ".join(dict.fromkeys(reasons))


def diff(desired: Object | None, observed: Observed, context: Context) -> ContainerDiff:
    if desired is None or desired.deleting:
        return _removed(desired, observed, context)
    asked = intent(desired, observed, context)
    life = observed.current or Incarnation(task_id(observed.uid, 1))
    case = _Case(asked, observed, context, life, changes(life.applied, asked.applied))
    former = _end_former(case)
    if former.wake_at is not None:
        return case.diff(former.actions, wake_at=former.wake_at, waiting="its former process has not ended")
    if observed.network.yields and not context.planning:
        files = create.files(observed, life) if life.alive else []
        return case.diff([*former.actions, *network_steps.vacate(asked, observed, life), *files])
    decided = _decided(case)
    unused = _unused(case)
    wake_at = decided.wake_at
    if decided.waiting and observed.image is None and isinstance(asked.spec.image, str) and not context.planning:
        wake_at = wake_at or context.now + _IMAGE_WATCH
    return replace(decided, actions=(*former.actions, *unused, *decided.actions), wake_at=wake_at)


def ended(task: TaskState) -> bool:
    """It ran and has exited, rather than never having run."""
    if task.status is TaskStatus.PREPARED:
        return task.recorded
    return task.status is TaskStatus.STOPPED and (task.started_at is not None or task.recorded or task.rebooted)


def asked_to_end(task: TaskState) -> bool:
    """We have stopped it, or it was stopped when it was last looked at."""
    return since_when(task) is not None or task.applied.get("state") in (STOPPED, CREATED)


def unhealthy(task: TaskState, asked: Intent) -> bool:
    check = effective_check(asked.spec.health, asked.image.health if asked.image else None)
    record = record_of(task.notes, task.attempt)
    return check is not None and check.on_failure == "restart" and state(check, record) == UNHEALTHY


def _decided(case: _Case) -> ContainerDiff:
    task = case.life.task
    if task is None or not (ended(task) or task.status in ALIVE):
        return _absent(case)
    if case.kind >= ChangeKind.RECREATE:
        return _recreate(case)
    if ended(task):
        return _ended(case)
    return _created(case) if task.status is TaskStatus.CREATED else _living(case)


def _unused(case: _Case) -> list[ContainerAction]:
    """Volumes that only an earlier image or manifest had a use for, once no life of that is left to hold them."""
    life, observed = case.life, case.observed
    if case.intent.image is None or "" in observed.outdated:
        return []
    recreated = case.kind >= ChangeKind.RECREATE
    if case.context.planning:
        return create.unused_volumes(observed, case.intent) if recreated else []
    held = recreated or len(observed.incarnations) > 1 or (life.staged and not life.applied)
    return [] if held else create.unused_volumes(observed, case.intent)


def _removed(desired: Object | None, observed: Observed, context: Context) -> ContainerDiff:
    if context.blockers and not context.planning:
        return Diff(waiting="; ".join(context.blockers))
    asked = intent(desired, observed, context) if desired else None
    spec, image = (asked.spec, asked.image) if asked else (None, None)
    actions: list[ContainerAction] = []
    wakes: list[datetime] = []
    for life in observed.incarnations:
        steps = stopping(life, spec, image, context.now)
        actions += steps.actions if steps.wake_at else create.removal(life, observed)
        wakes += [steps.wake_at] if steps.wake_at else []
    if wakes:
        return Diff(tuple(actions), wake_at=min(wakes), waiting="its process has not ended")
    forgotten = (ForgetJob(name) for name in sorted(observed.jobs))
    # What it holds is freed with the object: as long as there is a life of it, ports may lead there.
    withdrawn = network_steps.withdraw(observed) if observed.incarnations or desired is None else []
    return Diff((*forgotten, *withdrawn, *actions, *create.unused_volumes(observed)))


def _end_former(case: _Case) -> create.Steps:
    """Earlier lives of this container: a crash has left them, or a later life is there already."""
    actions: list[ContainerAction] = []
    wakes: list[datetime] = []
    for life in case.observed.incarnations[:-1]:
        steps = stopping(life, case.spec, case.image, case.context.now)
        actions += steps.actions if steps.wake_at else create.removal(life, case.observed)
        wakes += [steps.wake_at] if steps.wake_at else []
    return create.Steps(tuple(actions), wake_at=min(wakes, default=None))


def _absent(case: _Case) -> ContainerDiff:
    """No process, and none that has ended: a creation has not begun, or was cut short, or failed."""
    if case.kind >= ChangeKind.RECREATE or _stale_layer(case):
        return _replaced(case)
    if case.intent.state == STOPPED:
        return case.at_rest()
    task = case.life.task
    return _made(case, attempt=max(1, task.attempt) if task else 1, failures=_failures(task))


def _recreate(case: _Case) -> ContainerDiff:
    waiting = "" if case.intent.state == STOPPED else case.gate()
    if waiting and not case.context.planning:
        kept = watch(case.intent, case.observed, case.life, case.context)
        return case.diff([*_exit(case), *kept.actions], wake_at=kept.wake_at, waiting=waiting)
    steps = stopping(case.life, case.spec, case.image, case.context.now)
    if steps.wake_at is not None and not case.context.planning:
        return case.diff(steps.actions, wake_at=steps.wake_at, waiting="its process has not ended")
    decided = _replaced(case)
    return replace(decided, actions=(*steps.actions, *decided.actions))


def _replaced(case: _Case) -> ContainerDiff:
    """Nothing of this life runs: the next one begins, and this one is cleared away."""
    if case.intent.state == STOPPED:
        off = network_steps.at_rest(case.intent, case.observed, case.life, last=True)
        return case.diff([*off, *create.removal(case.life, case.observed)])
    waiting = case.gate()
    if waiting and not case.context.planning:
        return case.diff(waiting=waiting)
    following = Incarnation(task_id(case.observed.uid, number_of(case.life.id) + 1))
    parent = case.observed.image.chain_id if case.observed.image else UNKNOWN
    # The next life is there before the last is gone: its number is remembered by its layer alone.
    removed = create.removal(case.life, case.observed)
    actions: list[ContainerAction] = [PrepareSnapshot(following.id, parent), *removed]
    if case.context.planning:
        following = replace(following, snapshots={following.id: parent})
        intent = with_networks_of(case.intent, case.observed, following, case.context)
        actions += create.creation(intent, case.observed, case.context, following, attempt=1).actions
    return case.diff(actions, waiting=waiting)


def _created(case: _Case) -> ContainerDiff:
    """Made, and waiting to be started."""
    task, asked = case.task, case.intent
    if asked.state == STOPPED or (asked.state == CREATED and worst(_but_state(case.found)) < ChangeKind.RESTART):
        return case.at_rest()
    if _but_state(case.found) or asked.networks.allocations or asked.networks.obstacles:
        return _made(case, attempt=task.attempt + 1, failures=_failures(task))
    waiting = case.gate()
    if waiting and not case.context.planning:
        return case.diff(waiting=waiting)
    # Recorded first: a start that nobody has written down would be taken for none.
    connected = [
        *create.namespace(asked, case.life, task.pid),
        *network_steps.mend(asked, case.observed, case.life),
        *network_steps.serve(asked, case.observed),
    ]
    started = create.start(asked, case.life.id, task.attempt)
    return case.diff([*connected, *_recorded(case), *started], waiting=waiting)


def _living(case: _Case) -> ContainerDiff:
    task, asked = case.task, case.intent
    if asked.state in (STOPPED, CREATED):
        steps = stopping(case.life, case.spec, case.image, case.context.now)
        return case.diff(steps.actions, wake_at=steps.wake_at, waiting="its process has not ended")
    kept: Upkeep = upkeep(asked, case.observed, case.life, case.found, case.context)
    case = replace(case, found=(*case.found, *kept.drift))
    if unhealthy(task, asked):
        found = FieldChange("spec.health", UNHEALTHY, "healthy", ChangeKind.RESTART, drift=True)
        case = replace(case, found=(*case.found, found))
    # A restart that was begun is carried through, though what asked for it may be as it was again.
    if worst(_but_state(case.found)) >= ChangeKind.RESTART or since_when(task) is not None:
        return _restarted(case, kept)
    actions = list(kept.actions)
    now = PAUSED if task.status is TaskStatus.PAUSED else RUNNING
    if now != asked.state:
        actions.append(PauseTask(case.life.id) if asked.state == PAUSED else ResumeTask(case.life.id))
        if task.applied.get("state") == asked.state:
            found = FieldChange("spec.state", now, asked.state, ChangeKind.HOT, drift=True)
            case = replace(case, found=(*case.found, found))
    waiting = "" if asked.networks.settled or case.context.planning else _unsettled(case)
    # Looked after first: an address that another has, or a port, is no reason to leave its health unknown.
    done = [*kept.watch.actions, *actions, *_recorded(case)]
    return case.diff(done, wake_at=kept.watch.wake_at, waiting=waiting)


def _unsettled(case: _Case) -> str:
    """Why networks or ports that are asked for are still to come."""
    come = any(change.path.startswith(("spec.networks", "spec.ports", "endpoint.")) for change in case.found)
    found = (case.gate() if come else "", *case.intent.networks.obstacles)
    return "; ".join(filter(None, found))


def _restarted(case: _Case, kept: Upkeep) -> ContainerDiff:
    waiting = case.gate()
    if waiting and not case.context.planning:
        return case.diff([*kept.contents, *kept.watch.actions], wake_at=kept.watch.wake_at, waiting=waiting)
    steps = stopping(case.life, case.spec, case.image, case.context.now)
    actions = [*kept.contents, *steps.actions]
    if case.context.planning:
        again = create.creation(case.intent, case.observed, case.context, case.life, attempt=case.task.attempt + 1)
        return case.diff([*actions, *again.actions], waiting=waiting)
    return case.diff(actions, wake_at=steps.wake_at, waiting="its process has not ended")


def _ended(case: _Case) -> ContainerDiff:
    task, asked = case.task, case.intent
    recorded = [*_exit(case)]
    if asked.state in (STOPPED, CREATED):
        return case.at_rest()
    requested = task.applied.get("restartRequest", "") != asked.applied["restartRequest"]
    forced = unhealthy(task, asked)
    if requested or (asked_to_end(task) and not forced):
        return _made(case, attempt=task.attempt + 1, before=recorded)
    again = verdict(asked.spec.restart, task, forced=forced)
    if again.due is None:
        return case.at_rest()
    was = "exited with an unknown code" if task.exit_code is None else f"exited with {task.exit_code}"
    case = replace(case, found=(*case.found, FieldChange("process", was, "running", ChangeKind.RESTART, drift=True)))
    if again.due > case.context.now and not case.context.planning:
        return case.diff(recorded, wake_at=again.due)
    return _made(case, attempt=task.attempt + 1, failures=again.failures, before=recorded)


def _made(case: _Case, *, attempt: int, failures: int = 0, before: Sequence[ContainerAction] = ()) -> ContainerDiff:
    waiting = case.gate()
    if waiting and not case.context.planning:
        return case.diff(before, waiting=waiting)
    steps = create.creation(case.intent, case.observed, case.context, case.life, attempt=attempt, failures=failures)
    return case.diff([*before, *steps.actions], wake_at=steps.wake_at, waiting=waiting or steps.waiting)


def _exit(case: _Case) -> list[ContainerAction]:
    task = case.life.task
    if task is None or task.status is not TaskStatus.STOPPED or task.recorded or not ended(task):
        return []
    return [RecordExit(case.life.id, task.exit_code, task.oom_killed)]


def _recorded(case: _Case, *, at_rest: bool = False) -> list[ContainerAction]:
    """The record catches up with what is applied, once nothing of it needs another process."""
    if not case.life.applied:
        return []
    wanted = create.record(case.intent, case.life, at_rest=at_rest)
    return [] if wanted == case.life.applied else [RecordApplied(case.life.id, wanted)]


def _but_state(found: Sequence[FieldChange]) -> list[FieldChange]:
    return [change for change in found if change.path != "spec.state"]


def _failures(task: TaskState | None) -> int:
    return int(task.applied.get("failures", 0)) if task else 0


def _stale_layer(case: _Case) -> bool:
    """The layer of a creation that never came to a process, on an image that has moved since."""
    parent = case.life.snapshots.get(case.life.id)
    image = case.observed.image
    return parent is not None and image is not None and parent != image.chain_id
