"""Reports: read at once, written soon, gone with their object."""

import threading
import time

from controller.store import layout
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from tests.unit.controller.making import status
from tests.unit.controller.store.stores import FullStore, LingeringStore, many


def test_a_status_is_read_at_once_written_when_it_differs_and_goes_with_its_object() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(1))
    key = store.list()[0].key
    assert store.status(key) is None
    assert store.put_status(key, status("Ready"))
    assert store.status(key) == status("Ready")
    store.settle()
    revision = store.revision()
    assert not store.put_status(key, status("Ready"))
    store.settle()
    assert store.revision() == revision
    assert ObjectStore(inner).status(key) == status("Ready")
    store.remove(key)
    assert not store.put_status(key, status("Ready"))
    assert store.status(key) is None
    left = {entry.key for entry in inner.range("/")}
    assert left == {layout.CHANGED}


def test_statuses_are_written_together_and_the_last_of_each_stays() -> None:
    inner = LingeringStore(MemoryStore(), 0, after=False)
    store = ObjectStore(inner)
    store.commit(many(60))
    before = store.revision()
    begun = time.monotonic()
    for generation in range(5):
        for item in store.list():
            assert store.put_status(item.key, status("Ready", generation=generation))
    assert time.monotonic() - begun < 1, "nobody waits for the store"
    assert store.status(store.list()[0].key) == status("Ready", generation=4)
    store.settle()
    assert store.revision() - before < 10
    again = ObjectStore(inner.inner)
    assert all(again.status(item.key) == status("Ready", generation=4) for item in again.list())


def test_a_status_that_could_not_be_written_is_written_with_the_next() -> None:
    inner = FullStore(MemoryStore(), 0, after=False)
    store = ObjectStore(inner)
    store.commit(many(2))
    first, second = (item.key for item in store.list())
    inner.full = True
    store.put_status(first, status("Ready"))
    store.settle()
    assert store.status(first) == status("Ready")
    assert ObjectStore(inner.inner).status(first) is None
    inner.full = False
    store.put_status(second, status("Ready"))
    store.settle()
    again = ObjectStore(inner.inner)
    assert again.status(first) == again.status(second) == status("Ready")


def test_an_object_that_goes_while_it_is_reported_on_leaves_no_status() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(40))
    keys = [item.key for item in store.list()]

    def report() -> None:
        for generation in range(200):
            for key in keys:
                store.put_status(key, status("Ready", generation=generation))

    reporters = [threading.Thread(target=report) for _ in range(2)]
    for reporter in reporters:
        reporter.start()
    for key in keys:
        store.remove(key)
    for reporter in reporters:
        reporter.join()
    store.settle()
    assert {entry.key for entry in inner.range("/")} == {layout.CHANGED}
    assert all(store.status(key) is None for key in keys)
