"""A world with networks, and containers on them."""

from typing import Any

from drivers.network.names.interface import SandboxNames
from resources.object import Object
from tests.unit.reconcilers.container.worlds import ContainerLoop, World, container

FRONT, BACK = {"name": "front"}, {"name": "back"}
PORTS = [{"container": 80, "host": 8080}]
NETWORKS: dict[str, dict[str, Any]] = {
    "front": {"subnets": [{"subnet": "10.1.0.0/24"}]},
    "back": {"subnets": [{"subnet": "10.2.0.0/24"}, {"subnet": "fd00:2::/64"}]},
    "inner": {"subnets": [{"subnet": "10.3.0.0/24"}], "internal": True},
    "six": {"subnets": [{"subnet": "fd00:6::/64"}]},
    "mute": {"subnets": [{"subnet": "10.4.0.0/24"}], "dns": False},
}


def networked() -> World:
    world = World()
    for name, spec in NETWORKS.items():
        world.network(name, **spec)
    return world


def running(*networks: dict[str, Any], **spec: Any) -> tuple[World, ContainerLoop, Object]:
    world = networked()
    loop, item = world.life(), container(networks=list(networks), **spec)
    loop.converge(item)
    assert world.running(item)
    return world, loop, item


def endpoint(world: World, item: Object, network: str) -> Any:
    """What the driver was last asked for."""
    return world.networks._endpoints[world.task(item).id, uid(world, network)].config


def uid(world: World, network: str) -> str:
    [found] = [item.metadata.uid for item in world.objects.values() if item.metadata.name == network]
    return found


def served(world: World, item: Object) -> SandboxNames:
    found = world.names.get(world.task(item).id)
    assert found is not None
    return found


def held(world: World, item: Object) -> dict[str, tuple[str, ...]]:
    """Its addresses, by name of the network."""
    names = {one.metadata.uid: one.metadata.name for one in world.objects.values()}
    return {names[network]: addresses for network, addresses in world.ipam().addresses(item.metadata.uid).items()}
