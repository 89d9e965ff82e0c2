"""A host with networks in memory, on which engines with a network reconciler live one after the other."""

from dataclasses import dataclass, field
from typing import Any

from drivers.network.bridge.fake import FakeNetworks
from drivers.network.ipam.fake import FakeAllocations
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.sandbox.fake import FakeSandboxes
from reconcilers.network.reconciler import NetworkReconciler
from resources.kinds import Kind
from resources.object import Object
from tests.unit.reconcilers.engines import Fuse, Loop, made


@dataclass
class World:
    allocations: FakeAllocations = field(default_factory=FakeAllocations)
    networks: FakeNetworks = field(default_factory=lambda: FakeNetworks(FakeSandboxes()))

    def life(self, fuse: Fuse | None = None) -> Loop:
        return Loop(lambda _jobs, _now: NetworkReconciler({"bridge": self.networks}, self.ipam()), fuse)

    def ipam(self) -> DefaultIpam:
        return DefaultIpam(
            self.allocations,
            routes=lambda: (),
            link=lambda network_id: network_id[:8],
            address_pools=[AddressPool("10.192.0.0/12", 22)],
        )

    def left(self) -> list[Any]:
        return [*self.networks.list(), *self.allocations.taken("subnet")]


def network(name: str = "frontend", **spec: Any) -> Object:
    return made(Kind.NETWORK, name, spec)


SUBNET: dict[str, Any] = {"subnets": [{"subnet": "10.1.0.0/24"}]}
