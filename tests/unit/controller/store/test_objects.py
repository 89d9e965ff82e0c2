"""Objects in the store: all or nothing, one name one object, and no write overlooked."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from controller import revisions
from controller.revisions import ApplyRecord
from controller.store import layout
from controller.store.allocations import Allocations, Holder
from controller.store.interface import Compare, Delete, Entry, Event, Put, Store
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from controller.store.sqlite import SqliteStore
from resources.errors import Conflict, NotFound, ResourceExhausted
from resources.kinds import Kind
from resources.meta import Key
from resources.object import Object
from tests.unit.controller.making import NOW, made, ref, status


class Crash(Exception):
    pass


class CrashingStore:
    """Dies at transaction number `at`: before it is made, or just after."""

    def __init__(self, inner: Store, at: int, *, after: bool) -> None:
        self.inner = inner
        self._left = at
        self._after = after

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            raise Crash
        done = self.inner.txn(compares, operations)
        if self._left == 0:
            raise Crash
        return done

    def get(self, key: str) -> Entry | None:
        return self.inner.get(key)

    def range(self, prefix: str) -> Sequence[Entry]:
        return self.inner.range(prefix)

    def snapshot(self, prefixes: Sequence[str]) -> tuple[int, Sequence[Entry]]:
        return self.inner.snapshot(prefixes)

    def revision(self) -> int:
        return self.inner.revision()

    def watch(self, prefix: str, since: int, stopped: Callable[[], bool]) -> Iterator[Event]:
        return self.inner.watch(prefix, since, stopped)

    def compact(self, before: int) -> None:
        self.inner.compact(before)

    def close(self) -> None:
        self.inner.close()


def many(count: int, prefix: str = "c") -> list[Object]:
    return [made(f"container/{prefix}{number}", {"image": "a"}) for number in range(count)]


def changed(item: Object, image: str = "b", **meta: object) -> Object:
    spec = item.spec.model_copy(update={"image": image})
    metadata = item.metadata.model_copy(update=meta)
    return item.model_copy(update={"spec": spec, "effective": spec, "metadata": metadata})


def names_agree(store: ObjectStore) -> None:
    """The keys of names in the store say what the objects say."""
    indexed = {entry.key: entry.value.decode() for entry in store.store.range("/names/")}
    assert indexed == {layout.name_key(item.ref): item.metadata.uid for item in store.list()}


def test_what_is_committed_is_found_by_key_and_by_name_with_its_version() -> None:
    store = ObjectStore(MemoryStore())
    web = made("container/web", {"image": "nginx"})
    revision = store.commit([web])
    found = store.get(web.key)
    assert found is not None
    assert found.metadata.resource_version == revision
    assert found.model_copy(update={"metadata": web.metadata}) == web
    assert store.find(ref("container/web")) is found
    assert store.find(ref("container/web", "other")) is None
    assert store.snapshot().revision == revision


def test_objects_are_listed_by_kind_namespace_and_name() -> None:
    store = ObjectStore(MemoryStore())
    names = ["volume/a", "container/b", "container/a"]
    store.commit([made(name, {} if name.startswith("v") else {"image": "i"}) for name in names])
    store.commit([made("container/0", {"image": "i"}, namespace="other")])
    assert [str(item.ref) for item in store.list()] == ["container/a", "container/b", "container/0", "volume/a"]
    assert [item.metadata.name for item in store.list(Kind.CONTAINER, "default")] == ["a", "b"]
    assert [item.metadata.name for item in store.list(namespace="other")] == ["0"]


NETWORKS = [["host"], ["none"], [{"container": "x"}], [{"name": "a", "ipv4": "10.0.0.2"}, "b"]]


@pytest.mark.parametrize("networks", NETWORKS)
def test_a_container_comes_back_from_the_store_as_it_went_in(networks: list[object], tmp_path: Path) -> None:
    written = [one if isinstance(one, dict) else {"name": one} for one in networks]
    spec = {
        "image": {"name": "i"},
        "networks": written,
        "env": {"A": "1", "B": {"secret": "s", "key": "k"}},
        "mounts": [
            {"volume": "v", "target": "/v", "copyUp": False},
            {"bind": "/b", "target": "/b", "create": True},
            {"tmpfs": {"size": "64Mi"}, "target": "/t"},
            {"secret": "s", "target": "/s", "mode": "0400", "onChange": {"signal": "SIGHUP"}},
            {"image": {"name": "i"}, "target": "/i"},
        ],
        "health": {"http": {"port": 80}, "interval": "1500ms"},
        "resources": {"memory": "512Mi", "cpus": "1.5"},
    }
    path = tmp_path / "store.db"
    first = ObjectStore(SqliteStore(path))
    web = made("container/web", spec, labels={"a": "1"})
    first.commit([web])
    kept = first.get(web.key)
    first.store.close()
    assert ObjectStore(SqliteStore(path)).get(web.key) == kept


def test_a_write_of_an_older_version_is_a_conflict_that_names_the_object() -> None:
    store = ObjectStore(MemoryStore())
    store.commit([made("container/web", {"image": "a"})])
    old = store.list()[0]
    store.commit([changed(old)])
    with pytest.raises(Conflict, match="container/web was changed meanwhile"):
        store.commit([changed(old, "c"), made("container/other", {"image": "a"})])
    assert [item.effective.image for item in store.list()] == ["b"]
    store.remove(old.key)
    with pytest.raises(Conflict, match="container/web was deleted meanwhile"):
        store.commit([old])


def test_a_name_belongs_to_one_object_and_can_be_given_up_or_exchanged() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(2))
    with pytest.raises(Conflict, match="container/c0 exists already"):
        store.commit([made("container/c0", {"image": "a"})])
    with pytest.raises(Conflict, match="two objects would be container/x"):
        store.commit([made("container/x", {"image": "a"}), made("container/x", {"image": "a"})])
    zero, one = store.list()
    store.commit([changed(zero, name="c1"), changed(one, name="c0")])
    assert store.find(ref("container/c1")) == store.get(zero.key)
    store.edit(zero.key, lambda item: changed(item, name="renamed"))
    assert store.find(ref("container/c1")) is None
    assert store.find(ref("container/renamed")) == store.get(zero.key)
    names_agree(store)
    with pytest.raises(Conflict, match="container/c0 exists already"):
        store.edit(zero.key, lambda item: changed(item, name="c0"))


def test_expect_refuses_when_any_object_changed_since_and_a_status_is_no_change() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    base = store.changed()
    store.put_status(store.list()[0].key, status("Ready"))
    store.commit(many(1, "d"), expect=base)
    with pytest.raises(Conflict, match="objects changed since"):
        store.commit(many(1, "e"), expect=base)


@pytest.mark.parametrize("count", [1, 49, 50, 100, 260])
def test_commits_of_any_size_are_read_back(count: int) -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    items = many(count)
    store.commit(items)
    again = ObjectStore(inner)
    assert again.snapshot().objects == store.snapshot().objects
    assert len(again.list()) == count
    assert not inner.range(layout.STAGED)
    names_agree(again)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("count", [5, 80])
def test_a_crash_at_any_transaction_leaves_all_or_nothing(count: int, after: bool) -> None:
    """The old state has half of the objects; the commit changes, renames and adds."""
    outcomes = set()
    for at in itertools.count(1):
        inner = MemoryStore()
        ObjectStore(inner).commit(many(count))
        crashing = CrashingStore(inner, at, after=after)
        store = ObjectStore(crashing)
        before = {item.metadata.name for item in store.list()}
        wanted = [changed(item, name=f"new-{item.metadata.name}") for item in store.list()] + many(count, "added")
        names = {item.metadata.name for item in wanted}
        record = ApplyRecord(NOW, "cli", created=(ref("container/added0"),), previous=tuple(store.list()))
        try:
            store.commit(wanted, record=record)
            finished = True
        except Crash:
            finished = False
        reopened = ObjectStore(inner)
        found = {item.metadata.name for item in reopened.list()}
        assert found in (before, names), f"torn at transaction {at}"
        images = {item.effective.image for item in reopened.list() if not item.metadata.name.startswith("added")}
        assert images == ({"a"} if found == before else {"b"})
        assert revisions.current(inner) == (0 if found == before else 1)
        names_agree(reopened)
        assert not inner.range(layout.STAGED)
        assert inner.get(layout.PENDING) is None
        reopened.commit([changed(reopened.list()[0], "c")])
        outcomes.add(found == names)
        if finished:
            break
    assert True in outcomes
    assert False in outcomes or (count == 5 and after), "one transaction is all it takes there"


def test_a_commit_that_failed_after_it_was_decided_is_carried_out_before_anything_else() -> None:
    inner = MemoryStore()
    decided = 260 // 100 + 1 + 1 + 1
    crashing = CrashingStore(inner, decided + 3, after=False)
    store = ObjectStore(crashing)
    with pytest.raises(Crash):
        store.commit(many(130))
    crashing._left = 10_000
    with pytest.raises(Conflict, match="container/c0 exists already"):
        store.commit(many(1))
    assert len(store.list()) == 130


def test_nobody_elses_write_is_overlooked() -> None:
    inner = MemoryStore()
    one, other = ObjectStore(inner), ObjectStore(inner)
    one.commit(many(1))
    with pytest.raises(Conflict, match="container/c0 exists already"):
        other.commit(many(1))
    item = one.list()[0]
    other.commit([changed(item)])
    with pytest.raises(Conflict, match="changed meanwhile"):
        one.commit([changed(item, "c")])


def test_edit_is_done_again_on_what_is_there_by_then() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    key = store.list()[0].key
    versions = []

    def slow(item: Object) -> Object:
        versions.append(item.metadata.resource_version)
        if len(versions) == 1:
            store.edit(key, lambda found: changed(found, "quick"))
        return item.model_copy(update={"restart_request": item.effective.image})

    edited = store.edit(key, slow)
    assert edited.restart_request == "quick"
    assert len(versions) == 2
    assert edited.metadata.generation == 2, "only the other edit changed the effective spec"


def test_an_edit_that_changes_nothing_is_not_written() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    revision = store.revision()
    item = store.list()[0]
    assert store.edit(item.key, lambda found: found.model_copy()) is item
    assert store.revision() == revision
    with pytest.raises(NotFound):
        store.edit(Key(kind=Kind.CONTAINER, uid="none"), lambda found: found)


def test_eight_writers_at_once_come_to_some_serial_order(tmp_path: Path) -> None:
    store = ObjectStore(SqliteStore(tmp_path / "store.db"))
    store.commit([made("config/counter", {"data": {"n": "0"}}), *many(8)])
    counter = store.list(Kind.CONFIG)[0].key
    problems: list[Exception] = []

    def count(item: Object) -> Object:
        spec = item.spec.model_copy(update={"data": {"n": str(int(item.spec.data["n"]) + 1)}})
        return item.model_copy(update={"spec": spec})

    def write(number: int) -> None:
        try:
            for turn in range(10):
                store.edit(counter, count)
                store.commit([made(f"container/t{number}-{turn}", {"image": "a"}), *many(5, f"m{number}-{turn}-")])
                store.put_status(counter, status("Ready", generation=number * 100 + turn))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    found = store.get(counter)
    assert found is not None
    assert found.spec.data["n"] == "80"
    assert len(store.list(Kind.CONTAINER)) == 8 + 80 * 6
    names_agree(store)
    again = ObjectStore(store.store)
    assert again.snapshot().objects == store.snapshot().objects


def test_a_reader_sees_a_large_commit_entirely_or_not_at_all() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(150))
    seen: set[frozenset[str]] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(frozenset(item.effective.image for item in store.snapshot().objects.values()))

    reader = threading.Thread(target=read)
    reader.start()
    for image in ("b", "c", "d", "e"):
        store.commit([changed(item, image) for item in store.list()])
    done.set()
    reader.join()
    assert seen
    assert all(len(images) == 1 for images in seen)


def test_a_status_is_written_when_it_differs_and_goes_with_its_object() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(1))
    key = store.list()[0].key
    assert store.status(key) is None
    assert store.put_status(key, status("Ready"))
    revision = store.revision()
    assert not store.put_status(key, status("Ready"))
    assert store.revision() == revision
    assert ObjectStore(inner).status(key) == status("Ready")
    store.remove(key)
    assert not store.put_status(key, status("Ready"))
    assert store.status(key) is None
    left = {entry.key for entry in inner.range("/")}
    assert left == {layout.CHANGED}


def test_remove_frees_the_name_and_all_that_was_allocated() -> None:
    inner = MemoryStore()
    store, allocations = ObjectStore(inner), Allocations(inner)
    store.commit(many(1))
    item = store.list()[0]
    for number in range(150):
        allocations.allocate(item.metadata.uid, "port/0.0.0.0/tcp", f"{number}", f"{8000 + number}")
    with pytest.raises(Conflict, match="was changed meanwhile"):
        store.remove(item.key, resource_version=item.metadata.resource_version + 1)
    store.remove(item.key, resource_version=item.metadata.resource_version)
    assert store.find(item.ref) is None
    assert {entry.key for entry in inner.range("/")} == {layout.CHANGED}
    with pytest.raises(NotFound):
        store.remove(item.key)
    store.commit(many(1))


def test_an_allocation_is_unique_both_ways() -> None:
    allocations = Allocations(MemoryStore())
    allocations.allocate("one", "net/10.0.0.0/24", "eth/a", "10.0.0.2")
    allocations.allocate("one", "net/10.0.0.0/24", "eth/a", "10.0.0.2")
    with pytest.raises(Conflict, match=r"10\.0\.0\.2 of net/10\.0\.0\.0/24 is held by one for eth/a"):
        allocations.allocate("two", "net/10.0.0.0/24", "eth/a", "10.0.0.2")
    with pytest.raises(Conflict):
        allocations.allocate("one", "net/10.0.0.0/24", "eth/b", "10.0.0.2")
    candidates = [f"10.0.0.{number}" for number in (2, 3, 4)]
    assert allocations.allocate_any("two", "net/10.0.0.0/24", "eth/a", candidates) == "10.0.0.3"
    assert allocations.allocate_any("two", "net/10.0.0.0/24", "eth/a", ["10.0.0.4"]) == "10.0.0.3"
    assert allocations.allocate_any("three", "net/10.0.0.0/24", "eth/a", candidates) == "10.0.0.4"
    with pytest.raises(ResourceExhausted):
        allocations.allocate_any("four", "net/10.0.0.0/24", "eth/a", candidates)
    allocations.allocate("one", "net/10.0.0.0/24", "eth/a", "10.0.0.9")
    assert allocations.taken("net/10.0.0.0/24")["10.0.0.9"] == Holder("one", "eth/a")
    assert allocations.held("one") == {("net/10.0.0.0/24", "eth/a"): "10.0.0.9"}
    assert allocations.allocate_any("four", "net/10.0.0.0/24", "eth/a", candidates) == "10.0.0.2"
    allocations.release("four", "net/10.0.0.0/24", "eth/a")
    allocations.release("four", "net/10.0.0.0/24", "eth/a")
    assert allocations.held("four") == {}


def test_threads_never_get_the_same_value() -> None:
    allocations = Allocations(MemoryStore())
    got: list[str] = []

    def take(number: int) -> None:
        for slot in range(20):
            got.append(allocations.allocate_any(f"u{number}", "p", f"{slot}", map(str, range(200))))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(got) == 160


def test_a_watch_tells_keys_once_their_change_can_be_read() -> None:
    store = ObjectStore(MemoryStore())
    start = store.revision()
    seen: dict[Key, str] = {}
    done = threading.Event()

    def watch() -> None:
        for key in store.watch(start, done.is_set):
            item = store.get(key)
            seen[key] = "gone" if item is None else item.effective.image

    watcher = threading.Thread(target=watch)
    watcher.start()
    store.commit(many(130))
    store.commit([changed(item) for item in store.list()])
    first = store.list()[0].key
    store.remove(first)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (len(seen) < 130 or seen.get(first) != "gone"):
        time.sleep(0.01)
    done.set()
    watcher.join()
    assert set(seen.values()) == {"b", "gone"}
    assert len(seen) == 130


class LingeringStore(CrashingStore):
    """Others see a transaction a while before the one who made it hears of it."""

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        done = self.inner.txn(compares, operations)
        time.sleep(0.1)
        return done


def test_a_watch_never_tells_a_change_before_it_can_be_read() -> None:
    store = ObjectStore(LingeringStore(MemoryStore(), 0, after=False))
    web = made("container/web", {"image": "a"})
    writer = threading.Thread(target=lambda: store.commit([web]))
    writer.start()
    key = next(store.watch(0, lambda: False))
    assert store.get(key) is not None
    writer.join()


def test_a_watch_that_lags_too_far_gets_every_key() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(3))
    inner.compact(store.revision() + 1)
    found = list(itertools.islice(store.watch(0, lambda: False), 3))
    assert set(found) == set(store.snapshot().objects)


def test_an_apply_is_recorded_with_what_was_before() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    web = made("container/web", {"image": "a"})
    store.commit([web], record=ApplyRecord(NOW, "cli", "shop", created=(web.ref,)))
    before = store.list()[0]
    store.commit([changed(before)], record=ApplyRecord(NOW, "api", changed=(web.ref,), previous=(before,)))
    assert [(one.number, one.manager) for one in revisions.history(inner)] == [(2, "api"), (1, "cli")]
    second = revisions.read(inner, 2)
    assert second is not None
    assert second.changed == (web.ref,)
    assert [item.effective.image for item in second.previous] == ["a"]
    assert revisions.read(inner, 3) is None


def test_the_oldest_records_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "KEPT", 3)
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(1), record=ApplyRecord(NOW, "cli"))
    for image in "bcdefg":
        before = store.list()[0]
        store.commit([changed(before, image)], record=ApplyRecord(NOW, "cli", previous=(before,)))
    assert [record.number for record in revisions.history(inner)] == [7, 6, 5]
    assert len(inner.range(layout.UNDO)) == 3


def test_a_thousand_objects_are_cheap_to_list(tmp_path: Path) -> None:
    store = ObjectStore(SqliteStore(tmp_path / "store.db"))
    store.commit(many(1000))
    store.list(Kind.CONTAINER)
    begun = time.perf_counter()
    for _ in range(100):
        assert len(store.list(Kind.CONTAINER, "default")) == 1000
    assert time.perf_counter() - begun < 0.5
