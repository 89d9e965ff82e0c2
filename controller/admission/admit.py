"""PURE: what is submitted, over what is stored -> what is to be written, or everything that is wrong with it.

Applying takes the defaults of this version; what is not applied again keeps those it was admitted with. What would be
stored as it is stored already is not written at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.admission.consistency import PRUNED, inconsistencies
from controller.admission.effective import Effective, Means, Reading, effective
from controller.admission.host import Host
from controller.admission.networks import network_problems
from controller.diff.fields import managed, written_fields
from controller.graph.implied import Implied, implied
from controller.interface import ApplyOptions, Submission
from controller.store.snapshot import Snapshot
from manifests.interface import Located
from manifests.problems import Position, Problem, in_order
from resources.errors import EngineError
from resources.kinds import DEFAULTS_VERSION, SUPPORTED, Kind
from resources.meta import ObjectMeta, Ref
from resources.object import Manifest, Object
from resources.secret import Sealed


class Refused(EngineError):
    """Nothing was changed; `problems` says all that is wrong, each with its place."""

    retryable = False
    reason = "Invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Admission:
    written: tuple[Object, ...] = ()
    """New ones have the resource version 0; the others that of the object they replace."""
    unchanged: tuple[Ref, ...] = ()
    deleted: tuple[Object, ...] = ()
    """Marked for deletion: by --prune, or implied and without a user."""
    problems: tuple[Problem, ...] = ()
    positions: Mapping[Ref, Position] = field(default_factory=dict)
    """Of the manifests; of what is implied, of the field that does."""

    @property
    def created(self) -> tuple[Ref, ...]:
        return tuple(item.ref for item in self.written if not item.metadata.resource_version)

    @property
    def changed(self) -> tuple[Ref, ...]:
        return tuple(item.ref for item in self.written if item.metadata.resource_version)

    def over(self, snapshot: Snapshot) -> Snapshot:
        """All objects as they would be."""
        return snapshot.replaced((*self.written, *self.deleted))

    def check(self) -> None:
        """Raises: Refused."""
        problems = [problem for problem in self.problems if not problem.warning]
        if problems:
            raise Refused(problems)


def admit(
    submissions: Sequence[Submission],
    snapshot: Snapshot,
    options: ApplyOptions,
    *,
    now: datetime,
    new_uid: Callable[[], str],
    seal: Callable[[bytes], Sealed],
    digest: Callable[[bytes], str],
    generate: Callable[[int], str],
    host: Host | None = None,
) -> Admission:
    means = Means(now, new_uid, seal, digest, generate)
    problems: list[Problem] = []
    located: dict[Ref, Located] = {}
    written: list[Object] = []
    unchanged: list[Ref] = []
    for submission in submissions:
        manifest = submission.located.manifest
        ref = manifest.ref
        existing = snapshot.find(ref)
        flaw = _flaw(manifest, existing, located.get(ref), options)
        located.setdefault(ref, submission.located)
        if flaw:
            problems.append(Problem(submission.located.where("metadata.name"), "", flaw))
            continue
        reading = Reading(submission)
        item = _admitted(manifest, existing, effective(reading, existing, means), options, means)
        problems += reading.problems
        if item is existing:
            unchanged.append(ref)
        else:
            written.append(item)
    deleted, flaws = _pruned(snapshot, located, options, now)
    problems += flaws
    admission = Admission(tuple(written), tuple(unchanged), deleted)
    if problems:
        return _judged(admission, problems, located)
    namespaces = {ref.namespace for ref in (*located, *(item.ref for item in deleted))}
    found = implied(admission.over(snapshot), namespaces, now=now, new_uid=new_uid)
    admission = _completed(admission, found)
    for told in found.flaws:
        container, path = located.get(told.origin.container), told.origin.path
        if container is not None:
            problems.append(Problem(container.where(path), path, told.message))
    gone = [item.ref for item in admission.deleted if not item.metadata.implied]
    after = admission.over(snapshot)
    problems += inconsistencies(located, after, gone)
    problems += network_problems(located, snapshot, after, host or Host())
    return _judged(admission, problems, located, found)


def _completed(admission: Admission, found: Implied) -> Admission:
    """With what is implied. What was to go and is needed all the same stays."""
    stays = {item.key for item in found.written}
    kept = tuple(item for item in admission.deleted if item.key not in stays)
    return Admission((*admission.written, *found.written), admission.unchanged, (*kept, *found.deleted))


def _judged(
    admission: Admission, problems: Sequence[Problem], located: Mapping[Ref, Located], found: Implied | None = None
) -> Admission:
    positions = {ref: one.where("") for ref, one in located.items()}
    files = [position.file for position in positions.values()]
    for ref, origin in found.origins.items() if found else ():
        if origin.container in located:
            positions[ref] = located[origin.container].where(origin.path)
    return replace(admission, problems=in_order(problems, files), positions=positions)


def _flaw(manifest: Manifest, existing: Object | None, double: Located | None, options: ApplyOptions) -> str:
    """Why the object may not be applied at all."""
    ref = manifest.ref
    if manifest.kind not in SUPPORTED:
        return f"{manifest.kind} is a kind of a later version"
    if double is not None:
        return f"{ref} stands already at {double.where('metadata.name')}"
    if options.only_namespace and ref.namespace != options.only_namespace:
        return f"{ref} is in namespace {ref.namespace}, and only {options.only_namespace} may be written here"
    if existing is None:
        return ""
    if existing.deleting and not existing.metadata.implied:
        return f"{ref} is being deleted; apply it again when it is gone"
    owner = existing.metadata.owner
    if owner and owner != options.owner and not options.adopt:
        return f"{ref} belongs to the owner {owner!r}; say --owner {owner}, or take it over with --adopt"
    return ""


def _admitted(
    manifest: Manifest, existing: Object | None, content: Effective, options: ApplyOptions, means: Means
) -> Object:
    """The object to write; `existing` itself when there is nothing to write."""
    manager = f"apply:{options.owner}" if options.owner else options.manager
    if existing is None:
        meta = ObjectMeta(
            name=manifest.metadata.name,
            namespace=manifest.metadata.namespace,
            uid=means.new_uid(),
            creation_timestamp=means.now,
        )
        before, asked = meta, 0
    else:
        before = existing.metadata
        asked = existing.effective != content.effective or existing.inputs != content.inputs
    metadata = before.model_copy(
        update={
            "labels": manifest.metadata.labels,
            "annotations": manifest.metadata.annotations,
            "owner": options.owner,
            "generation": before.generation + asked,
            # What was implied until now is declared.
            "implied": False,
            "deletion_timestamp": None,
            "delete_data": False,
        }
    )
    item = Object(
        kind=manifest.kind,
        metadata=metadata,
        spec=content.spec,
        effective=content.effective,
        inputs=dict(content.inputs),
        defaults_version=DEFAULTS_VERSION,
        restart_request=existing.restart_request if existing else "",
        suspension=None if existing is None or _says_state(manifest) else existing.suspension,
    )
    if existing is not None and _same(existing, item):
        return existing
    managers = managed(before.field_managers, manager, written_fields(item), means.now)
    return item.model_copy(update={"metadata": metadata.model_copy(update={"field_managers": managers})})


def _says_state(manifest: Manifest) -> bool:
    return manifest.kind is Kind.CONTAINER and manifest.spec.state is not None


def _same(existing: Object, item: Object) -> bool:
    return (
        existing.metadata == item.metadata
        and existing.spec.written() == item.spec.written()
        and existing.effective == item.effective
        and existing.inputs == item.inputs
        and existing.suspension == item.suspension
    )


def _pruned(
    snapshot: Snapshot, named: Iterable[Ref], options: ApplyOptions, now: datetime
) -> tuple[tuple[Object, ...], list[Problem]]:
    if not options.prune:
        return (), []
    if not options.owner:
        return (), [Problem(PRUNED, "", "needs --owner: what another one applied is never pruned")]
    keep = set(named)
    found = [
        item
        for item in snapshot.list(namespace=options.only_namespace or None)
        if item.metadata.owner == options.owner and item.ref not in keep and not item.deleting
    ]
    marked = {"deletion_timestamp": now}
    return tuple(_with_metadata(item, marked) for item in found), []


def _with_metadata(item: Object, changes: Mapping[str, object]) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=changes)})
