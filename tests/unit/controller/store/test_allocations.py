"""A value has one holder, a slot one value, and all of them go with the object."""

import threading

import pytest

from controller.store import layout
from controller.store.allocations import Allocations, Holder
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from resources.errors import Conflict, NotFound, ResourceExhausted
from tests.unit.controller.store.stores import many


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
