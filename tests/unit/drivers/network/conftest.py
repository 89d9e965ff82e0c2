import pytest

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from drivers.network.ipam.pools import DefaultIpam
from tests.unit.drivers.network.ipam import engine


@pytest.fixture
def allocations() -> Allocations:
    return Allocations(MemoryStore())


@pytest.fixture
def ipam(allocations: Allocations) -> DefaultIpam:
    return engine(allocations)
