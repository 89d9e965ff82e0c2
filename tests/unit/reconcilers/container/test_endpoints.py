"""What endpoints shall be: addresses, MAC, default routes, interfaces. Pure."""

from typing import Any

import pytest

from drivers.network.interface import Pool
from reconcilers.container.endpoints import Endpoint, endpoints
from reconcilers.container.network_model import Networking, NetworkView
from resources.container import ContainerSpec

FOUR, SIX = Pool("10.1.0.0/24", "10.1.0.1"), Pool("fd00:1::/64", "fd00:1::1")
VIEWS = {
    "four": NetworkView("4" * 32, "bridge", (FOUR,), mtu=1400),
    "six": NetworkView("6" * 32, "bridge", (SIX,)),
    "both": NetworkView("b" * 32, "bridge", (Pool("10.2.0.0/16", "10.2.0.1"), Pool("fd00:2::/64", "fd00:2::1"))),
    "inner": NetworkView("1" * 32, "bridge", (Pool("10.3.0.0/24", "10.3.0.1"),), internal=True),
}
HELD = {
    "4" * 32: ("10.1.0.5",),
    "6" * 32: ("fd00:1::5",),
    "b" * 32: ("10.2.3.4", "fd00:2::5"),
    "1" * 32: ("10.3.0.5",),
}


def wanted(*networks: Any, recorded: Any = None, views: Any = None, held: Any = None, **how: Any) -> list[Endpoint]:
    written = [one if isinstance(one, dict) else {"name": one} for one in networks]
    spec = ContainerSpec.parse({"image": "box", "networks": written})
    attached = how.pop("attached", {})
    seen = Networking(views or VIEWS, frozenset({"bridge"}), HELD if held is None else held, attached=attached)
    return list(endpoints(spec, seen, recorded or {}, **how))


def test_addresses_have_the_length_of_their_prefix_and_the_networks_mtu() -> None:
    four, both = wanted("four", "both")
    assert (four.addresses, four.mtu) == (("10.1.0.5/24",), 1400)
    assert (both.addresses, both.mtu) == (("10.2.3.4/16", "fd00:2::5/64"), None)
    assert (both.plain, both.address(6)) == (("10.2.3.4", "fd00:2::5"), "fd00:2::5")


def test_the_mac_is_as_written_or_of_the_address() -> None:
    four, six = wanted("four", "six")
    assert four.mac == "02:42:0a:01:00:05"
    assert six.mac.startswith("02:42:")
    assert len(six.mac) == 17
    assert wanted("six")[0].mac == six.mac
    [written] = wanted({"name": "four", "mac": "02:00:00:00:00:01"})
    assert written.mac == "02:00:00:00:00:01"


ROUTES = [
    (["four"], {"four": ["10.1.0.1"]}),
    (["inner"], {}),
    (["inner", "four"], {"four": ["10.1.0.1"]}),
    (["four", "both"], {"four": ["10.1.0.1"], "both": ["fd00:2::1"]}),
    (["both", "four"], {"both": ["10.2.0.1", "fd00:2::1"]}),
    (["four", {"name": "both", "defaultRoute": True}], {"both": ["10.2.0.1", "fd00:2::1"]}),
    (["both", {"name": "four", "defaultRoute": True}], {"four": ["10.1.0.1"], "both": ["fd00:2::1"]}),
    (["four", {"name": "inner", "defaultRoute": True}], {"four": ["10.1.0.1"]}),
    (["six", "four"], {"six": ["fd00:1::1"], "four": ["10.1.0.1"]}),
]


@pytest.mark.parametrize(("networks", "routes"), ROUTES)
def test_one_default_route_a_family(networks: Any, routes: dict[str, list[str]]) -> None:
    found = {one.network: list(one.gateways) for one in wanted(*networks)}
    assert {name: gateways for name, gateways in found.items() if gateways} == routes


def named(found: list[Endpoint]) -> dict[str, str]:
    return {one.network: one.interface for one in found}


def test_interfaces_are_numbered_in_order_and_keep_their_names() -> None:
    assert named(wanted("four", "six", "both")) == {"four": "eth0", "six": "eth1", "both": "eth2"}
    records = {one.network: one.record() for one in wanted("four", "six")}
    assert named(wanted("both", "six", "four", recorded=records)) == {"both": "eth2", "six": "eth1", "four": "eth0"}
    assert named(wanted("both", "six", recorded=records)) == {"both": "eth0", "six": "eth1"}


def test_what_is_attached_keeps_its_name_whatever_was_recorded() -> None:
    records = {one.network: one.record() for one in wanted("four")}
    attached = {VIEWS["both"].uid: "eth0"}
    assert named(wanted("four", "both", recorded=records, attached=attached)) == {"four": "eth1", "both": "eth0"}


@pytest.mark.parametrize("name", ["lan0", "eth0x", "\\x00", "eth99999", "eth0\n"])
def test_what_a_process_calls_its_interface_is_no_name(name: str) -> None:
    records = {one.network: one.record() for one in wanted("four")}
    attached = {VIEWS["four"].uid: name, VIEWS["both"].uid: name}
    assert named(wanted("four", "both", recorded=records, attached=attached)) == {"four": "eth0", "both": "eth1"}


NOT_HELD = [
    ("four", {}),
    ({"name": "four", "ipv4": "10.1.0.9"}, HELD),
    ("both", {"b" * 32: ("10.2.3.4",)}),
    ("four", {"4" * 32: ("10.9.0.5",)}),
    ("four", {"4" * 32: ("10.1.0.1",)}),
    ("four", {"4" * 32: ("10.1.0.5", "fd00::5")}),
]


@pytest.mark.parametrize(("network", "held"), NOT_HELD)
def test_without_all_its_addresses_it_is_not_known(network: Any, held: Any) -> None:
    assert wanted(network, held=held) == []
    [unknown] = wanted(network, held=held, planning=True)
    assert (unknown.addresses, unknown.record()["addresses"]) == ((), "(known after apply)")


def test_an_address_that_is_asked_for_may_be_a_reserved_one() -> None:
    views = {"four": NetworkView("4" * 32, "bridge", (Pool("10.1.0.0/24", "10.1.0.1", reserved=("10.1.0.5",)),))}
    assert wanted("four", views=views) == []
    [found] = wanted({"name": "four", "ipv4": "10.1.0.5"}, views=views)
    assert found.addresses == ("10.1.0.5/24",)


def test_of_a_network_that_is_not_known_now_what_was_recorded_stays() -> None:
    [before] = wanted("four")
    records = {"four": before.record()}
    pending = {"four": NetworkView("4" * 32, "bridge")}
    for found in (
        wanted("four", recorded=records, views={"none": VIEWS["six"]}),
        wanted("four", recorded=records, views=pending),
        wanted("four", recorded=records, kept=True),
    ):
        assert found == [before]
    assert wanted("four", recorded=records, held={}, kept=True) == [], "it may be another's by now"
    [planned] = wanted("four", recorded=records, views=pending, planning=True)
    assert planned.addresses == ()


def test_what_was_recorded_of_another_network_of_that_name_is_nothing() -> None:
    [before] = wanted("four")
    records = {"four": {**before.record(), "network": "9" * 32, "interface": "eth7"}}
    assert named(wanted("four", recorded=records)) == {"four": "eth0"}
    assert wanted("four", recorded=records, held={}) == []


def test_nothing_new_while_it_is_kept() -> None:
    records = {"four": wanted("four")[0].record()}
    assert named(wanted("four", "six", recorded=records, kept=True)) == {"four": "eth0"}


def test_a_driver_that_attaches_nothing() -> None:
    assert wanted("four", views={"four": NetworkView("4" * 32, "host")}) == []
