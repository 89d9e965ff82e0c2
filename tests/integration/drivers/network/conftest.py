"""Two sandboxes on a network of bridges, on a machine of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.drivers.network.resolving import World, world
from tests.integration.drivers.network.site import Site
from tests.machines import Machine, Machines
from tests.networks import FRONT, ONE, TWO, BridgeRig, endpoint


@pytest.fixture
def machines(instance: str) -> Iterator[Machines]:
    made = Machines(instance)
    yield made
    made.close()


@pytest.fixture
def rig(machines: Machines, short_path: Path, instance: str) -> BridgeRig:
    return BridgeRig(machines.host, short_path / "r", instance)


@pytest.fixture
def web(rig: BridgeRig, machines: Machines) -> Machine:
    """At .5 of FRONT."""
    rig.networks.apply(FRONT)
    made = machines.add("web", wired=False)
    rig.networks.attach(endpoint(FRONT, ONE, 5, made.path))
    return made


@pytest.fixture
def client(rig: BridgeRig, machines: Machines, web: Machine) -> Machine:
    """At .6 of FRONT."""
    made = machines.add("client", wired=False)
    rig.networks.attach(endpoint(FRONT, TWO, 6, made.path))
    return made


@pytest.fixture(params=[0, 1], ids=["routed", "bridged"])
def site(request: pytest.FixtureRequest, machines: Machines, instance: str) -> Iterator[Site]:
    made = Site(machines, instance, bridged=request.param)
    yield made
    made.close()


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        yield made
