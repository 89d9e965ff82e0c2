"""What every store must do, whatever it keeps its entries in."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.store.interface import MAX_OPERATIONS, Compacted, Compare, Delete, Event, Put, Store
from controller.store.memory import MemoryStore
from controller.store.sqlite import SqliteStore
from resources.errors import InvalidArgument, Unavailable

MAKERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "store.db"),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()


def put(store: Store, key: str, value: bytes = b"v") -> int:
    revision = store.txn([], [Put(key, value)])
    assert revision is not None
    return revision


def seen(store: Store, prefix: str, since: int) -> list[Event]:
    """Every event there is by now, and no waiting."""
    events: list[Event] = []
    head = store.revision()
    marker = "~marker"
    put(store, marker)
    for event in store.watch("", since, lambda: False):
        if event.revision > head:
            break
        if event.key.startswith(prefix) and not event.key.startswith(marker):
            events.append(event)
    return events


def test_a_new_store_is_empty_at_revision_zero(store: Store) -> None:
    assert store.revision() == 0
    assert store.get("/a") is None
    assert store.range("") == []


def test_put_makes_a_revision_and_keeps_when_it_was_created(store: Store) -> None:
    assert put(store, "/a", b"1") == 1
    assert put(store, "/b", b"2") == 2
    assert put(store, "/a", b"3") == 3
    entry = store.get("/a")
    assert entry is not None
    assert (entry.value, entry.create_revision, entry.mod_revision) == (b"3", 1, 3)


def test_a_key_that_was_deleted_is_created_anew(store: Store) -> None:
    put(store, "/a")
    assert store.txn([], [Delete("/a")]) == 2
    assert store.get("/a") is None
    assert put(store, "/a") == 3
    entry = store.get("/a")
    assert entry is not None
    assert entry.create_revision == 3


def test_deleting_what_is_absent_writes_nothing(store: Store) -> None:
    put(store, "/a")
    assert store.txn([], [Delete("/b")]) == 1
    assert store.revision() == 1


def test_a_transaction_without_operations_checks_its_compares(store: Store) -> None:
    put(store, "/a")
    assert store.txn([Compare("/a", 1)], []) == 1
    assert store.txn([Compare("/a", 2)], []) is None


def test_one_compare_that_fails_leaves_everything(store: Store) -> None:
    put(store, "/a", b"old")
    assert store.txn([Compare("/a", 1), Compare("/b", 7)], [Put("/a", b"new"), Put("/c", b"")]) is None
    entry = store.get("/a")
    assert entry is not None
    assert entry.value == b"old"
    assert store.get("/c") is None
    assert store.revision() == 1


def test_zero_compares_with_absence(store: Store) -> None:
    assert store.txn([Compare("/a", 0)], [Put("/a", b"")]) == 1
    assert store.txn([Compare("/a", 0)], [Put("/a", b"")]) is None
    store.txn([], [Delete("/a")])
    assert store.txn([Compare("/a", 0)], [Put("/a", b"")]) == 3


def test_range_is_by_prefix_and_in_order(store: Store) -> None:
    for key in ("/b/2", "/b", "/b/1", "/b0", "/a", "/b/é", "/b/\U0010ffff"):
        put(store, key)
    assert [entry.key for entry in store.range("/b/")] == ["/b/1", "/b/2", "/b/é", "/b/\U0010ffff"]
    assert [entry.key for entry in store.range("/b/\U0010ffff")] == ["/b/\U0010ffff"]
    assert len(store.range("")) == 7


def test_a_snapshot_holds_several_prefixes_as_of_one_revision(store: Store) -> None:
    """Two counters always written together are never seen apart."""
    store.txn([], [Put("/a/n", b"0"), Put("/b/n", b"0")])
    done = threading.Event()

    def count() -> None:
        for number in range(1, 200):
            store.txn([], [Put("/a/n", b"%d" % number), Put("/b/n", b"%d" % number)])
        done.set()

    thread = threading.Thread(target=count)
    thread.start()
    while not done.is_set():
        revision, entries = store.snapshot(["/a/", "/b/"])
        assert [entry.key for entry in entries] == ["/a/n", "/b/n"]
        assert entries[0].value == entries[1].value
        assert revision == int(entries[0].value) + 1 == entries[0].mod_revision
    thread.join()


@pytest.mark.parametrize(
    "operations",
    [
        [Put("/a", b""), Delete("/a")],
        [Put(f"/{number}", b"") for number in range(MAX_OPERATIONS + 1)],
        [Put("", b"")],
        [Put("/\ud800", b"")],
        [Put("/a\0b", b"")],
    ],
)
def test_transactions_that_cannot_be_are_refused(store: Store, operations: list[Put | Delete]) -> None:
    with pytest.raises(InvalidArgument):
        store.txn([], operations)
    assert store.revision() == 0


def test_the_largest_transaction_is_one_revision(store: Store) -> None:
    assert store.txn([], [Put(f"/{number:03}", b"") for number in range(MAX_OPERATIONS)]) == 1
    assert {entry.mod_revision for entry in store.range("/")} == {1}


def test_watch_yields_what_was_and_what_comes_in_order(store: Store) -> None:
    put(store, "/a/1", b"1")
    put(store, "/b/1", b"2")
    store.txn([], [Put("/a/3", b"3"), Delete("/a/1"), Put("/b/2", b"")])
    got: list[Event] = []
    thread = threading.Thread(target=lambda: got.extend(_take(store.watch("/a/", 1, lambda: False), 3)))
    thread.start()
    time.sleep(0.05)
    put(store, "/a/4", b"4")
    thread.join(5)
    assert got == [Event(3, "/a/3", b"3"), Event(3, "/a/1", None), Event(4, "/a/4", b"4")]


def _take(events: Iterator[Event], count: int) -> list[Event]:
    return [next(events) for _ in range(count)]


def test_watch_is_told_within_a_moment(store: Store) -> None:
    """Not at the next look of a timer."""
    events = store.watch("/", 0, lambda: False)
    put(store, "/a")
    next(events)
    delays = []
    for _ in range(5):
        thread = threading.Timer(0.05, put, (store, "/a"))
        thread.start()
        next(events)
        thread.join()
        began = time.monotonic()
        put(store, "/b")
        next(events)
        delays.append(time.monotonic() - began)
    assert min(delays) < 0.1


def test_watch_ends_when_stopped_and_when_the_store_is_closed(store: Store) -> None:
    stop = threading.Event()
    threads = [
        threading.Thread(target=lambda: list(store.watch("/", 0, stop.is_set))),
        threading.Thread(target=lambda: list(store.watch("/", 0, lambda: False))),
    ]
    for thread in threads:
        thread.start()
    stop.set()
    threads[0].join(2)
    assert not threads[0].is_alive()
    store.close()
    threads[1].join(2)
    assert not threads[1].is_alive()


def test_a_watch_of_many_revisions_misses_none(store: Store) -> None:
    for number in range(350):
        store.txn([], [Put(f"/{number}", b""), Put(f"/x{number}", b"")])
    events = seen(store, "/", 0)
    assert [event.revision for event in events] == [n for n in range(1, 351) for _ in range(2)]


def test_compaction_forgets_changes_and_says_so(store: Store) -> None:
    for number in range(5):
        put(store, f"/{number}")
    store.compact(4)
    with pytest.raises(Compacted):
        next(store.watch("/", 2, lambda: False))
    assert [event.revision for event in seen(store, "/", 3)] == [4, 5]
    assert len(store.range("/")) == 5
    store.compact(2)
    assert [event.revision for event in seen(store, "/", 3)] == [4, 5]


def test_compaction_beyond_the_end_forgets_all_that_was_and_nothing_to_come(store: Store) -> None:
    put(store, "/a")
    store.compact(1000)
    with pytest.raises(Compacted):
        next(store.watch("/", 0, lambda: False))
    put(store, "/b")
    assert next(store.watch("/", 1, lambda: False)).key == "/b"


def test_compare_and_swap_by_many_threads_loses_no_update(store: Store) -> None:
    put(store, "/n", b"0")
    refused = []

    def add() -> None:
        for _ in range(25):
            while True:
                entry = store.get("/n")
                assert entry is not None
                new = b"%d" % (int(entry.value) + 1)
                if store.txn([Compare("/n", entry.mod_revision)], [Put("/n", new)]) is not None:
                    break
                refused.append(1)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = store.get("/n")
    assert entry is not None
    assert entry.value == b"200"
    assert store.revision() == entry.mod_revision == 201


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    for use in (lambda: store.get("/a"), lambda: store.txn([], [Put("/a", b"")]), store.revision):
        with pytest.raises(Unavailable):
            use()


KEYS = st.sampled_from(["/a", "/a/b", "/a/c", "/b", "/b/é"])
OPERATION = st.one_of(st.builds(Put, KEYS, st.binary(max_size=4)), st.builds(Delete, KEYS))
STEP = st.tuples(
    st.lists(st.tuples(KEYS, st.sampled_from(["current", "absent", "wrong"])), max_size=2),
    st.lists(OPERATION, max_size=4, unique_by=lambda operation: operation.key),
)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=12), compacted=st.integers(0, 6))
def test_every_history_is_that_of_a_dictionary(
    name: str, steps: list[tuple[list[tuple[str, str]], list[Put | Delete]]], compacted: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = MAKERS[name](Path(folder))
        model: dict[str, tuple[bytes, int, int]] = {}
        revision, log = 0, []
        for compares, operations in steps:
            real = [Compare(key, _expected(model, key, how)) for key, how in compares]
            holds = all(model.get(c.key, (b"", 0, 0))[2] == c.mod_revision for c in real)
            effective = [op for op in operations if isinstance(op, Put) or op.key in model] if holds else []
            revision += bool(effective)
            for operation in effective:
                if isinstance(operation, Put):
                    created = model[operation.key][1] if operation.key in model else revision
                    model[operation.key] = (operation.value, created, revision)
                    log.append(Event(revision, operation.key, operation.value))
                else:
                    del model[operation.key]
                    log.append(Event(revision, operation.key, None))
            assert store.txn(real, operations) == (revision if holds else None)
        store.compact(compacted)
        kept = max(1, min(compacted, revision + 1))
        found = {e.key: (e.value, e.create_revision, e.mod_revision) for e in store.range("")}
        assert found == model
        assert [e.key for e in store.range("/a/")] == sorted(key for key in model if key.startswith("/a/"))
        assert store.revision() == revision
        assert seen(store, "/a", kept - 1) == [e for e in log if e.revision >= kept and e.key.startswith("/a")]
        store.close()


def _expected(model: dict[str, tuple[bytes, int, int]], key: str, how: str) -> int:
    current = model.get(key, (b"", 0, 0))[2]
    return {"current": current, "absent": 0, "wrong": current + 1}[how]
