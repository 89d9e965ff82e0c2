"""What a running container needs so that it stays as asked for, its process untouched (PURE): limits, files, namespace,
content, log, health."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from drivers.runtime.interface import Limits, TaskState, TaskStatus
from reconcilers.container import create
from reconcilers.container.actions import (
    ContainerAction,
    ProjectContent,
    RotateLog,
    SignalTask,
    StartProbe,
    UpdateLimits,
)
from reconcilers.container.changes import HIDDEN
from reconcilers.container.healing import Healing
from reconcilers.container.health import effective_check, next_probe, record_of
from reconcilers.container.intent import Intent, network_mode, slots
from reconcilers.container.model import Incarnation, Observed, probe_job
from reconcilers.container.network_upkeep import mend_networks
from reconcilers.interface import ChangeKind, Context, FieldChange
from resources.container_parts import Mount, SignalChange
from resources.linux import signal_number
from resources.paths import join

_LIMITS = {
    "memory": "memory",
    "memory_reservation": "memoryReservation",
    "swap": "swap",
    "cpu_millis": "cpus",
    "cpu_shares": "cpuShares",
    "cpuset": "cpuset",
    "pids": "pids",
    "io_weight": "ioWeight",
}
_DEFAULTED = ("cpu_shares", "cpuset", "io_weight")
"""The kernel has a value even where none was asked for."""
_LOG_WATCH = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Upkeep:
    contents: tuple[ContainerAction, ...] = ()
    """What has to be there before a restart that it is the reason of."""
    actions: tuple[ContainerAction, ...] = ()
    """Everything, contents included."""
    drift: tuple[FieldChange, ...] = ()
    watch: create.Steps = field(default_factory=create.Steps)


def upkeep(
    asked: Intent, observed: Observed, life: Incarnation, found: Sequence[FieldChange], context: Context
) -> Upkeep:
    task = life.task
    if task is None:
        return Upkeep()
    changed = {change.path for change in found}
    healing = Healing(asked.drift)
    _contents(asked, life, healing)
    contents = tuple(healing.actions)
    _limits(asked, task, changed, healing)
    mend_networks(asked, observed, life, changed, healing)
    watched = watch(asked, observed, life, context)
    return Upkeep(contents, tuple(healing.actions), tuple(healing.drift), watched)


def watch(asked: Intent, observed: Observed, life: Incarnation, context: Context) -> create.Steps:
    """What comes again and again for as long as it runs, whatever else is waited for; no part of a plan."""
    if life.task is None or context.planning:
        return create.Steps()
    found = (_log(asked, observed, life.task, context), _probe(asked, observed, life, context))
    wakes = [wake_at for _, wake_at in found if wake_at is not None]
    return create.Steps(tuple(action for action, _ in found if action), wake_at=min(wakes, default=None))


def _contents(asked: Intent, life: Incarnation, healing: Healing) -> None:
    """New content first, then the word about it: after a crash in between both come again."""
    wanted = {action.projection_id: action for action in create.projections(asked, life.id)}
    names = slots(asked.spec)
    applied = life.applied.get("contents", {})
    for number, mount in enumerate(asked.spec.mounts):
        action = wanted.get(f"{life.id}.{names[mount.target]}")
        if action is None:
            continue
        there = life.projections.get(action.projection_id)
        whole = there is not None and there.intact and there.version == action.version
        if applied.get(mount.target, action.version) != action.version:
            healing.actions += [] if whole else [action]
            healing.actions += _told(mount, life)
        elif not whole:
            path = join(join("spec.mounts", number), mount.source)
            was = "missing" if there is None or there.version is None else HIDDEN
            healing.add(FieldChange(path, was, _shown(action), ChangeKind.HOT, drift=True), [action])


def _shown(action: ProjectContent) -> str:
    return f"the content of {action.what}"


def _told(mount: Mount, life: Incarnation) -> list[ContainerAction]:
    if not isinstance(mount.on_change, SignalChange) or life.task is None:
        return []
    return [SignalTask(life.id, life.task.attempt, signal_number(mount.on_change.signal))]


def _limits(asked: Intent, task: TaskState, changed: set[str], healing: Healing) -> None:
    if task.limits is None:
        return
    update = UpdateLimits(task.id, asked.limits)
    if any(f"spec.resources.{_LIMITS[name]}" in changed for name in _DEFAULTED):
        healing.do([update])  # also where none is asked for any more: what the kernel has is not told from a default
    for name, old, new in differing(task.limits, asked.limits):
        path = f"spec.resources.{_LIMITS[name]}"
        if path in changed or (name == "swap" and "spec.resources.memory" in changed):
            healing.actions += [] if update in healing.actions else [update]
        else:
            healing.add(FieldChange(path, old, new, ChangeKind.HOT, drift=True), [update])


def differing(now: Limits, asked: Limits) -> Iterator[tuple[str, Any, Any]]:
    """Limits that are not as asked for. Swap that cannot be read back is not counted on this host."""
    there, wanted = asdict(now), asdict(asked)
    for name in _LIMITS:
        silent = wanted[name] is None and name in _DEFAULTED
        uncounted = name == "swap" and (there[name] is None or wanted[name] is None)
        if there[name] != wanted[name] and not silent and not uncounted:
            yield name, there[name], wanted[name]


_Next = tuple[ContainerAction | None, datetime | None]


def _log(asked: Intent, observed: Observed, task: TaskState, context: Context) -> _Next:
    logging = asked.spec.logging
    if logging.driver != "file" or not task.supervised:
        return None, None
    if observed.log_size > logging.max_size:
        return RotateLog(task.id, logging.max_size, logging.max_files), None
    # One that fills up is looked at more often than the resync comes.
    return None, context.now + _LOG_WATCH if observed.log_size > logging.max_size // 2 else None


def _probe(asked: Intent, observed: Observed, life: Incarnation, context: Context) -> _Next:
    task, recipe = life.task, asked.recipe
    if task is None or task.status is not TaskStatus.RUNNING or task.started_at is None or recipe is None:
        return None, None
    check = effective_check(asked.spec.health, recipe.image.health)
    job = observed.jobs.get(probe_job(observed.uid))
    if check is None or (job is not None and job.running):
        return None, None
    due = next_probe(check, task.started_at, record_of(task.notes, task.attempt))
    if due > context.now:
        return None, due
    mode, other = network_mode(asked.spec), observed.shared.get("network")
    joined = other.sandbox_id if other and not other.host else ""
    sandbox = {"host": "", "own": life.id, "container": joined}[mode]
    account = life.applied.get("account", {})
    probe = StartProbe(observed.uid, task.id, task.attempt, task.started_at, check, sandbox, recipe, account)
    return probe, None
