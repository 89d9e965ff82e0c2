"""The steps that make a container and the steps that take it away (PURE), each left out where it is done already."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reconcilers.attempts import turn
from reconcilers.container import network_steps
from reconcilers.container.actions import (
    AnonymousAt,
    ContainerAction,
    CopyUpVolume,
    CreateAnonymous,
    CreateSandbox,
    CreateTask,
    DeleteAnonymous,
    DeleteProjection,
    DeleteTask,
    DropSandbox,
    HostPath,
    InitProgram,
    MountedAt,
    MountRootfs,
    PauseTask,
    PrepareSnapshot,
    ProjectContent,
    ProjectedAt,
    Recipe,
    RemoveSnapshot,
    StageBind,
    StartTask,
    UnmountRootfs,
    Unstage,
    WriteSandboxFiles,
)
from reconcilers.container.intent import PAUSED, RUNNING, Intent, log_config, network_mode, slots
from reconcilers.container.model import UNKNOWN, Incarnation, Observed, anonymous_volume, copy_up_job
from reconcilers.container.network_actions import RemoveNames
from reconcilers.interface import Context
from resources.container_parts import Mount

_NOWHERE = Path("/")


@dataclass(frozen=True, slots=True)
class Steps:
    actions: tuple[ContainerAction, ...] = ()
    waiting: str = ""
    wake_at: datetime | None = None


def creation(
    intent: Intent, observed: Observed, context: Context, life: Incarnation, *, attempt: int, failures: int = 0
) -> Steps:
    """Everything from the writable layer to the running process, as far as `life` has not got it."""
    if intent.recipe is None and not context.planning:
        return Steps(waiting="the content of its image is not here")
    actions: list[ContainerAction] = []
    if not life.applied:
        # Left by a creation that was cut short, of an older spec perhaps.
        actions += _without_mounts(life)
        life = Incarnation(
            life.id, life.task, {k: v for k, v in life.snapshots.items() if k == life.id}, life.mounted & {life.id},
            life.sandbox,
        )  # fmt: skip
    actions += _root(life, observed)
    actions += _anonymous(intent, observed)
    actions += intent.networks.allocations
    filling = _copy_ups(intent, observed, life, context)
    actions += filling.actions
    unsettled = intent.networks.allocations or intent.networks.obstacles
    if (filling.waiting or filling.actions or unsettled) and not context.planning:
        waiting = "; ".join(filter(None, (filling.waiting, *intent.networks.obstacles)))
        return Steps(tuple(actions), waiting, filling.wake_at)
    actions += _connected(intent, observed, life)
    actions += _sources(intent, observed, life)
    actions += _task(intent, observed, life, attempt, failures)
    return Steps(tuple(actions), filling.waiting)


def start(intent: Intent, life_id: str, attempt: int) -> list[ContainerAction]:
    """From created to what is asked for."""
    if intent.state not in (RUNNING, PAUSED):
        return []
    return [StartTask(life_id, attempt), *([PauseTask(life_id)] if intent.state == PAUSED else [])]


def removal(life: Incarnation, observed: Observed) -> list[ContainerAction]:
    """Everything of a life whose process has ended. What is named first goes first, the writable layer last."""
    actions: list[ContainerAction] = [DeleteTask(life.id)] if life.task is not None else []
    if life.named:
        actions.append(RemoveNames(life.id))
    actions += _without_mounts(life)
    if life.id in life.mounted:
        actions.append(UnmountRootfs(life.id))
    if life.sandbox is not None:
        actions.append(DropSandbox(life.id))
    actions += network_steps.forget(observed)
    if life.id in life.snapshots:
        actions.append(RemoveSnapshot(life.id))
    return actions


def namespace(intent: Intent, life: Incarnation, pid: int | None = None) -> list[ContainerAction]:
    """`pid` is the process whose namespace it is, where it has lost its name."""
    there = life.sandbox is not None and life.sandbox.netns is not None
    if network_mode(intent.spec) != "own" or (there and life.sandbox is not None and life.sandbox.loopback_up):
        return []
    return [CreateSandbox(life.id, None if there else pid)]


def files(observed: Observed, life: Incarnation) -> list[ContainerAction]:
    if observed.files is None or (observed.files_match and life.sandbox is not None):
        return []
    return [WriteSandboxFiles(life.id, observed.files)]


def _connected(intent: Intent, observed: Observed, life: Incarnation) -> Iterator[ContainerAction]:
    """Before there is a process: its namespace with all its networks, and what leads there."""
    anew = life.sandbox is None or life.sandbox.netns is None
    yield from network_steps.detach(intent, observed, life)
    yield from namespace(intent, life)
    yield from network_steps.attach(intent, life)
    yield from files(observed, life)
    if intent.state in (RUNNING, PAUSED):
        yield from network_steps.serve(intent, observed, anew=anew)
    yield from network_steps.release(intent, observed)


def projections(intent: Intent, life_id: str) -> Iterator[ProjectContent]:
    names = slots(intent.spec)
    for mount in intent.spec.mounts:
        found = intent.contents.get(mount.target)
        if found is None:
            continue
        yield ProjectContent(
            projection_id=f"{life_id}.{names[mount.target]}",
            what=found.what,
            version=found.version,
            files=found.files,
            mode=found.mode,
            uid=mount.uid,
            gid=mount.gid,
            in_place=mount.key is not None,
        )


def _without_mounts(life: Incarnation) -> list[ContainerAction]:
    inner = sorted(name for name in life.mounted if name != life.id)
    views = sorted(key for key in life.snapshots if key != life.id)
    actions: list[ContainerAction] = [Unstage(life.id)] if life.staged else []
    actions += [UnmountRootfs(name) for name in inner]
    actions += [RemoveSnapshot(key) for key in views]
    return [*actions, *(DeleteProjection(name) for name in sorted(life.projections))]


def _root(life: Incarnation, observed: Observed) -> Iterator[ContainerAction]:
    if life.id not in life.snapshots:
        yield PrepareSnapshot(life.id, observed.image.chain_id if observed.image else UNKNOWN)
    if life.id not in life.mounted:
        yield MountRootfs(life.id)


def unused_volumes(observed: Observed, intent: Intent | None = None) -> list[ContainerAction]:
    """Of the volumes that an image asked for, those that neither it nor the manifest leaves in use; all without one."""
    kept = {anonymous_volume(observed.uid, target).id for target in intent.anonymous} if intent else set()
    return [DeleteAnonymous(volume_id) for volume_id in sorted(observed.anonymous) if volume_id not in kept]


def _anonymous(intent: Intent, observed: Observed) -> Iterator[ContainerAction]:
    for target in intent.anonymous:
        config = anonymous_volume(observed.uid, target)
        state = observed.anonymous.get(config.id)
        if state is None or not state.mounted:
            yield CreateAnonymous(config, target)


def _copy_ups(intent: Intent, observed: Observed, life: Incarnation, context: Context) -> Steps:
    """One a volume that has never been filled; begun once its root is mounted."""
    actions: list[ContainerAction] = []
    waiting: list[str] = []
    wakes: list[datetime] = []
    for volume_id, (driver, target, name) in _empty(intent, observed).items():
        now = turn(observed.jobs.get(copy_up_job(observed.uid, volume_id)), life.id, context.now)
        if now.start:
            actions.append(CopyUpVolume(observed.uid, life.id, volume_id, driver, target, now.start))
        waiting.append(f"{name} is being filled{f': {now.message}' if now.message else ''}")
        wakes += [now.wake_at] if now.wake_at else []
    return Steps(tuple(actions), "; ".join(waiting), min(wakes, default=None))


def _empty(intent: Intent, observed: Observed) -> Mapping[str, tuple[str | None, str, str]]:
    """Volumes that wait for what the image has at the target: driver, target and name, by ID."""
    found: dict[str, tuple[str | None, str, str]] = {}
    for mount in intent.spec.mounts:
        view = observed.volumes.get(mount.target)
        if view is None or view.state is None or view.state.populated or not mount.copy_up or mount.sub_path:
            continue
        found.setdefault(view.uid, (view.driver, mount.target, f"volume/{mount.volume}"))
    for target in intent.anonymous:
        volume_id = anonymous_volume(observed.uid, target).id
        state = observed.anonymous.get(volume_id)
        if state is None or not state.populated:
            found[volume_id] = (None, target, f"the image's volume at {target}")
    return found


def _sources(intent: Intent, observed: Observed, life: Incarnation) -> Iterator[ContainerAction]:
    names = slots(intent.spec)
    for mount in intent.spec.mounts:
        name = f"{life.id}.{names[mount.target]}"
        if mount.image is None:
            continue
        if name not in life.snapshots:
            image = observed.images.get(mount.target)
            yield PrepareSnapshot(name, image.chain_id if image else UNKNOWN, view=True)
        if name not in life.mounted:
            yield MountRootfs(name)
    for wanted in projections(intent, life.id):
        if not _projected(life, wanted):
            yield wanted
    yield from _binds(intent, observed, life.id)


def _projected(life: Incarnation, wanted: ProjectContent) -> bool:
    there = life.projections.get(wanted.projection_id)
    return there is not None and there.intact and there.version == wanted.version


def _binds(intent: Intent, observed: Observed, life_id: str) -> tuple[StageBind, ...]:
    names, dangerous = slots(intent.spec), intent.spec.security.dangerous
    found = [
        bind
        for mount in intent.spec.mounts
        if (bind := _bind(mount, observed, life_id, names[mount.target], dangerous)) is not None
    ]
    found += [
        StageBind(life_id, f"v{number}", target, AnonymousAt(anonymous_volume(observed.uid, target).id))
        for number, target in enumerate(intent.anonymous)
    ]
    if intent.spec.init:
        found.append(StageBind(life_id, "init", "init", InitProgram()))
    return tuple(found)


def _bind(mount: Mount, observed: Observed, life_id: str, slot: str, dangerous: tuple[str, ...]) -> StageBind | None:
    if mount.volume is not None:
        view = observed.volumes.get(mount.target)
        path = view.state.path if view and view.state else _NOWHERE
        return StageBind(life_id, slot, mount.target, path, mount.sub_path or "")
    if mount.bind is not None:
        return StageBind(life_id, slot, mount.target, HostPath(Path(mount.bind), dangerous), create=mount.create)
    if mount.image is not None:
        return StageBind(life_id, slot, mount.target, MountedAt(f"{life_id}.{slot}"), mount.sub_path or "")
    if mount.source in ("secret", "config"):
        return StageBind(life_id, slot, mount.target, ProjectedAt(f"{life_id}.{slot}", mount.key))
    return None


def _task(
    intent: Intent, observed: Observed, life: Incarnation, attempt: int, failures: int
) -> Iterator[ContainerAction]:
    if intent.recipe is None:  # planning only
        return
    mode = network_mode(intent.spec)
    other = observed.shared.get("network")
    joined = (other.sandbox_id if other else "") if mode == "container" else life.id
    yield CreateTask(
        task_id=life.id,
        attempt=attempt,
        recipe=recipe_of(intent, life),
        binds=_binds(intent, observed, life.id),
        sandbox_id="" if mode == "host" or (other and other.host) else joined,
        files_id=joined,
        shared={kind: shared.path for kind, shared in observed.shared.items() if shared.path is not None},
        applied={**record(intent, life), "failures": failures},
        limits=intent.limits,
        log=log_config(intent.spec),
    )
    yield from start(intent, life.id, attempt)


def recipe_of(intent: Intent, life: Incarnation) -> Recipe:
    if intent.recipe is None:
        raise ValueError(f"the image of {life.id[:12]} is not known")
    return intent.recipe


def record(intent: Intent, life: Incarnation, *, at_rest: bool = False) -> Mapping[str, Any]:
    """What the record is to say now. What is not known just now stays as it was, and so does what belongs to the life.
    Networks and ports that are still to come are no part of it, unless nothing runs that they could come to."""
    old, new = life.applied, intent.applied
    if old and at_rest:
        new = {**new, "endpoints": {n: e for n, e in old.get("endpoints", {}).items() if n in new["endpoints"]}}
    elif old and not intent.networks.settled:
        new = {**new, "spec": {**new["spec"], **{name: old["spec"][name] for name in ("networks", "ports")}}}
    kept = {name: old[name] for name in ("failures", "account", "image") if name in old}
    merged = {
        group: {**old.get(group, {}), **new[group]} for group in ("env", "contents", "volumes", "images", "shared")
    }
    followed = {dependency.container for dependency in intent.spec.depends_on if dependency.restart}
    started = {name: token for name, token in old.get("started", {}).items() if name in followed}
    return {**kept, **new, **merged, "started": {**started, **new["started"]}}
