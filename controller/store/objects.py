"""Objects in the store, decoded. Implements controller.interface.Objects.

All of them are held in memory as one snapshot that is replaced as a whole: readers take no lock and see each commit
entirely or not at all. Every write of objects renews /changed and demands that it is still as this process knows it, so
that nobody else's write is ever overlooked: what is known is then read again.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from controller.store import revisions, staging
from controller.store.interface import Compacted, Compare, Delete, Put, Store
from controller.store.layout import (
    CHANGED,
    OBJECTS,
    STATUS,
    allocation_key,
    dump_object,
    dump_status,
    held_prefix,
    load_object,
    load_status,
    name_key,
    object_key,
    parse_key,
    parts,
    status_key,
)
from controller.store.revisions import ApplyRecord
from controller.store.snapshot import Snapshot
from controller.store.statuses import Statuses
from resources.errors import Conflict, NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object

_POLL_SECONDS = 0.25
_CHANGES_KEPT = 10_000
"""Revisions a watch may lag behind; the store's log of changes is cut at twice as many."""


class ObjectStore:
    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.RLock()
        self._readable = threading.Condition()
        self._view = Snapshot()
        self._statuses = Statuses(self._write_statuses)
        self._changed = 0
        self._revision = 0
        self._compacted = 0
        self._stale = True
        with self._lock:
            self._refresh()

    def get(self, key: Key) -> Object | None:
        return self._view.get(key)

    def find(self, ref: Ref) -> Object | None:
        return self._view.find(ref)

    def list(self, kind: Kind | None = None, namespace: str | None = None) -> Sequence[Object]:
        """By kind, namespace and name."""
        return self._view.list(kind, namespace)

    def status(self, key: Key) -> Status | None:
        return self._statuses.get(key)

    def revision(self) -> int:
        return self.store.revision()

    def snapshot(self) -> Snapshot:
        return self._view

    def changed(self) -> int:
        """The revision that last changed an object; statuses do not count."""
        return self._changed

    def commit(self, objects: Sequence[Object], *, record: ApplyRecord | None = None, expect: int | None = None) -> int:
        """Write all or none of the objects and return the store's revision after it. Each must still have the resource
        version it carries, 0 for a new one, and a name nobody else has; `expect`: no object at all changed since then.

        Raises: Conflict naming the object.
        """
        if not objects and record is None:
            return self.revision()
        with self._lock:
            while True:
                self._refresh()
                if expect is not None and self._changed > expect:
                    raise Conflict(f"objects changed since revision {expect}", hint="look again, then try again")
                operations = [*self._checked(objects), *self._names(objects)]
                number = revisions.current(self.store) + 1 if record is not None else 0
                if record is not None:
                    operations += [*revisions.puts(record, number), *revisions.expired(self.store, number)]
                done = self._write(operations)
                if done is None:
                    continue
                written = [_versioned(item, done.versions[object_key(item.key)]) for item in objects]
                self._publish(done.revision, self._view.replaced(written, revision=done.revision))
                return done.revision

    def edit(
        self,
        key: Key,
        change: Callable[[Object], Object],
        *,
        beside: Callable[[Object, Object], Sequence[Object]] | None = None,
    ) -> Object:
        """Change one object, again on what is there by then if somebody else was quicker; one that comes out as it was is
        not written. The generation is counted up when the effective spec changed. `beside` says what else is written with
        it, from how it was and how it will be.

        Raises: NotFound, Conflict for a name that is taken, what `change` raises.
        """
        while True:
            before = self.get(key)
            if before is None:
                raise NotFound(f"{key} is not there any more")
            after = change(before)
            if after == before:
                return before
            if after.effective != before.effective and after.metadata.generation == before.metadata.generation:
                after = _metadata(after, generation=before.metadata.generation + 1)
            others = beside(before, after) if beside else ()
            try:
                self.commit([after, *others])
            except Conflict:
                now = self.get(key)
                same = now is not None and now.metadata.resource_version == before.metadata.resource_version
                if same and not others:
                    raise
                continue
            return self.get(key) or after

    def remove(self, key: Key, *, resource_version: int | None = None) -> None:
        """Forget the object with its name, its status and all that is allocated to it.

        Raises: NotFound, Conflict when it has another resource version.
        """
        with self._lock:
            while True:
                self._refresh()
                item = self._view.get(key)
                if item is None:
                    raise NotFound(f"{key} is not there any more")
                if resource_version not in (None, item.metadata.resource_version):
                    raise Conflict(f"{item.ref} was changed meanwhile")
                freed: list[Put | Delete] = []
                for entry in self.store.range(held_prefix(key.uid)):
                    freed += [Delete(entry.key), Delete(allocation_key(parts(entry.key)[2], entry.value.decode()))]
                gone = [Delete(object_key(key)), Delete(name_key(item.ref)), Delete(status_key(key))]
                done = self._write([*freed, *gone])
                if done is not None:
                    self._publish(done.revision, self._view.replaced([], [key], revision=done.revision))
                    self._statuses.drop(key)
                    return

    def put_status(self, key: Key, status: Status) -> bool:
        """Report it, unless that is what is reported or the object is gone; say whether it is news. It can be read at once,
        and is written soon (`settle` waits for that)."""
        if key not in self._view.objects or not self._statuses.put(key, status):
            return False
        if key not in self._view.objects:  # it went just now, and its status with it
            self._statuses.drop(key)
            return False
        return True

    def settle(self) -> None:
        self._statuses.settle()

    def watch(self, since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        """Keys whose object or status changed after that revision, once the change can be read. A watch that lags too far
        behind gets every key there is."""
        while not stopped():
            try:
                for event in self.store.watch("/", since, stopped):
                    key = parse_key(event.key)
                    if key is not None:
                        self._until_readable(event.revision, stopped)
                        yield key
                    since = event.revision
                return
            except Compacted:
                since = self.revision()
                yield from self._view.objects

    def _refresh(self) -> None:
        """Read everything again when a write may have been half done, or was somebody else's."""
        if not self._stale:
            return
        staging.recover(self.store)
        revision, entries = self.store.snapshot([OBJECTS, STATUS, CHANGED])
        found: list[Object] = []
        statuses: dict[Key, Status] = {}
        for entry in entries:
            key = parse_key(entry.key)
            if key is None:
                self._changed = entry.mod_revision
            elif entry.key.startswith(OBJECTS):
                known = self._view.get(key)
                same = known is not None and known.metadata.resource_version == entry.mod_revision
                found.append(known if known is not None and same else load_object(entry))
            elif (status := load_status(entry)) is not None:
                statuses[key] = status
        self._statuses.load(statuses)
        self._stale = False
        self._publish(revision, Snapshot().replaced(found, revision=revision))

    def _write(self, operations: Sequence[Put | Delete]) -> staging.Committed | None:
        self._stale = True
        done = staging.commit(self.store, Compare(CHANGED, self._changed), Put(CHANGED, b""), operations)
        if done is not None:
            self._changed = done.versions[CHANGED]
            self._stale = False
        return done

    def _write_statuses(self, statuses: Mapping[Key, Status]) -> None:
        with self._lock:
            self._refresh()
            there = {key: status for key, status in statuses.items() if key in self._view.objects}
            revision = self.store.txn([], [Put(status_key(key), dump_status(one)) for key, one in there.items()])
            self._publish(revision or 0, self._view)

    def _publish(self, revision: int, view: Snapshot) -> None:
        with self._readable:
            self._view = view
            self._revision = max(self._revision, revision)
            self._readable.notify_all()
        if revision - self._compacted > 2 * _CHANGES_KEPT:
            self._compacted = revision - _CHANGES_KEPT
            self.store.compact(self._compacted)

    def _until_readable(self, revision: int, stopped: Callable[[], bool]) -> None:
        with self._readable:
            while self._revision < revision and not stopped():
                self._readable.wait(_POLL_SECONDS)

    def _checked(self, objects: Sequence[Object]) -> Iterator[Put]:
        for item in objects:
            there = self._view.get(item.key)
            version = item.metadata.resource_version
            if there is None and version:
                raise Conflict(f"{item.ref} was deleted meanwhile")
            if there is not None and version != there.metadata.resource_version:
                raise Conflict(f"{item.ref} was changed meanwhile")
            yield Put(object_key(item.key), dump_object(item))

    def _names(self, objects: Sequence[Object]) -> Iterator[Put | Delete]:
        """What it takes to move names. Two objects may exchange theirs."""
        claimed: dict[Ref, Key] = {}
        released: set[Ref] = set()
        for item in objects:
            old = self._view.get(item.key)
            if old is not None and old.ref != item.ref:
                released.add(old.ref)
            if old is None or old.ref != item.ref:
                if item.ref in claimed:
                    raise Conflict(f"two objects would be {item.ref} in namespace {item.metadata.namespace}")
                claimed[item.ref] = item.key
        for ref, key in claimed.items():
            if ref in self._view.names and ref not in released:
                raise Conflict(f"{ref} exists already in namespace {ref.namespace}")
            yield Put(name_key(ref), key.uid.encode())
        for ref in released - set(claimed):
            yield Delete(name_key(ref))


def _versioned(item: Object, version: int) -> Object:
    return _metadata(item, resource_version=version)


def _metadata(item: Object, **changes: int) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=changes)})
