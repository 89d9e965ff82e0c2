"""Decide what an Image needs (PURE): import or pull, unpack, tags; names and content gone when it is deleted."""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from reconcilers.attempts import Turn, turn
from reconcilers.conditions import Decision, blocked, refused, waits
from reconcilers.image import from_registry
from reconcilers.image.model import (
    AbandonPull,
    DropJob,
    DropRecord,
    FinishPull,
    ImageAction,
    NoteUnpacked,
    ObservedImage,
    Record,
    SetTags,
    StartImport,
    StartPrune,
    StartPull,
    StartUnpack,
    UseLocal,
    Wanted,
    import_job,
    prune_job,
    unpack_job,
)
from reconcilers.image.progress import progress_words
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange, JobState
from resources.errors import Conflict, EngineError, InvalidArgument, Unsupported
from resources.image_reference import normalize
from resources.object import Object

SOURCES = ("registry", "archive", "layout", "rootfs")
INPUT_MISSING = "InputMissing"
_LOOK_AGAIN = timedelta(seconds=2)
_PROGRESS = timedelta(milliseconds=500)
"""How often work under way is looked at, so that its progress can be seen."""


def decide(desired: Object | None, observed: ObservedImage, context: Context) -> Decision[ImageAction]:
    found = _decide(desired, observed, context)
    if observed.pulled is None or context.planning:
        return found
    told = FinishPull(observed.uid, observed.pulled)
    return replace(found, diff=replace(found.diff, actions=(told, *found.diff.actions)))


def _decide(desired: Object | None, observed: ObservedImage, context: Context) -> Decision[ImageAction]:
    if desired is None or desired.deleting:
        return _removal(desired, observed, context)
    try:
        wanted = wanted_content(desired, observed.host_platform)
    except EngineError as error:
        return refused(error)
    stale = _content_changes(observed, wanted)
    record = observed.record
    if record is None or stale:
        return _bring(desired, observed, wanted, stale, context)
    unpacking = None if observed.unpacked else _unpack(observed, record, context)
    useless = unpacking is not None and unpacking.phase == "Failed"
    if unpacking is not None and not useless:
        return unpacking
    question = from_registry.asking(desired, observed, wanted, context, useless=useless)
    settled = unpacking or _settle(observed, record, wanted, context, asking=question is not None)
    if question is None:
        return settled
    now, drop = _turn(observed, question.work, context)
    decision = from_registry.asked(settled, question, now, context)
    return replace(decision, diff=replace(decision.diff, actions=(*drop, *decision.diff.actions)))


def usable(desired: Object, observed: ObservedImage, context: Context) -> bool:
    """Whether containers may be made of it though it is not as it should be: its content is right, as far as is known."""
    try:
        wanted = wanted_content(desired, observed.host_platform)
    except EngineError:
        return False
    if desired.deleting or not observed.unpacked or _content_changes(observed, wanted):
        return False
    question = from_registry.asking(desired, observed, wanted, context)
    return question is None or (observed.ask is not None and observed.ask.failed)


def wanted_content(desired: Object, host_platform: str) -> Wanted:
    """Raises: Unsupported, InvalidArgument naming the field."""
    spec = desired.effective
    if spec.source.type not in SOURCES:
        raise Unsupported(
            f"spec.from: this version has no images from a {spec.source.type}", hint=f"one of {', '.join(SOURCES)}"
        )
    sent = desired.inputs.get(f"spec.from.{spec.source.type}")
    reference = normalize(spec.source.registry) if spec.source.registry else ""
    return Wanted(
        source=spec.source.type,
        digest=sent.digest if sent else "",
        platform=spec.platform or host_platform,
        tags=normalised_tags(spec.tags),
        reference=reference,
    )


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
        return (FieldChange(f"spec.from.{wanted.source}", None, _made_of(wanted), ChangeKind.NONE),)
    found = made_otherwise(record, wanted)
    if not found and observed.image is None:
        found.append(FieldChange("content", "incomplete", "complete", ChangeKind.HOT, drift=True))
    return tuple(found)


def outdated(desired: Object, record: Record) -> bool:
    """Whether the image was made of something else than is wanted now, and is to be imported again."""
    try:
        return bool(made_otherwise(record, wanted_content(desired, record.platform)))
    except EngineError:
        return False


def made_otherwise(record: Record, wanted: Wanted) -> list[FieldChange]:
    """What it was made of that is not what it is to be made of."""
    found = []
    if (record.source, record.digest, record.reference) != (wanted.source, wanted.digest, wanted.reference):
        found.append(FieldChange(f"spec.from.{wanted.source}", _made_of(record), _made_of(wanted), ChangeKind.HOT))
    if record.platform != wanted.platform:
        found.append(FieldChange("spec.platform", record.platform, wanted.platform, ChangeKind.HOT))
    if record.choice is not None and record.choice != wanted.tags:
        found.append(FieldChange("content", "chosen by other tags", "chosen by these tags", ChangeKind.HOT))
    return found


def _made_of(content: Wanted | Record) -> str | None:
    return content.reference or content.digest or None


def _bring(
    desired: Object, observed: ObservedImage, wanted: Wanted, changes: tuple[FieldChange, ...], context: Context
) -> Decision[ImageAction]:
    shown = getattr(desired.effective.source, wanted.source)
    way: StartImport | StartPull | UseLocal | None = StartImport(observed.uid, wanted, shown, 1)
    if wanted.reference:
        way = from_registry.bringing(desired, observed, wanted, context)
    if way is None:
        decision = _with_changes(from_registry.missing(wanted), changes)
        # Nobody tells us when somebody brings it here.
        return replace(decision, diff=replace(decision.diff, wake_at=context.now + _LOOK_AGAIN))
    if context.planning:
        return _planned(observed, wanted, way, changes)
    waiting = blocked(context, "Pending")
    running = observed.importing is not None and observed.importing.running
    begun = running and observed.import_work in (None, wanted)
    if waiting is None and isinstance(way, StartImport) and not begun and not observed.input_here:
        waiting = waits("Pending", INPUT_MISSING, f"the content of {shown} is not here: apply again to send it")
    if waiting is not None:
        return _with_changes(waiting, changes)
    if isinstance(way, UseLocal):
        given_up = (DropJob(import_job(observed.uid)),) if running else ()
        return Decision(Diff((*given_up, way), changes, _worst(changes)), "Pending", "Local")
    doing = "Pulling" if wanted.reference else "Importing"
    now, drop = _turn(observed, way.work, context)
    if now.start:
        actions = (*drop, replace(way, attempt=now.start))
        return Decision(Diff(actions, changes, _worst(changes)), doing, doing)
    phase, reason = (now.failure, now.reason) if now.failed else (doing, doing)
    return Decision(Diff((), changes, _worst(changes), now.wake_at, now.message), phase, reason, now.message)


def _planned(
    observed: ObservedImage, wanted: Wanted, way: ImageAction, changes: tuple[FieldChange, ...]
) -> Decision[ImageAction]:
    put, drop = _tag_moves(observed, wanted.tags, "")
    steps: list[ImageAction] = [way]
    if not (isinstance(way, UseLocal) and way.local.unpacked):
        steps.append(StartUnpack(observed.uid, "", 1))
    if put or drop:
        steps.append(SetTags(observed.uid, put, drop, wanted.tags))
        if observed.record and observed.record.tags != wanted.tags:
            before, after = list(observed.record.tags), list(wanted.tags)
            changes = (*changes, FieldChange("spec.tags", before, after, ChangeKind.HOT))
    return Decision(Diff(tuple(steps), changes, _worst(changes)), "Pending", "Planned")


def _turn(observed: ObservedImage, work: Hashable, context: Context) -> tuple[Turn, tuple[ImageAction, ...]]:
    """What becomes of the work that brings it here; and what has to make way for it."""
    state = observed.importing
    if state is not None and state.running and observed.import_work not in (None, work):
        return Turn(start=1), (DropJob(import_job(observed.uid)),)
    return _seen(turn(state, work, context.now), state, context.now), ()


def _seen(now: Turn, state: JobState | None, at: datetime) -> Turn:
    """With its progress in words, and looked at again soon while it goes on."""
    if state is None or not state.running:
        return now
    return replace(now, message=progress_words(state), wake_at=at + _PROGRESS)


def _unpack(observed: ObservedImage, record: Record, context: Context) -> Decision[ImageAction]:
    change = FieldChange("snapshot", "missing", "unpacked", ChangeKind.HOT, drift=record.unpacked)
    now = _seen(turn(observed.unpacking, record.target, context.now), observed.unpacking, context.now)
    if now.start or context.planning:
        action = StartUnpack(observed.uid, record.target, now.start or 1)
        return Decision(Diff((action,), (change,), change.kind), "Unpacking", "Unpacking")
    phase, reason = (now.failure, now.reason) if now.failed else ("Unpacking", "Unpacking")
    return Decision(Diff((), (change,), change.kind, now.wake_at, now.message), phase, reason, now.message)


def _settle(
    observed: ObservedImage, record: Record, wanted: Wanted, context: Context, *, asking: bool
) -> Decision[ImageAction]:
    """The content is right: the tags, and no work that makes another of it."""
    actions: list[ImageAction] = []
    changes: list[FieldChange] = []
    if not record.unpacked:  # whoever unpacked it was killed before it could say so
        actions.append(NoteUnpacked(observed.uid, record.target))
    if observed.importing and observed.importing.running and not asking:
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
    message = f"{error}; it is tried again"
    return Decision(Diff(tuple(actions), tuple(changes), kind, wake_at, message), "Retrying", error.reason, message)


def _removal(desired: Object | None, observed: ObservedImage, context: Context) -> Decision[ImageAction]:
    waiting = blocked(context, "Deleting")
    if waiting is not None:
        return waiting
    actions: list[ImageAction] = []
    for state, job_id in ((observed.importing, import_job), (observed.unpacking, unpack_job)):
        if state is not None:
            actions.append(DropJob(job_id(observed.uid)))
    pruning, record = observed.pruning, observed.record
    reference = _reference(desired, record)
    if reference and not (observed.abandoned or context.planning):
        actions.append(AbandonPull(observed.uid, reference))
    _, drop = _tag_moves(observed, (), "")
    if drop:
        actions.append(SetTags(observed.uid, (), drop, ()))
    if record is not None and record.reference and _kept_by_others(observed, record.target):
        change = FieldChange("content", record.target, None, ChangeKind.NONE)
        return Decision(Diff((*actions, DropRecord(observed.uid, record.target)), (change,)), "Deleting", "Deleting")
    if record is None and (pruning is None or not (pruning.running or pruning.error)):
        if pruning is not None:
            actions.append(DropJob(prune_job(observed.uid)))
        return Decision(Diff(tuple(actions)), "Deleting", "Deleting")
    now = turn(pruning, observed.uid, context.now, insist=True)
    if now.start:
        actions.append(StartPrune(observed.uid, now.start))
    change = FieldChange("content", record.target if record else None, None, ChangeKind.NONE)
    diff = Diff(tuple(actions), (change,), wake_at=now.wake_at, waiting=now.message)
    return Decision(diff, "Deleting", now.reason or "Deleting", now.message)


def _reference(desired: Object | None, record: Record | None) -> str:
    """What was, or was to be, pulled."""
    if desired is None:
        return record.reference if record is not None else ""
    try:
        return wanted_content(desired, "").reference
    except EngineError:
        return ""


def _tag_moves(observed: ObservedImage, tags: tuple[str, ...], target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names to put, names to drop); with no target yet every tag is to be put."""
    ours = {name for name, holder in observed.names.items() if holder.uid == observed.uid}
    right = {name for name in ours if observed.names[name].target == target}
    return tuple(name for name in tags if name not in right), tuple(sorted(ours - set(tags)))


def _held_by_another(observed: ObservedImage, name: str) -> bool:
    holder = observed.names.get(name)
    return holder is not None and holder.uid != observed.uid and not holder.pulled


def _kept_by_others(observed: ObservedImage, target: str) -> bool:
    """A name is enough to keep content, whosever it is."""
    return any(holder.target == target and holder.uid != observed.uid for holder in observed.names.values())


def _with_changes(decision: Decision[ImageAction], changes: tuple[FieldChange, ...]) -> Decision[ImageAction]:
    diff: Diff[ImageAction] = Diff((), changes, _worst(changes), None, decision.diff.waiting)
    return Decision(diff, decision.phase, decision.reason, decision.message)


def _worst(changes: Iterable[FieldChange]) -> ChangeKind:
    return max((change.kind for change in changes), default=ChangeKind.NONE)
