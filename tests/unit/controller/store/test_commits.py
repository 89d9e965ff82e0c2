"""All or nothing, whatever happens in the middle, and no write overlooked."""

import itertools
import threading
from pathlib import Path

import pytest

from controller.store import layout, revisions
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from controller.store.revisions import ApplyRecord
from controller.store.sqlite import SqliteStore
from resources.errors import Conflict
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.making import NOW, made, ref, status
from tests.unit.controller.store.stores import (
    Crash,
    CrashingStore,
    changed,
    many,
    names_agree,
)


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
    store.settle()
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
