"""An engine in memory for the tests of the API: it keeps what it is told, and tells of every change."""

import hashlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.interface import Applied, ApplyOptions, EngineEvent, Submission
from controller.plan import Change, Plan, Verb
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import Kind
from resources.meta import Key, ObjectMeta, Ref, Status
from resources.object import Object
from resources.secret import Sealed, SecretContent

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeBackend:
    """Its own objects, uploads, events and operations."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._statuses: dict[Key, Status] = {}
        self._changes: list[Key] = []
        self._followers: list[queue.SimpleQueue[Key]] = []
        self.received: dict[str, bytes] = {}
        self.log: list[EngineEvent] = []
        self.signals: list[tuple[Ref, str]] = []
        self.applied: list[tuple[Sequence[Submission], ApplyOptions]] = []
        self.deletions: list[dict[str, bool]] = []
        self.edits: list[tuple[str, str]] = []
        self.used: set[Ref] = set()
        self.fail: Exception | None = None
        self.followers = 0
        self.objects = self.uploads = self.events = self.operations = self

    # objects

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def find(self, ref: Ref) -> Object | None:
        if self.fail is not None:
            raise self.fail
        return next((item for item in self._objects.values() if item.ref == ref), None)

    def list(self, kind: Any = None, namespace: str | None = None) -> Sequence[Object]:
        found = (o for o in self._objects.values() if kind in (None, o.kind))
        mine = (o for o in found if namespace in (None, o.metadata.namespace))
        return sorted(mine, key=lambda o: (o.kind, o.metadata.namespace, o.metadata.name))

    def status(self, key: Key) -> Status | None:
        return self._statuses.get(key)

    def revision(self) -> int:
        return len(self._changes)

    def put(self, item: Object, status: Status | None = None) -> None:
        self._objects[item.key] = item
        if status is not None:
            self._statuses[item.key] = status
        self._changed(item.key)

    def _changed(self, key: Key) -> None:
        self._changes.append(key)
        for follower in self._followers:
            follower.put(key)

    # uploads

    def has(self, digest: str) -> bool:
        return digest in self.received

    def receive(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        data = b"".join(chunks)
        if len(data) != size:
            raise InvalidArgument(f"{len(data)} bytes came, not {size}")
        self.received[digest] = data

    # events

    def read(self, since: int = 0, *, limit: int = 10_000) -> Sequence[EngineEvent]:
        return [event for event in self.log if event.sequence > since][:limit]

    def follow(self, since: int, stopped: Callable[[], bool]) -> Iterator[EngineEvent]:
        return iter(self.read(since))

    # operations

    def kill(self, name: Ref, signal: str) -> None:
        self._known(name)
        self.signals.append((name, signal))

    # what writes

    def wanted(self, submissions: Sequence[Submission]) -> frozenset[str]:
        contents = [content for one in submissions for content in one.contents.values()]
        return frozenset(c.digest for c in contents if c.data is None and c.digest not in self.received)

    def apply(self, submissions: Sequence[Submission], options: ApplyOptions, *, expect: int | None = None) -> Applied:
        self.applied.append((submissions, options))
        created, changed, unchanged = [], [], []
        for submission in submissions:
            manifest = submission.located.manifest
            before = self.find(manifest.ref)
            if before is not None and before.metadata.owner not in ("", options.owner) and not options.adopt:
                raise Conflict(f"{manifest.ref} belongs to {before.metadata.owner}")
            if before is not None and before.spec == manifest.spec:
                unchanged.append(manifest.ref)
                continue
            (created if before is None else changed).append(manifest.ref)
            self.put(made(manifest.kind, manifest.metadata.name, manifest.spec, namespace=manifest.metadata.namespace))
        return Applied(self.revision(), tuple(created), tuple(changed), (), tuple(unchanged))

    def plan(self, submissions: Sequence[Submission], options: ApplyOptions) -> Plan:
        refs = [one.located.manifest.ref for one in submissions]
        return Plan(self.revision(), tuple(Change(ref, Verb.NONE if self.find(ref) else Verb.CREATE) for ref in refs))

    def delete(self, refs: Sequence[Ref], *, data: bool, cascade: bool, force: bool) -> tuple[Ref, ...]:
        self.deletions.append({"data": data, "cascade": cascade, "force": force})
        for ref in refs:
            item = self._known(ref)
            if ref in self.used and not cascade:
                raise FailedPrecondition(f"{ref} is used by container/web", hint="delete that too, with --cascade")
            del self._objects[item.key]
            self._changed(item.key)
        return tuple(refs)

    def edit(self, ref: Ref, change: Callable[[Object], Object], *, manager: str, reason: str) -> Object:
        item = change(self._known(ref))
        self.edits.append((manager, reason))
        self.put(item)
        return item

    def changes(self, since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        mine: queue.SimpleQueue[Key] = queue.SimpleQueue()
        for key in self._changes[since:]:
            mine.put(key)
        self._followers.append(mine)
        self.followers += 1
        try:
            while not stopped():
                try:
                    yield mine.get(timeout=0.01)
                except queue.Empty:
                    continue
        finally:
            self.followers -= 1

    def describe_host(self) -> Mapping[str, Any]:
        return {"pid": 7, "since": NOW}

    def _known(self, ref: Ref) -> Object:
        item = self.find(ref)
        if item is None:
            raise NotFound(f"{ref} is not there")
        return item


def made(kind: Kind, name: str, spec: Any, *, namespace: str = "default", **metadata: Any) -> Object:
    effective = spec
    if kind is Kind.SECRET:
        effective = SecretContent(entries={key: Sealed(digest="d", value="sealed") for key in spec.data})
    uid = hashlib.md5(f"{kind.value}/{namespace}/{name}".encode()).hexdigest()
    meta = ObjectMeta(name=name, namespace=namespace, uid=uid, creation_timestamp=NOW, **metadata)
    return Object(kind=kind, metadata=meta, spec=spec, effective=effective)
