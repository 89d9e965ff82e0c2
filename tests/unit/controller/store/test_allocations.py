"""A value has one holder, a slot one value, and all of them go with the object."""

import threading
from collections.abc import Mapping, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.store import layout
from controller.store.allocations import Allocations, Holder
from controller.store.interface import Entry
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from resources.errors import Conflict, InvalidArgument, NotFound
from tests.unit.controller.store.stores import Crash, CrashingStore, allocations_agree, many


def test_remove_frees_the_name_and_all_that_was_allocated() -> None:
    inner = MemoryStore()
    store, allocations = ObjectStore(inner), Allocations(inner)
    store.commit(many(1))
    item = store.list()[0]
    allocations.hold(item.metadata.uid, "port", {f"{number}": f"{8000 + number}" for number in range(150)})
    with pytest.raises(Conflict, match="was changed meanwhile"):
        store.remove(item.key, resource_version=item.metadata.resource_version + 1)
    store.remove(item.key, resource_version=item.metadata.resource_version)
    assert store.find(item.ref) is None
    assert {entry.key for entry in inner.range("/")} == {layout.CHANGED}
    with pytest.raises(NotFound):
        store.remove(item.key)
    store.commit(many(1))


def test_an_allocation_is_unique_both_ways() -> None:
    store = MemoryStore()
    allocations = Allocations(store)
    allocations.hold("one", "subnet", {"0": "10.0.0.0/24", "1": "10.0.1.0/24"})
    before = store.revision()
    allocations.hold("one", "subnet", {"1": "10.0.1.0/24", "0": "10.0.0.0/24"})
    assert store.revision() == before, "what is held already is not written again"
    with pytest.raises(Conflict, match=r"10\.0\.1\.0/24 of subnet is held by one for 1"):
        allocations.hold("two", "subnet", {"0": "10.0.2.0/24", "1": "10.0.1.0/24"})
    assert allocations.held("two") == {}, "all or nothing"
    with pytest.raises(InvalidArgument):
        allocations.hold("two", "subnet", {"0": "10.0.2.0/24", "1": "10.0.2.0/24"})
    allocations.hold("two", "other", {"0": "10.0.1.0/24"})
    assert allocations.taken("subnet") == {"10.0.0.0/24": Holder("one", "0"), "10.0.1.0/24": Holder("one", "1")}
    assert allocations.taken("subnet", "10.0.1") == {"10.0.1.0/24": Holder("one", "1")}
    assert allocations.taken("sub") == {}
    assert allocations.held("one") == {("subnet", "0"): "10.0.0.0/24", ("subnet", "1"): "10.0.1.0/24"}
    allocations_agree(store)


def test_values_change_slots_in_one_transaction() -> None:
    store = MemoryStore()
    allocations = Allocations(store)
    allocations.hold("one", "p", {"a": "1", "b": "2", "c": "3"})
    before = store.revision()
    allocations.hold("one", "p", {"a": "2", "b": "1", "d": "3"})
    assert store.revision() == before + 1
    assert allocations.held("one") == {("p", "a"): "2", ("p", "b"): "1", ("p", "d"): "3"}
    allocations_agree(store)
    allocations.hold("one", "p", {})
    assert store.range("/") == []


PLANS = st.lists(st.dictionaries(st.integers(0, 120), st.integers(0, 150), max_size=120), max_size=4)


@given(PLANS)
def test_any_number_of_slots(plans: list[dict[int, int]]) -> None:
    store = MemoryStore()
    allocations = Allocations(store)
    for plan in plans:
        wanted: Mapping[str, str] = {f"{slot}": f"{value}" for value, slot in {v: s for s, v in plan.items()}.items()}
        allocations.hold("one", "p", wanted)
        assert allocations.held("one") == {("p", slot): value for slot, value in wanted.items()}
        allocations_agree(store)


def test_one_that_dies_half_way_through_many_goes_on_from_there() -> None:
    for at in count(1):
        inner = MemoryStore()
        Allocations(inner).hold("one", "p", {f"{number}": f"{number}" for number in range(100)})
        wanted = {f"{number}": f"{number + 1}" for number in range(100)}
        try:
            Allocations(CrashingStore(inner, at, after=bool(at % 2))).hold("one", "p", wanted)
        except Crash:
            allocations_agree(inner)
        else:
            break
        Allocations(inner).hold("one", "p", wanted)
        assert Allocations(inner).held("one") == {("p", slot): value for slot, value in wanted.items()}
        allocations_agree(inner)
    assert at > 4


def test_threads_never_get_the_same_value() -> None:
    store = MemoryStore()
    got: list[str] = []

    def take(number: int) -> None:
        allocations, wanted = Allocations(store), {}
        for value in map(str, range(120)):
            try:
                allocations.hold(f"u{number}", "p", {**wanted, value: value})
            except Conflict:
                continue
            wanted[value] = value
            got.append(value)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(got) == 120
    allocations_agree(store)


def test_many_slots_are_not_read_anew_for_each_part() -> None:
    class Reads(MemoryStore):
        ranges = 0

        def range(self, prefix: str) -> Sequence[Entry]:
            self.ranges += 1
            return super().range(prefix)

    store = Reads()
    Allocations(store).hold("one", "p", {f"{number}": f"{number}" for number in range(1000)})
    Allocations(store).hold("one", "p", {f"{number}": f"{number + 1}" for number in range(1000)})
    assert store.ranges == 2
