"""Whoever knows the way to an address learns at once that another leads there: the host, other sandboxes, and who comes by
the host. Without being told they would go on with what they know for half a minute and more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from drivers.network.interface import EndpointConfig, EndpointState
from tests.machines import Machine, Machines
from tests.networks import FRONT, NETWORK, ONE, THREE, TWO, BridgeRig, attached, endpoint, link, wait_for

pytestmark = pytest.mark.host

AT_ONCE = 1.0
"""Seconds. A first packet that was lost would be sent again no sooner."""
OTHER_MAC = "02:00:00:00:00:99"


@pytest.fixture
def neighbours(rig: BridgeRig, machines: Machines, web: Machine, client: Machine) -> Sequence[Machine]:
    """All that talk to `web` and `client`, and know how."""
    third = machines.add("third", wired=False)
    attached(rig, third, FRONT, THREE, 7)
    lan, host = machines.lan, machines.host
    for family, pool, via in zip(("-4", "-6"), FRONT.pools, (host.ipv4, host.ipv6), strict=True):
        lan("ip", family, "route", "add", pool.subnet, "via", via)
    for one in (web, client):
        one.serve(80)
    found = [host, third, lan]
    assert answering(found, first(5), "web")
    assert answering(found, first(6), "client")
    return found


def first(number: int) -> list[str]:
    return [f"10.42.0.{number}", f"fd00:42::{number}"]


def answering(askers: Sequence[Machine], addresses: Sequence[str], name: str) -> bool:
    answers = {
        (asker.name, address): asker.ask(address, 80, timeout=AT_ONCE) for asker in askers for address in addresses
    }
    wrong = {asked: answer for asked, answer in answers.items() if answer is None or answer.server != name}
    assert not wrong
    return True


@pytest.mark.parametrize(
    "change",
    [
        {"mac": OTHER_MAC},
        {"addresses": ("10.42.0.77/24", "fd00:42::5/64"), "mac": OTHER_MAC},
        {"addresses": ("10.42.0.5/24", "fd00:42::77/64"), "mac": OTHER_MAC},
        {"addresses": ("10.42.0.77/24", "fd00:42::77/64")},
    ],
    ids=["mac", "ipv4", "ipv6", "both"],
)
def test_of_an_endpoint_that_changes(
    rig: BridgeRig, web: Machine, neighbours: Sequence[Machine], change: Mapping[str, Any]
) -> None:
    before = endpoint(FRONT, ONE, 5, web.path)
    after = replace(before, **change)
    for config in (after, before):
        rig.networks.attach(config)
        assert answering(neighbours, [address.partition("/")[0] for address in config.addresses], "web")


def test_of_a_mac_that_is_mended(
    rig: BridgeRig, machines: Machines, web: Machine, neighbours: Sequence[Machine]
) -> None:
    config = endpoint(FRONT, ONE, 5, web.path)
    web("ip", "link", "set", "eth0", "address", OTHER_MAC)
    for machine, name in ((machines.host, rig.bridge(NETWORK)), (neighbours[1], "eth0")):
        machine("ip", "neigh", "flush", "dev", name)
    assert answering(neighbours, first(5), "web")
    rig.networks.attach(config)
    assert link(web, "eth0")["address"] == config.mac
    assert answering(neighbours, first(5), "web")


@pytest.mark.parametrize("what", ["interface.up", "link.up", "link.bridge"])
def test_of_a_mac_that_changed_while_the_endpoint_was_away(
    rig: BridgeRig, web: Machine, neighbours: Sequence[Machine], what: str
) -> None:
    config = endpoint(FRONT, ONE, 5, web.path)
    rig.spoil_endpoint(config, what)
    rig.networks.attach(replace(config, mac=OTHER_MAC))
    assert answering(neighbours, first(5), "web")


def with_macs_too(config: EndpointConfig, other: EndpointConfig) -> EndpointConfig:
    return replace(config, addresses=other.addresses, mac=other.mac)


def addresses_alone(config: EndpointConfig, other: EndpointConfig) -> EndpointConfig:
    return replace(config, addresses=other.addresses)


@pytest.mark.parametrize("exchanged", [addresses_alone, with_macs_too])
def test_of_two_that_exchange_their_addresses(
    rig: BridgeRig,
    web: Machine,
    client: Machine,
    neighbours: Sequence[Machine],
    exchanged: Callable[[EndpointConfig, EndpointConfig], EndpointConfig],
) -> None:
    one, two = endpoint(FRONT, ONE, 5, web.path), endpoint(FRONT, TWO, 6, client.path)
    rig.networks.attach(exchanged(one, two))
    rig.networks.attach(exchanged(two, one))
    assert answering(neighbours, first(5), "client")
    assert answering(neighbours, first(6), "web")
    assert answering([web], first(5), "client")
    assert answering([client], first(6), "web")


def test_of_a_new_one_at_the_address_of_one_that_is_gone(
    rig: BridgeRig, machines: Machines, neighbours: Sequence[Machine]
) -> None:
    rig.networks.detach(ONE, NETWORK)
    heir = machines.add("heir", wired=False)
    heir.serve(80)
    config = replace(endpoint(FRONT, ONE, 5, heir.path), mac=OTHER_MAC)
    rig.networks.attach(config)
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    assert answering(neighbours, first(5), "heir")


def test_of_a_mac_of_the_bridge_that_is_mended(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    host, gateways = machines.host, [pool.gateway for pool in FRONT.pools]
    host.serve(80)
    assert answering([web], gateways, "host")
    rig.spoil_network(NETWORK, "bridge.mac")
    web("ip", "neigh", "flush", "dev", "eth0")
    assert answering([web], gateways, "host")
    rig.networks.apply(FRONT)
    assert answering([web], gateways, "host")


def test_of_a_gateway_at_the_address_of_an_endpoint_that_is_gone(
    rig: BridgeRig, machines: Machines, web: Machine, client: Machine
) -> None:
    web.serve(80)
    machines.host.serve(80)
    assert answering([client], first(5), "web")
    rig.networks.detach(ONE, NETWORK)
    pools = tuple(replace(pool, gateway=address) for pool, address in zip(FRONT.pools, first(5), strict=True))
    rig.networks.apply(replace(FRONT, pools=pools))
    assert answering([client], first(5), "host")


def test_an_endpoint_does_not_hear_its_own_announcements(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    """Or the kernel would warn of somebody with the same address, whenever a container starts."""

    def counted(name: str) -> int:
        counters = dict(line.split() for line in web("cat", "/proc/net/snmp6").splitlines())
        return int(counters[f"Icmp6{name}NeighborAdvertisements"])

    config = endpoint(FRONT, ONE, 5, web.path)
    assert counted("Out")
    assert wait_for(lambda: not [one for one in link(web, "eth0")["addr_info"] if one.get("tentative")])
    assert [counted("Out"), counted("In")] == [1, 0]  # the link-local address is good by now, and nobody was told
    rig.networks.attach(replace(config, mac=OTHER_MAC))
    assert [counted("Out"), counted("In")] == [3, 0]
    assert rig.networks.endpoint(replace(config, mac=OTHER_MAC)) == EndpointState("eth0")
