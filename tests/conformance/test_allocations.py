"""Allocations: those of the store, and their twin in memory."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from drivers.network.ipam.fake import FakeAllocations
from resources.errors import EngineError

HOLDS = st.tuples(
    st.sampled_from(["a" * 32, "b" * 32, "c" * 32]),
    st.sampled_from(["subnet", "address/1"]),
    st.dictionaries(
        st.sampled_from(["ipv4", "ipv6", "0"]), st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "x:y/z"])
    ),
)


def outcome(allocations: Any, uid: str, pool: str, wanted: Mapping[str, str]) -> str:
    try:
        allocations.hold(uid, pool, wanted)
    except EngineError as error:
        return f"{error.reason}: {error}"
    return ""


@settings(max_examples=200, deadline=None)
@given(holds=st.lists(HOLDS, max_size=12))
def test_both_give_and_refuse_the_same(holds: list[tuple[str, str, dict[str, str]]]) -> None:
    stored, twin = Allocations(MemoryStore()), FakeAllocations()
    for uid, pool, wanted in holds:
        assert outcome(twin, uid, pool, wanted) == outcome(stored, uid, pool, wanted)
        assert twin.held(uid) == stored.held(uid)
    for pool in ("subnet", "address/1"):
        for prefix in ("", "10.0.0.", "x:"):
            there = {value: (one.uid, one.slot) for value, one in stored.taken(pool, prefix).items()}
            assert {value: (one.uid, one.slot) for value, one in twin.taken(pool, prefix).items()} == there
    twin.forget("a" * 32)
    assert twin.held("a" * 32) == {}
    assert twin.held("b" * 32) == stored.held("b" * 32)
