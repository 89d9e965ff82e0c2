"""The engine as its callers see it: desired state is written here, and the loop woken. Nothing here touches the host but to
observe it for a plan. Implements controller.interface.Backend.
"""

import os
import platform
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.admission.addresses import edit_flaws
from controller.admission.admit import Admission, admit
from controller.admission.host import Host
from controller.engine import Engine, marked_for_deletion
from controller.graph import dependencies
from controller.graph.implied import implied
from controller.images.interface import ImageOperations
from controller.interface import Applied, ApplyOptions, Operations, Retained, Submission
from controller.plan import Look, Plan, fold
from controller.reports.events import EventStore
from controller.settings import Settings
from controller.store.objects import ObjectStore
from controller.store.revisions import ApplyRecord
from controller.store.seal import HostKey, generate
from controller.store.snapshot import Snapshot
from controller.store.uploads import UploadFolder
from drivers.runtime.interface import RuntimeInfo
from reconcilers.interface import ChangeKind, Diff
from resources.errors import Conflict, FailedPrecondition, NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object
from resources.version import VERSION

_ATTEMPTS = 50


def now() -> datetime:
    return datetime.now(UTC)


class EngineBackend:
    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        events: EventStore,
        uploads: UploadFolder,
        operations: Operations,
        retained: Retained,
        images: ImageOperations,
        key: HostKey,
        runtime: Callable[[], RuntimeInfo],
        host: Callable[[], Host],
        stopping: threading.Event,
        new_uid: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.objects: ObjectStore = engine.objects
        self.events = events
        self.uploads = uploads
        self.operations = operations
        self.retained = retained
        self.images = images
        self.key = key
        self._runtime = runtime
        self._host = host
        self._stopping = stopping
        self._new_uid = new_uid

    def wanted(self, submissions: Sequence[Submission]) -> frozenset[str]:
        found = set()
        for submission in submissions:
            item = self.objects.find(submission.located.manifest.ref)
            for path, content in submission.contents.items():
                if (
                    content.data is None
                    and not self.uploads.expect(content.digest)
                    and not self._made(item, path, content.digest)
                ):
                    found.add(content.digest)
        return frozenset(found)

    def plan(self, submissions: Sequence[Submission], options: ApplyOptions) -> Plan:
        snapshot = self.objects.snapshot()
        admission = self._admit(submissions, snapshot, options)
        admission.check()
        return fold(admission, snapshot, self._look(admission.over(snapshot)), changed=self.objects.changed())

    def apply(self, submissions: Sequence[Submission], options: ApplyOptions, *, expect: int | None = None) -> Applied:
        for _ in range(_ATTEMPTS):
            changed = self.objects.changed()  # before the snapshot: a write between the two is found out below
            snapshot = self.objects.snapshot()
            if expect is not None and changed != expect:
                raise Conflict("objects changed since the plan was made", hint="plan again")
            admission = self._admit(submissions, snapshot, options)
            admission.check()
            with self.uploads.held():
                self._check_content(admission, snapshot)
                revision = self._commit(admission, snapshot, options, changed)
            if revision is None:
                continue  # somebody else wrote meanwhile: what is submitted is judged anew on what there is now
            return self._applied(submissions, admission, revision)
        raise Conflict("others change the same objects all the time", hint="try again")

    def delete(self, refs: Sequence[Ref], *, data: bool, cascade: bool, force: bool) -> tuple[Ref, ...]:
        for _ in range(_ATTEMPTS):
            items = self._found(refs)
            items = self._with_users(items, cascade=cascade)
            marked = [_ending(item, data=data, force=force) for item in items.values()]
            written = [item for item in marked if item != items[item.key]]
            record = ApplyRecord(
                time=now(),
                manager="cli",
                deleted=tuple(item.ref for item in written),
                previous=tuple(items[item.key] for item in written),
            )
            try:
                if written:
                    self.objects.commit(written, record=record)
            except Conflict:
                # What went meanwhile, with its last user perhaps, is as it was to be.
                refs = [ref for ref in refs if self.objects.find(ref) is not None]
                continue
            self._wake(marked)
            return tuple(item.ref for item in marked)
        raise Conflict("others change the same objects all the time", hint="try again")

    def edit(self, ref: Ref, change: Callable[[Object], Object], *, manager: str, reason: str) -> Object:
        item = self._find(ref)

        def checked(found: Object) -> Object:
            if found.deleting:
                raise FailedPrecondition(f"{ref} is being deleted")
            made = change(found)
            for flaw in edit_flaws(found, made, self.objects.snapshot(), self._host()):
                raise FailedPrecondition(flaw)
            return made

        edited = self.objects.edit(item.key, checked, beside=self._implied)
        self.events.emit(item.key, reason, f"by {manager}")
        self.engine.wake(item.key)
        return edited

    def rename(self, ref: Ref, name: str) -> Object:
        item = self._find(ref)
        users = [user.ref for user in self.engine.users(ref) if user.key != item.key]
        if users:
            raise FailedPrecondition(
                f"{ref} is named by {', '.join(map(str, users))}", hint="change the manifest and apply it instead"
            )

        def renamed(found: Object) -> Object:
            return found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})})

        return self.edit(ref, renamed, manager="cli", reason="Renamed")

    def changes(self, since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        return self.objects.watch(since, lambda: stopped() or self._stopping.is_set())

    def graph(self, submissions: Sequence[Submission], namespace: str | None) -> Sequence[tuple[Ref, Ref, str]]:
        snapshot = self.objects.snapshot()
        items: Sequence[Object] = snapshot.list(namespace=namespace)
        if submissions:
            items = self._admit(submissions, snapshot, ApplyOptions()).over(snapshot).list(namespace=namespace)
            named = {submission.located.manifest.ref for submission in submissions}
            return [edge for edge in _edges(items) if edge[0] in named or edge[1] in named]
        return _edges(items)

    def settled(self, key: Key) -> bool:
        item, outcome = self.objects.get(key), self.engine.outcome(key)
        if item is None:
            return True
        looked = (
            outcome is not None
            and outcome.resource_version == item.metadata.resource_version
            and outcome.dependencies == self.engine.standing(item)
        )
        return looked and self.engine.queue.idle(key) and not self.engine.queue.failing(key)

    def describe_host(self) -> Mapping[str, Any]:
        runtime = self._runtime()
        counts = {kind.lower(): len(self.objects.list(kind)) for kind in Kind if self.objects.list(kind)}
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "root": str(self.settings.root),
            "runRoot": str(self.settings.run_root),
            "instance": self.settings.instance,
            "runtime": runtime.name,
            "runtimeVersion": runtime.version,
            "runtimeReason": runtime.reason,
            "knownIssues": list(runtime.known_issues),
            "snapshotter": "overlay",
            "kernel": platform.release(),
            "python": platform.python_version(),
            "platform": self.settings.platform,
            "objects": counts,
            "slowestAct": {"action": self.engine.slowest_act[0], "seconds": round(self.engine.slowest_act[1], 4)},
        }

    def seal(self, data: bytes) -> bytes:
        return self.key.seal_bytes(data)

    def unseal(self, data: bytes) -> bytes:
        return self.key.open_bytes(data)

    def shutdown(self) -> None:
        self._stopping.set()

    def _admit(self, submissions: Sequence[Submission], snapshot: Snapshot, options: ApplyOptions) -> Admission:
        return admit(
            submissions,
            snapshot,
            options,
            now=now(),
            new_uid=self._new_uid,
            seal=self.key.seal,
            digest=self.key.digest,
            generate=generate,
            host=self._host(),
        )

    def _look(self, after: Snapshot) -> Look:
        def look(item: Object, changing: Mapping[Ref, ChangeKind]) -> Diff[Any]:
            reconciler = self.engine.reconcilers[item.kind]
            context = self.engine.planning_context(item, after, changing)
            return reconciler.diff(item, reconciler.observe(item.key, item, context), context)

        return look

    def _commit(self, admission: Admission, snapshot: Snapshot, options: ApplyOptions, changed: int) -> int | None:
        """None when somebody else has written since."""
        written = (*admission.written, *admission.deleted)
        if not written:
            return self.objects.revision()
        before = [snapshot.get(item.key) for item in written]
        record = ApplyRecord(
            time=now(),
            manager=options.manager,
            owner=options.owner,
            created=admission.created,
            changed=admission.changed,
            deleted=tuple(item.ref for item in admission.deleted),
            previous=tuple(item for item in before if item is not None),
        )
        try:
            return self.objects.commit(written, record=record, expect=changed)
        except Conflict:
            return None

    def _check_content(self, admission: Admission, snapshot: Snapshot) -> None:
        """What the client was told need not be sent may have gone since, with the object that was made of it."""
        for item in admission.written:
            before = snapshot.get(item.key)
            for path, content in item.inputs.items():
                known = before is not None and before.inputs.get(path) == content
                if not known and not self.uploads.has(content.digest):
                    raise Conflict(f"{item.ref}: the content of {path} is not here", hint="apply again to send it")

    def _applied(self, submissions: Sequence[Submission], admission: Admission, revision: int) -> Applied:
        self.uploads.used({c.digest for s in submissions for c in s.contents.values() if c.data is None})
        for submission in submissions:  # what somebody broke meanwhile is put right by an apply, too
            item = self.objects.find(submission.located.manifest.ref)
            if item is not None:
                self.engine.refresh(item)
        self._wake([*admission.written, *admission.deleted])
        for ref in admission.created:
            self._tell(ref, "Created")
        for ref in admission.changed:
            self._tell(ref, "Changed")
        for item in admission.deleted:
            self._tell(item.ref, "Pruned")
        deleted = tuple(item.ref for item in admission.deleted)
        return Applied(revision, admission.created, admission.changed, deleted, admission.unchanged)

    def _tell(self, ref: Ref, reason: str) -> None:
        item = self.objects.find(ref)
        if item is not None:
            self.events.emit(item.key, reason, f"{ref} by an apply")

    def _wake(self, items: Sequence[Object]) -> None:
        for item in items:
            self.engine.wake(item.key)

    def _made(self, item: Object | None, path: str, digest: str) -> bool:
        """Whether the object was already made of this very content, and is well."""
        if item is None or item.deleting:
            return False
        known = item.inputs.get(path)
        return known is not None and known.digest == digest and self.engine.ready(item)

    def _implied(self, before: Object, after: Object) -> Sequence[Object]:
        """What comes and goes with the references of an edited object. Raises: FailedPrecondition."""
        if after.effective == before.effective:
            return ()
        snapshot = self.objects.snapshot().replaced([after])
        found = implied(snapshot, [after.metadata.namespace], now=now(), new_uid=self._new_uid)
        if found.flaws:
            raise FailedPrecondition(found.flaws[0].message)
        return (*found.written, *found.deleted)

    def _find(self, ref: Ref) -> Object:
        item = self.objects.find(ref)
        if item is None:
            raise NotFound(
                f"there is no {ref} in namespace {ref.namespace}",
                hint=f"`lading get {ref.kind.lower()}` lists those there are",
            )
        return item

    def _found(self, refs: Sequence[Ref]) -> dict[Key, Object]:
        return {item.key: item for item in map(self._find, refs)}

    def _with_users(self, items: dict[Key, Object], *, cascade: bool) -> dict[Key, Object]:
        """All of them and, with cascade, whatever uses them. Raises: FailedPrecondition."""
        found, rest = dict(items), list(items.values())
        blocked: dict[Ref, list[Ref]] = {}
        while rest:
            item = rest.pop()
            for user in self.engine.users(item.ref):
                if user.key in found or user.deleting:
                    continue
                if cascade:
                    found[user.key] = user
                    rest.append(user)
                else:
                    blocked.setdefault(item.ref, []).append(user.ref)
        if blocked:
            words = "; ".join(
                f"{ref} is used by {', '.join(sorted(map(str, users)))}" for ref, users in blocked.items()
            )
            raise FailedPrecondition(words, hint="delete those too, or say --cascade")
        return found


def _ending(item: Object, *, data: bool, force: bool) -> Object:
    ending = marked_for_deletion(item, now(), data=data)
    if force and item.kind is Kind.CONTAINER:
        stop = item.effective.stop.model_copy(update={"timeout": 0})
        ending = ending.model_copy(update={"effective": item.effective.model_copy(update={"stop": stop})})
    return ending


def _edges(items: Sequence[Object]) -> list[tuple[Ref, Ref, str]]:
    return [(edge.dependent, edge.dependency, edge.condition) for edge in dependencies.edges(items)]
