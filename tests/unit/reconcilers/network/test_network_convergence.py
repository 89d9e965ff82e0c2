"""Networks over drivers in memory, whole lives of the engine long."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.network.interface import Fault, NetworkConfig, Pool
from drivers.network.ipam.interface import SubnetRequest
from reconcilers.interface import Diff
from resources.errors import Conflict, ResourceExhausted
from resources.object import Object
from tests.unit.reconcilers.engines import Fuse, Killed, deleted, killed_at_every_step
from tests.unit.reconcilers.network.worlds import SUBNET, World, network


def test_a_network_is_made_and_said() -> None:
    world, item = World(), network(**SUBNET, mtu=1400)
    loop = world.life()
    assert loop.plan(item) == ["take the subnet 10.1.0.0/24", "make the bridge"]
    assert loop.converge(item) == Diff()
    assert loop.acted == ["AllocateSubnets", "ApplyNetwork"]
    uid = item.metadata.uid
    assert world.networks.inspect(uid).applied == NetworkConfig(uid, (Pool("10.1.0.0/24", "10.1.0.1"),), 1400)
    status = loop.status(item)
    subnets = [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]
    assert (status.ready, status.fields) == (True, {"driver": "bridge", "subnets": subnets, "mtu": 1400})
    assert loop.plan(item) == []
    assert loop.reconciler.known() == [item.key]


def test_without_a_word_it_gets_a_subnet_of_the_engines_and_keeps_it() -> None:
    world, item = World(), network()
    world.life().converge(item)
    [pool] = world.networks.inspect(item.metadata.uid).applied.pools  # type: ignore[union-attr]
    world.life().converge(network("other"))
    assert world.life().converge(item) == Diff()
    assert pool.subnet == "10.192.0.0/22"
    assert set(world.allocations.taken("subnet")) == {"10.192.0.0/22", "10.192.4.0/22"}


def test_what_is_another_networks_is_told_and_waited_for() -> None:
    world = World()
    loop, first, second = world.life(), network("first", **SUBNET), network("second", **SUBNET)
    loop.converge(first)
    said = f"its subnet overlaps 10.1.0.0/24 of {first.metadata.uid[:12]} (give one of the two another subnet)"
    assert loop.converge(second).waiting == said
    (ready,) = loop.status(second).conditions
    # Whoever waits for it gives up after a while, as with whatever else fails and is tried again.
    assert (ready.status, ready.reason, ready.message) == ("False", Conflict.reason, said)
    loop.converge(deleted(first))
    world.allocations.forget(first.metadata.uid)
    loop.converge(second)
    assert loop.status(second).ready


def test_what_is_broken_is_mended_in_place() -> None:
    world, item = World(), network(**SUBNET)
    loop = world.life()
    loop.converge(item)
    world.networks.break_network(item.metadata.uid, Fault("bridge.up", True, False))
    diff = loop.look(item.key, item)
    assert [(c.path, c.old, c.new, c.drift) for c in diff.changes] == [("bridge.up", False, True, True)]
    assert not loop.status(item).ready
    loop.converge(item)
    assert loop.acted == ["AllocateSubnets", "ApplyNetwork", "ApplyNetwork"]
    world.networks.lose_network(item.metadata.uid)
    loop.converge(item)
    assert (loop.look(item.key, item), loop.status(item).ready) == (Diff(), True)


def test_who_cannot_have_another_subnet_keeps_its_own_which_is_mended() -> None:
    world = World()
    loop, first, second = world.life(), network("first", **SUBNET), network("second")
    for item in (first, second):
        loop.converge(item)
    before = world.networks.inspect(second.metadata.uid)
    after = network("second", subnets=[{"subnet": "10.1.0.0/25"}])
    assert loop.converge(after).waiting
    world.networks.break_network(second.metadata.uid, Fault("bridge.up", True, False))
    loop.acted.clear()
    loop.converge(after)
    assert loop.acted == ["ApplyNetwork"]
    assert world.networks.inspect(second.metadata.uid) == before
    loop.converge(second)
    assert (loop.look(second.key, second), world.ipam().subnet_claim(second.metadata.uid, ()).awaits) == (Diff(), True)


def test_a_subnet_it_moved_away_from_is_anothers_once_nobody_is_in_it() -> None:
    world = World()
    loop, first = world.life(), network("first", **SUBNET)
    loop.converge(first)
    pools = world.ipam().pools(first.metadata.uid, (SubnetRequest("10.1.0.0/24"),))
    world.ipam().allocate(first.metadata.uid, pools, "a")
    moved, second = network("first", subnets=[{"subnet": "10.2.0.0/24"}]), network("second", **SUBNET)
    assert loop.converge(moved) == Diff()
    assert loop.status(moved).ready, "or nobody could follow it"
    assert loop.converge(second).waiting == f"{moved.metadata.uid[:12]} has not left 10.1.0.0/24 yet"
    assert loop.status(second).conditions[0].reason == "Waiting"
    world.ipam().release("a", first.metadata.uid)
    loop.acted.clear()
    assert loop.converge(moved) == Diff()
    assert loop.acted == ["LetSubnetsGo"]
    assert loop.converge(second) == Diff()


def test_in_a_ring_one_gives_way_once_its_endpoints_have_left() -> None:
    world = World()
    loop, first = world.life(), network("first", **SUBNET)
    second = network("second", subnets=[{"subnet": "10.2.0.0/24"}])
    for item in (first, second):
        loop.converge(item)
    pools = world.ipam().pools(first.metadata.uid, (SubnetRequest("10.1.0.0/24"),))
    world.ipam().allocate(first.metadata.uid, pools, "a")
    first, second = network("first", subnets=[{"subnet": "10.2.0.0/24"}]), network("second", **SUBNET)
    assert loop.plan(first) == ["take the subnet 10.2.0.0/24", "change the bridge"]
    for item in (first, second):
        loop.converge(item)
    loop.acted.clear()
    assert "leaves it first" in loop.converge(first).waiting
    assert (loop.acted, world.ipam().yields_subnets(second.metadata.uid)) == ([], False)
    world.ipam().vacate("a", first.metadata.uid)
    assert "leaves it first" not in loop.converge(first).waiting
    assert loop.acted == ["DeleteNetwork", "VacateSubnets"]
    for item in (second, first):
        assert loop.converge(item) == Diff()
        assert (loop.status(item).ready, loop.plan(item)) == (True, [])


def test_after_a_reboot_it_has_the_same_subnets() -> None:
    world, item = World(), network()
    world.life().converge(item)
    before = world.networks.inspect(item.metadata.uid)
    world.networks.reboot()
    world.life().converge(item)
    assert world.networks.inspect(item.metadata.uid) == before


def test_the_host_needs_no_driver_and_is_asked_for_nothing() -> None:
    world, item = World(), network("host", driver="host")
    loop = world.life()
    assert loop.converge(item) == Diff()
    assert (loop.status(item).ready, loop.status(item).fields) == (True, {"driver": "host"})
    assert world.networks.calls == []


def test_killed_at_every_step() -> None:
    def work(world: World, fuse: Fuse) -> None:
        world.life(fuse).converge(network(**SUBNET))

    for world in killed_at_every_step(World, work):
        item = network(**SUBNET)
        world.life().converge(item)
        assert world.life().status(item).ready
        world.life().converge(deleted(item))
        world.allocations.forget(item.metadata.uid)
        assert world.left() == []


def test_one_without_an_object_is_swept() -> None:
    world, item = World(), network(**SUBNET)
    world.life().converge(item)
    world.allocations.forget(item.metadata.uid)
    loop = world.life()
    [key] = loop.reconciler.known()
    loop.converge(None, key)
    assert (world.left(), loop.reconciler.known()) == ([], [])


def test_when_no_subnet_is_left_it_says_so() -> None:
    world = World()
    world.networks.fail("apply", ResourceExhausted("no links are left"))
    with pytest.raises(ResourceExhausted, match="no links are left"):
        world.life().converge(network())
    world.life().converge(network())
    assert world.networks.list() == [network().metadata.uid]


SUBNETS: list[dict[str, Any]] = [
    {"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/24", "gateway": "10.1.0.9"}, {"subnet": "fd00::/64"},
    {"subnet": "10.2.0.0/24", "ipRange": "10.2.0.0/25", "reserved": ["10.2.0.7"]},
]  # fmt: skip
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "subnets": st.lists(
            st.sampled_from(SUBNETS), max_size=2, unique_by=lambda one: one["subnet"],
        ),
        "internal": st.booleans(), "isolated": st.booleans(), "masquerade": st.booleans(), "dns": st.booleans(),
        "mtu": st.sampled_from([1400, 9000]),
    },
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(specs=st.lists(st.tuples(SPECS, st.integers(0, 4), st.booleans()), min_size=1, max_size=4))
def test_any_network_becomes_any_other(specs: list[tuple[dict[str, Any], int, bool]]) -> None:
    world = World()
    item: Object = network()
    for spec, steps, reboots in specs:
        item = network(**spec)
        try:
            world.life(Fuse(steps)).converge(item)
        except Killed:
            if reboots:
                world.networks.reboot()
    loop = world.life()
    assert loop.converge(item) == Diff()
    assert loop.plan(item) == []
    fresh = World()
    fresh.life().converge(item)
    assert world.networks.inspect(item.metadata.uid) == fresh.networks.inspect(item.metadata.uid)
    assert set(world.allocations.taken("subnet")) == set(fresh.allocations.taken("subnet"))
