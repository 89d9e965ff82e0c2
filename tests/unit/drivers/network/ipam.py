"""The subject of the tests of addresses: an IPAM on a store in memory."""

from collections.abc import Sequence
from typing import Any

from controller.store.allocations import Allocations
from drivers.network.interface import Pool
from drivers.network.ipam.host_routes import Route
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool

ONE, TWO = "1" * 32, "2" * 32
POOLS = [AddressPool("10.192.0.0/12", 22), AddressPool("172.16.0.0/12", 22)]
DUAL = (Pool("10.42.0.0/24", "10.42.0.1"), Pool("fd00:42::/64", "fd00:42::1"))


def engine(allocations: Allocations, routes: Sequence[Route] = (), **options: object) -> DefaultIpam:
    made: dict[str, Any] = {"address_pools": POOLS, **options}
    return DefaultIpam(allocations, routes=lambda: routes, link=lambda uid: f"br-{uid[:4]}", **made)
