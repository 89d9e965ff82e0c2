"""The routes of a network namespace, as addresses are chosen by them."""

import subprocess
from collections.abc import Callable

import pytest

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from drivers.kernel.namespaces import Namespace, run_in_new
from drivers.network.interface import Pool
from drivers.network.ipam.host_routes import Route, host_routes
from drivers.network.ipam.interface import SubnetRequest
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from resources.errors import Conflict

pytestmark = pytest.mark.host


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def inside(work: Callable[[], None]) -> None:
    run_in_new(Namespace.NETWORK, work)


def test_a_namespace_without_routes_has_none() -> None:
    inside(lambda: _equal(host_routes(), []))


def _equal(found: object, expected: object) -> None:
    assert found == expected


def test_what_counts() -> None:
    def work() -> None:
        ip("link", "set", "lo", "up")
        ip("link", "add", "eth7", "type", "bridge")
        ip("tuntap", "add", "tun7", "mode", "tun")
        ip("address", "add", "192.0.2.2/24", "dev", "eth7")
        ip("address", "add", "fd00:7::2/64", "dev", "eth7", "nodad")
        ip("address", "add", "10.99.0.1/32", "dev", "lo")
        ip("address", "add", "10.8.0.2/24", "dev", "tun7")
        ip("link", "set", "eth7", "up")
        ip("link", "set", "tun7", "up")
        ip("route", "add", "default", "via", "192.0.2.1")
        ip("route", "add", "0.0.0.0/1", "via", "192.0.2.1")
        ip("route", "add", "128.0.0.0/1", "dev", "tun7")
        ip("-6", "route", "add", "default", "via", "fd00:7::1")
        ip("route", "add", "10.0.0.0/8", "dev", "tun7")
        ip("route", "add", "10.50.0.0/16", "dev", "eth7", "table", "77")
        ip("route", "add", "10.60.0.0/16", "via", "192.0.2.1")
        ip("route", "add", "10.70.0.0/16", "nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.3")
        ip("route", "add", "blackhole", "10.80.0.0/16")
        ip("-6", "route", "add", "fd00:60::/48", "via", "fd00:7::1")
        found = {route for route in host_routes() if not route.destination.startswith(("127.", "::1", "fe80:"))}
        assert found == {
            Route("192.0.2.0/24", "eth7", True),
            Route("192.0.2.2/32", "eth7", True),
            Route("fd00:7::/64", "eth7", True),
            Route("fd00:7::2/128", "eth7", True),
            Route("10.99.0.1/32", "lo", True),
            Route("10.8.0.0/24", "tun7", True),
            Route("10.8.0.2/32", "tun7", True),
            Route("10.0.0.0/8", "tun7", False),
            Route("10.50.0.0/16", "eth7", True),
            Route("10.60.0.0/16", "eth7", False),
            Route("10.70.0.0/16", "", False),
            Route("10.80.0.0/16", "", False),
            Route("fd00:60::/48", "eth7", False),
        }

    inside(work)


def test_no_network_gets_what_the_host_uses() -> None:
    def work() -> None:
        ip("link", "add", "eth7", "up", "type", "bridge")
        ip("address", "add", "10.192.1.1/24", "dev", "eth7")
        ipam = DefaultIpam(
            Allocations(MemoryStore()),
            routes=host_routes,
            link=lambda uid: f"br{uid}",
            address_pools=[AddressPool("10.192.0.0/12", 22)],
        )
        assert ipam.allocate_subnets("0", ()) == (Pool("10.192.4.0/22", "10.192.4.1"),)
        with pytest.raises(Conflict, match=r"10\.192\.0\.0/22 overlaps 10\.192\.1\.0/24, which .* over eth7"):
            ipam.allocate_subnets("1", (SubnetRequest("10.192.0.0/22"),))
        ip("link", "add", "br1", "up", "type", "bridge")
        ip("address", "add", "10.43.0.1/16", "dev", "br1")
        assert ipam.allocate_subnets("1", (SubnetRequest("10.43.0.0/24"),)) == (Pool("10.43.0.0/24", "10.43.0.1"),)

    inside(work)


def test_a_thousand_routes() -> None:
    def work() -> None:
        ip("link", "add", "eth7", "up", "type", "bridge")
        ip("address", "add", "192.0.2.2/24", "dev", "eth7")
        batch = "".join(f"route add 10.{number >> 8}.{number & 255}.0/24 via 192.0.2.1\n" for number in range(1000))
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
        assert len([route for route in host_routes() if route.destination.startswith("10.")]) == 1000

    inside(work)
