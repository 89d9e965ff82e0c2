"""Decide what an Image needs (PURE): import, unpack, tags; names and content gone when it is deleted."""

from collections.abc import Iterable
from datetime import timedelta

from reconcilers.attempts import turn
from reconcilers.conditions import Decision, blocked, refused, waits
from reconcilers.image.model import (
    DropJob,
    ImageAction,
    NoteUnpacked,
    ObservedImage,
    Record,
    SetTags,
    StartImport,
    StartPrune,
    StartUnpack,
    Wanted,
    import_job,
    prune_job,
    unpack_job,
)
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange
from resources.errors import Conflict, EngineError, InvalidArgument, Unsupported
from resources.image_reference import normalize
from resources.object import Object

SOURCES = ("archive", "layout", "rootfs")
INPUT_MISSING = "InputMissing"
_LOOK_AGAIN = timedelta(seconds=2)


def decide(desired: Object | None, observed: ObservedImage, context: Context) -> Decision[ImageAction]:
    if desired is None or desired.deleting:
        return _removal(observed, context)
    try:
        wanted = wanted_content(desired, observed.host_platform)
    except EngineError as error:
        return refused(error)
    stale = _content_changes(observed, wanted)
    record = observed.record
    if record is None or stale:
        return _import(desired, observed, wanted, stale, context)
    if not observed.unpacked:
        return _unpack(observed, record, context)
    return _settle(observed, record, wanted, context)


def wanted_content(desired: Object, host_platform: str) -> Wanted:
    """Raises: Unsupported, InvalidArgument naming the field."""
    spec = desired.effective
    if spec.source.type not in SOURCES:
        raise Unsupported(
            f"spec.from: this version has no images from a {spec.source.type}", hint=f"one of {', '.join(SOURCES)}"
        )
    sent = desired.inputs.get(f"spec.from.{spec.source.type}")
    digest = sent.digest if sent else ""
    return Wanted(spec.source.type, digest, spec.platform or host_platform, normalised_tags(spec.tags))


def normalised_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Raises: InvalidArgument."""
    try:
        return tuple(sorted({normalize(tag) for tag in tags}))
    except InvalidArgument as error:
        raise InvalidArgument(f"spec.tags: {error.message}", hint=error.hint) from error


def inputs_needed(desired: Object, observed: ObservedImage) -> frozenset[str]:
    """Digests of inputs that have to be here: none once the image is made of them."""
    if desired.deleting:
        return frozenset()
    try:
        wanted = wanted_content(desired, observed.host_platform)
    except EngineError:
        return frozenset()
    return frozenset({wanted.digest} - {""}) if _content_changes(observed, wanted) else frozenset()


def _content_changes(observed: ObservedImage, wanted: Wanted) -> tuple[FieldChange, ...]:
    """Why the content has to be imported."""
    record = observed.record
    if record is None:
        return (FieldChange(f"spec.from.{wanted.source}", None, wanted.digest or None, ChangeKind.NONE),)
    found = _otherwise(record, wanted)
    if not found and observed.image is None:
        found.append(FieldChange("content", "incomplete", "complete", ChangeKind.HOT, drift=True))
    return tuple(found)


def outdated(desired: Object, record: Record) -> bool:
    """Whether the image was made of something else than is wanted now, and is to be imported again."""
    try:
        return bool(_otherwise(record, wanted_content(desired, record.platform)))
    except EngineError:
        return False


def _otherwise(record: Record, wanted: Wanted) -> list[FieldChange]:
    found = []
    if (record.source, record.digest) != (wanted.source, wanted.digest):
        found.append(
            FieldChange(f"spec.from.{wanted.source}", record.digest or None, wanted.digest or None, ChangeKind.HOT)
        )
    if record.platform != wanted.platform:
        found.append(FieldChange("spec.platform", record.platform, wanted.platform, ChangeKind.HOT))
    if record.choice is not None and record.choice != wanted.tags:
        found.append(FieldChange("content", "chosen by other tags", "chosen by these tags", ChangeKind.HOT))
    return found


def _import(
    desired: Object, observed: ObservedImage, wanted: Wanted, changes: tuple[FieldChange, ...], context: Context
) -> Decision[ImageAction]:
    shown = getattr(desired.effective.source, wanted.source)
    if context.planning:
        put, drop = _tag_moves(observed, wanted.tags, "")
        steps: list[ImageAction] = [
            StartImport(observed.uid, wanted, shown, 1),
            StartUnpack(observed.uid, "", 1),
        ]
        if put or drop:
            steps.append(SetTags(observed.uid, put, drop, wanted.tags))
            if observed.record and observed.record.tags != wanted.tags:
                before, after = list(observed.record.tags), list(wanted.tags)
                changes = (*changes, FieldChange("spec.tags", before, after, ChangeKind.HOT))
        return Decision(Diff(tuple(steps), changes, _worst(changes)), "Pending", "Planned")
    waiting = blocked(context, "Pending")
    if waiting is None and not (observed.importing and observed.importing.running) and not observed.input_here:
        waiting = waits("Pending", INPUT_MISSING, f"the content of {shown} is not here: apply again to send it")
    if waiting is not None:
        return _with_changes(waiting, changes)
    now = turn(observed.importing, wanted, context.now)
    if now.start:
        action = StartImport(observed.uid, wanted, shown, now.start)
        return Decision(Diff((action,), changes, _worst(changes)), "Importing", "Importing")
    phase, reason = ("Failed", now.reason) if now.failed else ("Importing", "Importing")
    return Decision(Diff((), changes, _worst(changes), now.wake_at, now.message), phase, reason, now.message)


def _unpack(observed: ObservedImage, record: Record, context: Context) -> Decision[ImageAction]:
    change = FieldChange("snapshot", "missing", "unpacked", ChangeKind.HOT, drift=record.unpacked)
    now = turn(observed.unpacking, record.target, context.now)
    if now.start or context.planning:
        action = StartUnpack(observed.uid, record.target, now.start or 1)
        return Decision(Diff((action,), (change,), change.kind), "Unpacking", "Unpacking")
    phase, reason = ("Failed", now.reason) if now.failed else ("Unpacking", "Unpacking")
    return Decision(Diff((), (change,), change.kind, now.wake_at, now.message), phase, reason, now.message)


def _settle(observed: ObservedImage, record: Record, wanted: Wanted, context: Context) -> Decision[ImageAction]:
    """The content is right: the tags, and no work that makes another of it."""
    actions: list[ImageAction] = []
    changes: list[FieldChange] = []
    if not record.unpacked:  # whoever unpacked it was killed before it could say so
        actions.append(NoteUnpacked(observed.uid, record.target))
    if observed.importing and observed.importing.running:
        actions.append(DropJob(import_job(observed.uid)))
    taken = tuple(name for name in wanted.tags if _held_by_another(observed, name))
    tags = tuple(name for name in wanted.tags if name not in taken)
    put, drop = _tag_moves(observed, tags, record.target)
    if put or drop or record.tags != tags:
        actions.append(SetTags(observed.uid, put, drop, tags))
        right = [name for name in tags if name not in put]
        drift = record.tags == tags
        changes.append(FieldChange("spec.tags", [*right, *drop], list(tags), ChangeKind.HOT, drift=drift))
    kind = _worst(changes)
    if not taken:
        return Decision(Diff(tuple(actions), tuple(changes), kind))
    error = Conflict(
        f"spec.tags: the name {', '.join(taken)} is another's", hint="remove it there, or take it out of tags here"
    )
    # Nobody tells us when the other lets go of it.
    wake_at = context.now + _LOOK_AGAIN
    return Decision(Diff(tuple(actions), tuple(changes), kind, wake_at, str(error)), "Failed", error.reason, str(error))


def _removal(observed: ObservedImage, context: Context) -> Decision[ImageAction]:
    waiting = blocked(context, "Deleting")
    if waiting is not None:
        return waiting
    actions: list[ImageAction] = []
    for state, job_id in ((observed.importing, import_job), (observed.unpacking, unpack_job)):
        if state is not None:
            actions.append(DropJob(job_id(observed.uid)))
    _, drop = _tag_moves(observed, (), "")
    if drop:
        actions.append(SetTags(observed.uid, (), drop, ()))
    pruning = observed.pruning
    if observed.record is None and (pruning is None or not (pruning.running or pruning.error)):
        if pruning is not None:
            actions.append(DropJob(prune_job(observed.uid)))
        return Decision(Diff(tuple(actions)), "Deleting", "Deleting")
    now = turn(pruning, observed.uid, context.now, insist=True)
    if now.start:
        actions.append(StartPrune(observed.uid, now.start))
    change = FieldChange("content", observed.record.target if observed.record else None, None, ChangeKind.NONE)
    diff = Diff(tuple(actions), (change,), wake_at=now.wake_at, waiting=now.message)
    return Decision(diff, "Deleting", now.reason or "Deleting", now.message)


def _tag_moves(observed: ObservedImage, tags: tuple[str, ...], target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names to put, names to drop); with no target yet every tag is to be put."""
    ours = {name for name, holder in observed.names.items() if holder.uid == observed.uid}
    right = {name for name in ours if observed.names[name].target == target}
    return tuple(name for name in tags if name not in right), tuple(sorted(ours - set(tags)))


def _held_by_another(observed: ObservedImage, name: str) -> bool:
    holder = observed.names.get(name)
    return holder is not None and holder.uid != observed.uid


def _with_changes(decision: Decision[ImageAction], changes: tuple[FieldChange, ...]) -> Decision[ImageAction]:
    diff: Diff[ImageAction] = Diff((), changes, _worst(changes), None, decision.diff.waiting)
    return Decision(diff, decision.phase, decision.reason, decision.message)


def _worst(changes: Iterable[FieldChange]) -> ChangeKind:
    return max((change.kind for change in changes), default=ChangeKind.NONE)
