"""PURE: what an apply would change, object by object, and what the loop would then do to the host."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from controller.diff.contents import content_changes
from controller.diff.fields import covers, differences
from controller.diff.lists import NETWORKS, PORTS, as_written, network_changes, port_changes
from controller.graph import dependencies, order
from controller.store.snapshot import Snapshot
from manifests.problems import Position
from reconcilers.interface import ChangeKind, Diff, FieldChange
from resources.errors import InvalidArgument
from resources.kinds import DEFAULTS_VERSION, Kind
from resources.meta import Ref
from resources.object import Object

FORMAT = 1


Look = Callable[[Object, Mapping[Ref, ChangeKind]], Diff[Any]]


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NONE = "none"
    """Its desired state stays; the host, or what it depends on, may differ all the same."""


@dataclass(frozen=True, slots=True)
class Change:
    ref: Ref
    verb: Verb
    kind: ChangeKind = ChangeKind.NONE
    fields: tuple[FieldChange, ...] = ()
    actions: tuple[str, ...] = ()
    waiting: str = ""
    position: str = ""
    """Of its manifest: `file:line:column`."""
    note: str = ""
    asks: str = ""
    """The name that an apply asks a registry about though nothing changes here: what comes of it nobody knows before."""

    @property
    def empty(self) -> bool:
        return self.verb is Verb.NONE and not (self.fields or self.actions)

    @property
    def drift(self) -> tuple[FieldChange, ...]:
        return tuple(field for field in self.fields if field.drift)


@dataclass(frozen=True, slots=True)
class Plan:
    revision: int
    """When objects last changed before this was planned: while that stays so, it is not stale."""
    changes: tuple[Change, ...] = ()
    """What an object depends on comes before it; deletions come last, and the other way round."""

    @property
    def empty(self) -> bool:
        return all(change.empty for change in self.changes)

    @property
    def changes_desired(self) -> bool:
        return any(change.verb is not Verb.NONE for change in self.changes)

    @property
    def has_drift(self) -> bool:
        return any(change.drift for change in self.changes)


class Decided(Protocol):
    """What admission decided (controller.admission.admit.Admission)."""

    @property
    def written(self) -> tuple[Object, ...]: ...
    @property
    def unchanged(self) -> tuple[Ref, ...]: ...
    @property
    def deleted(self) -> tuple[Object, ...]: ...
    @property
    def positions(self) -> Mapping[Ref, Position]: ...

    def over(self, snapshot: Snapshot) -> Snapshot: ...


def fold(decided: Decided, snapshot: Snapshot, look: Look, *, changed: int) -> Plan:
    """Look at everything that is submitted or deleted, and at whatever depends on that, in the order of the graph. `look`
    observes and diffs an object as it would be, given what comes of those before it; `changed` is when the objects of the
    snapshot last changed."""
    after = decided.over(snapshot)
    edges = dependencies.edges(after.objects.values())
    written = {item.ref for item in decided.written}
    deleted = {item.ref for item in decided.deleted}
    named = written | deleted | set(decided.unchanged)
    changes: list[Change] = []
    deletions: list[Change] = []
    changing: dict[Ref, ChangeKind] = {}
    for ref in (ref for layer in order.layers(_affected(named, edges), edges) for ref in layer):
        item = after.find(ref)
        if item is None:
            continue
        position = decided.positions.get(ref)
        verb = Verb.DELETE if ref in deleted else Verb.NONE if ref not in written else _verb(item)
        before = snapshot.get(item.key) if verb is Verb.UPDATE else None
        change = _change(item, before, verb, look(item, changing), "" if position is None else str(position))
        changing[ref] = change.kind
        if ref in deleted:
            deletions.append(change)
        elif ref in named or not change.empty:
            changes.append(change)
    return Plan(changed, (*changes, *reversed(deletions)))


def _affected(named: set[Ref], edges: Sequence[dependencies.Edge]) -> set[Ref]:
    """With all that depends on them: a new image or config is a change of every container that uses it."""
    users: dict[Ref, list[Ref]] = {}
    for edge in edges:
        users.setdefault(edge.dependency, []).append(edge.dependent)
    found, rest = set(named), list(named)
    while rest:
        for user in users.get(rest.pop(), ()):
            if user not in found:
                found.add(user)
                rest.append(user)
    return found


def _verb(item: Object) -> Verb:
    return Verb.UPDATE if item.metadata.resource_version else Verb.CREATE


def _change(item: Object, before: Object | None, verb: Verb, diff: Diff[Any], position: str) -> Change:
    fields = [told for change in diff.changes for told in _as_written(item, change)]
    note = ""
    if before is not None:
        fields += _unreported(before, item, diff.changes)
        if before.defaults_version < DEFAULTS_VERSION and before.spec.written() == item.spec.written():
            note = "takes the defaults of this version"
        elif not fields:
            note = "written differently, with the same meaning"
    if item.metadata.implied:
        note = "implied"
    return Change(
        ref=item.ref,
        verb=verb,
        kind=max([diff.kind, *(field.kind for field in fields)]),
        fields=tuple(fields),
        actions=tuple(action.describe() for action in diff.actions),
        waiting=diff.waiting,
        position=position,
        note=note,
        asks=asked_by_apply(item) if verb is Verb.NONE else "",
    )


def asked_by_apply(item: Object) -> str:
    """The reference of an Image that each apply which names it has looked up anew; "" for all others."""
    if item.kind is not Kind.IMAGE or item.metadata.implied or item.effective.pull != "always":
        return ""
    reference = item.effective.source.registry or ""
    return "" if "@" in reference else reference


def _unreported(before: Object, item: Object, reported: Iterable[FieldChange]) -> Iterator[FieldChange]:
    """What was changed in the store and has no other effect than that it is known."""
    known = [change.path for change in reported]
    for path, old, new in _stored_differences(before, item):
        if not any(covers(one, path) or covers(path, one) for one in known):
            yield FieldChange(path, old, new, ChangeKind.HOT)


def _stored_differences(before: Object, item: Object) -> Iterator[tuple[str, Any, Any]]:
    old, new = before.metadata, item.metadata
    yield from differences(old.labels, new.labels, "metadata.labels")
    yield from differences(old.annotations, new.annotations, "metadata.annotations")
    yield from differences(old.owner, new.owner, "metadata.owner")
    yield from differences(old.implied, new.implied, "metadata.implied")
    yield from _spec_differences(before, item)
    for path in sorted({*before.inputs, *item.inputs}):
        was, will = before.inputs.get(path), item.inputs.get(path)
        if was != will:
            yield path, was and was.digest, will and will.digest
    if before.suspension is not None and item.suspension is None:
        yield "suspension", f"{before.suspension.state} by {before.suspension.by}", None


def _spec_differences(before: Object, item: Object) -> Iterator[tuple[str, Any, Any]]:
    lists = (PORTS, NETWORKS) if item.kind is Kind.CONTAINER else ()
    yield from (one for one in content_changes(before, item) if not any(covers(path, one[0]) for path in lists))
    if lists:
        was, will = before.effective.full(), item.effective.full()
        yield from port_changes(was["ports"], will["ports"])
        yield from network_changes(was["networks"], will["networks"])


def _as_written(item: Object, change: FieldChange) -> Iterator[FieldChange]:
    return as_written(change) if item.kind is Kind.CONTAINER else iter((change,))


def to_json(plan: Plan) -> dict[str, Any]:
    return {"format": FORMAT, "revision": plan.revision, "changes": [_encode(change) for change in plan.changes]}


def from_json(data: Any) -> Plan:
    """Raises: InvalidArgument."""
    try:
        if data["format"] != FORMAT:
            raise InvalidArgument(f"the plan has the format {data['format']!r}, this version reads {FORMAT}")
        return Plan(int(data["revision"]), tuple(_decode(change) for change in data["changes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument("this is no plan", hint="lading plan --out makes one") from error


def kind_word(kind: ChangeKind) -> str:
    return kind.name.lower().replace("_", "-")


def _encode(change: Change) -> dict[str, Any]:
    return {
        "kind": change.ref.kind.value,
        "namespace": change.ref.namespace,
        "name": change.ref.name,
        "verb": change.verb.value,
        "change": kind_word(change.kind),
        "fields": [
            {
                "path": field.path,
                "old": field.old,
                "new": field.new,
                "change": kind_word(field.kind),
                "drift": field.drift,
            }
            for field in change.fields
        ],
        "actions": list(change.actions),
        "waiting": change.waiting,
        "position": change.position,
        "note": change.note,
        "asks": change.asks,
    }


def _decode(data: Any) -> Change:
    def kind(word: str) -> ChangeKind:
        return ChangeKind[word.upper().replace("-", "_")]

    fields = (FieldChange(f["path"], f["old"], f["new"], kind(f["change"]), f["drift"]) for f in data["fields"])
    return Change(
        ref=Ref.parse({name: data[name] for name in ("kind", "namespace", "name")}),
        verb=Verb(data["verb"]),
        kind=kind(data["change"]),
        fields=tuple(fields),
        actions=tuple(data["actions"]),
        waiting=data["waiting"],
        position=data["position"],
        note=data["note"],
        asks=data["asks"],
    )
