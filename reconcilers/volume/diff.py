"""Decide what a Volume needs (PURE): made, owned, grown, mounted, populated once. Its data is never replaced."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from drivers.volumes.interface import VolumeState
from reconcilers.attempts import turn
from reconcilers.conditions import Decision, blocked, refused, waits
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange
from reconcilers.volume.config import wanted_config
from reconcilers.volume.model import (
    ArchiveSeed,
    ChangeVolume,
    CreateVolume,
    DeleteVolume,
    DropPopulate,
    MountVolume,
    ObservedVolume,
    Seed,
    StartPopulate,
    VolumeAction,
)
from resources.errors import DataLoss, EngineError, InvalidArgument, Unsupported
from resources.object import Object
from resources.scalars import format_mode, format_size

KEPT = "a volume is never replaced unless the manifest says so: delete it with --data first, or take the change back"


def decide(desired: Object | None, observed: ObservedVolume, context: Context) -> Decision[VolumeAction]:
    if desired is None or desired.deleting:
        return _removal(desired, observed, context)
    present = _live(observed)
    error, changes = _refusal(desired, observed, present or observed.retained)
    if error is not None:
        return _because(refused(error), changes)
    if present is None:
        return _creation(desired, observed, context)
    return _upkeep(desired, observed, present, context)


def inputs_needed(desired: Object, observed: ObservedVolume) -> frozenset[str]:
    """Digests of inputs that have to be here: the archive, until the volume is populated."""
    seed, data = observed.seed, _live(observed) or observed.retained
    if desired.deleting or not isinstance(seed, ArchiveSeed) or (data and data.populated):
        return frozenset()
    return frozenset({seed.digest} - {""})


def _live(observed: ObservedVolume) -> VolumeState | None:
    return observed.state if observed.state and not observed.state.released else None


def _refusal(
    desired: Object, observed: ObservedVolume, data: VolumeState | None
) -> tuple[EngineError | None, tuple[FieldChange, ...]]:
    spec = desired.effective
    if _live(observed) and observed.driver != spec.driver:
        lost = FieldChange("spec.driver", observed.driver, spec.driver, ChangeKind.DATA_LOSS)
        return DataLoss(f"spec.driver: the volume is a {observed.driver} one", hint=KEPT), (lost,)
    if spec.driver not in observed.drivers:
        hint = f"one of {', '.join(observed.drivers)}"
        return Unsupported(f"spec.driver: there is no volume driver {spec.driver} here", hint=hint), ()
    if spec.options:
        named = ", ".join(sorted(spec.options))
        return InvalidArgument(f"spec.options: the driver {spec.driver} has no option {named}"), ()
    if spec.snapshot_on_apply:
        return Unsupported("spec.snapshotOnApply: this version takes no snapshots of volumes"), ()
    if data is not None and not _grows(data.size, spec.size):
        lost = _size_change(data.size, spec.size, ChangeKind.DATA_LOSS)
        return DataLoss("spec.size: the size of a volume can only grow", hint=KEPT), (lost,)
    return observed.refusal, ()


def _grows(old: int | None, new: int | None) -> bool:
    """Or stays."""
    return old == new or (old is not None and new is not None and new > old)


def _creation(desired: Object, observed: ObservedVolume, context: Context) -> Decision[VolumeAction]:
    change = FieldChange("spec.driver", None, desired.effective.driver, ChangeKind.NONE)
    waiting = blocked(context, "Pending")
    if waiting is not None:
        return _because(waiting, (change,))
    driver = desired.effective.driver
    actions: list[VolumeAction] = [CreateVolume(driver, wanted_config(desired), observed.retained is not None)]
    if context.planning and observed.seed and not (observed.retained and observed.retained.populated):
        actions.append(StartPopulate(driver, wanted_config(desired), observed.seed, 1))
    return Decision(Diff(tuple(actions), (change,)), "Creating", "Creating")


def _upkeep(desired: Object, observed: ObservedVolume, state: VolumeState, context: Context) -> Decision[VolumeAction]:
    seed = None if state.populated else observed.seed
    running = observed.populating is not None and observed.populating.running
    changes = _changes(desired, state, seed is not None)
    if running:  # it takes over an owner and puts back ours
        changes = tuple(change for change in changes if not change.path.startswith("spec.owner."))
    actions: list[VolumeAction] = []
    if changes:
        what = ", ".join(f"{change.path.partition('.')[2]} to {change.new}" for change in changes)
        actions.append(ChangeVolume(observed.driver, wanted_config(desired), what))
    if not state.mounted:
        actions.append(MountVolume(observed.driver, observed.uid))
        changes = (*changes, FieldChange("mounted", False, True, ChangeKind.HOT, drift=True))
    if observed.seed_left and seed is None and not running:
        actions.append(DropPopulate(observed.uid))
    if actions and not (context.planning and seed):
        return Decision(Diff(tuple(actions), changes, _worst(changes)), "Pending", "Changing")
    return Decision(Diff()) if seed is None else _population(desired, observed, seed, tuple(actions), changes, context)


def _population(
    desired: Object,
    observed: ObservedVolume,
    seed: Seed,
    before: tuple[VolumeAction, ...],
    changes: tuple[FieldChange, ...],
    context: Context,
) -> Decision[VolumeAction]:
    changes = (*changes, FieldChange("spec.populate", None, str(seed), ChangeKind.NONE))
    if context.planning:
        steps = (*before, StartPopulate(observed.driver, wanted_config(desired), seed, 1))
        return Decision(Diff(steps, changes, _worst(changes)), "Pending", "Planned")
    waiting = blocked(context, "Pending")
    running = observed.populating is not None and observed.populating.running
    if waiting is None and not running and not observed.seed_here:
        again = (
            f"the content of {seed.shown} is not here: apply again to send it" if isinstance(seed, ArchiveSeed) else ""
        )
        waiting = waits("Pending", "InputMissing" if again else "Blocked", again or f"{seed} is not unpacked yet")
    if waiting is not None:
        return _because(waiting, changes)
    now = turn(observed.populating, seed, context.now)
    if now.start:
        action = StartPopulate(observed.driver, wanted_config(desired), seed, now.start)
        return Decision(Diff((action,), changes), "Populating", "Populating")
    phase, reason = ("Failed", now.reason) if now.failed else ("Populating", "Populating")
    return Decision(Diff((), changes, wake_at=now.wake_at, waiting=now.message), phase, reason, now.message)


def _removal(desired: Object | None, observed: ObservedVolume, context: Context) -> Decision[VolumeAction]:
    waiting = blocked(context, "Deleting")
    if waiting is not None:
        return waiting
    actions: list[VolumeAction] = []
    changes: tuple[FieldChange, ...] = ()
    if observed.populating is not None or observed.seed_left:
        actions.append(DropPopulate(observed.uid))
    # Nobody asked for the data of a volume without an object to go: the sweep releases it.
    data = desired is not None and (desired.metadata.delete_data or desired.effective.reclaim == "delete")
    if observed.state is not None and (data or not observed.state.released):
        actions.append(DeleteVolume(observed.driver, observed.uid, data))
        kind = ChangeKind.DATA_LOSS if data else ChangeKind.NONE
        changes = (FieldChange("data", "in use", "deleted" if data else "retained", kind),)
    return Decision(Diff(tuple(actions), changes, _worst(changes)), "Deleting", "Deleting")


def _changes(desired: Object, state: VolumeState, fresh: bool) -> tuple[FieldChange, ...]:
    """`fresh`: not populated yet, so that an owner may have come with half of the content."""
    wanted, applied = wanted_config(desired), state.applied
    found = []
    if state.claim != wanted.claim:
        found.append(FieldChange("metadata.name", state.claim, wanted.claim, ChangeKind.HOT))
    if state.size != wanted.size:
        found.append(_size_change(state.size, wanted.size, ChangeKind.HOT))
    for name in ("uid", "gid", "mode"):
        old, new = getattr(state, name), getattr(wanted, name)
        if new is not None and old != new:
            drift = not fresh and applied is not None and getattr(applied, name) == new
            shown = format_mode if name == "mode" else _as_is
            found.append(FieldChange(f"spec.owner.{name}", shown(old), shown(new), ChangeKind.HOT, drift))
    return tuple(found)


def _as_is(value: Any) -> Any:
    return value


def _size_change(old: int | None, new: int | None, kind: ChangeKind) -> FieldChange:
    return FieldChange("spec.size", shown_size(old), shown_size(new), kind)


def shown_size(size: int | None) -> str | int | None:
    return None if size is None else format_size(size)


def _because(decision: Decision[VolumeAction], changes: tuple[FieldChange, ...]) -> Decision[VolumeAction]:
    diff: Diff[VolumeAction] = replace(decision.diff, changes=changes, kind=_worst(changes))
    return replace(decision, diff=diff)


def _worst(changes: Iterable[FieldChange]) -> ChangeKind:
    return max((change.kind for change in changes), default=ChangeKind.NONE)
