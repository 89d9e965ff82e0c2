"""What happens to a network on the host, and how soon those who are on it follow."""

from datetime import timedelta
from pathlib import Path

import pytest

from controller.store.seal import HostKey
from drivers.network.interface import Fault
from resources.kinds import Kind
from tests.convergence.test_swaps import FILES, ONE, OWNED, manifests
from tests.convergence.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, HostKey(tmp_path))
    made.apply(manifests(ONE, {"a": ["n"], "b": ["n"]}), FILES, OWNED)
    made.converge()
    return made


def network(world: World) -> str:
    found = world.find(Kind.NETWORK, "n")
    assert found is not None
    return found.metadata.uid


def looked_at(world: World, kind: Kind) -> None:
    """As the resync looks at them, one kind before the other."""
    for item in world.objects:
        if item.kind is kind:
            world.engine.queue.add(item.key)
    world.run()


@pytest.mark.parametrize("first", [Kind.NETWORK, Kind.CONTAINER])
def test_a_network_whose_record_is_lost_takes_its_endpoints_along(world: World, first: Kind) -> None:
    networks = world.machine.networks
    networks.lose_network(network(world))
    del networks._networks[network(world)]
    for _ in range(6):  # a container alone can do nothing about it, and waits ever longer
        looked_at(world, Kind.CONTAINER if first is Kind.CONTAINER else Kind.VOLUME)
        world.now += timedelta(seconds=5)
    looked_at(world, Kind.NETWORK)
    assert world.unrest() == []


def test_the_mtu_of_the_uplink_reaches_what_is_there(world: World) -> None:
    networks = world.machine.networks
    networks.uplink_mtu = 1400
    looked_at(world, Kind.NETWORK)
    assert world.unrest() == []
    assert {one.mtu for one in networks._endpoints.values()} == {1400}
    drifts = [message for _, reason, message in world.told.events if reason == "Drift"]
    assert "bridge.mtu is 1500 on the host, and is put back" in drifts


def test_who_may_change_its_sandbox_is_told_of_a_new_name(tmp_path: Path) -> None:
    world = World(tmp_path, HostKey(tmp_path))
    admin = {"security": {"capabilities": {"add": ["NET_ADMIN"]}}}
    world.apply(manifests(ONE, {"a": ["n"], "b": ["n"]}, a=admin), FILES, OWNED)
    world.converge()
    for name in "ab":
        task = world.task(name)
        assert task is not None
        world.machine.networks.break_endpoint(task.id, network(world), Fault("interface.name", "eth0", "foo"))
    looked_at(world, Kind.CONTAINER)
    told = [message for _, reason, message in world.told.events if reason == "Drift"]
    assert sorted(told) == [
        "endpoint.n.interface.name is 'foo' on the host",
        "endpoint.n.interface.name is 'foo' on the host, and is put back",
    ]
