"""What every network driver does, the twin in memory and the bridges."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.network.interface import EndpointConfig, EndpointState, NetworkConfig, Pool
from resources.errors import Conflict, FailedPrecondition, InvalidArgument
from tests.machines import Machines
from tests.networks import BACK, FRONT, NETWORK, ONE, OTHER, TWO, BridgeRig, FakeRig, Rig, endpoint

NOWHERE = Path("/nonexistent/netns")


@pytest.fixture(params=["fake", pytest.param("bridge", marks=pytest.mark.host)])
def rig(request: pytest.FixtureRequest, short_path: Path, instance: str) -> Iterator[Rig]:
    if request.param == "fake":
        yield FakeRig()
        return
    machines = Machines(instance)
    made = BridgeRig(machines.host, short_path / "r", instance)
    yield made
    made.reboot()
    machines.close()


def sandbox(rig: Rig, sandbox_id: str) -> Path:
    made = rig.sandboxes.create(sandbox_id)
    assert made.netns is not None
    return made.netns


@pytest.fixture
def web(rig: Rig) -> EndpointConfig:
    """Attached."""
    rig.networks.apply(FRONT)
    made = endpoint(FRONT, ONE, 5, sandbox(rig, ONE))
    rig.networks.attach(made)
    return made


def network_faults(rig: Rig, network_id: str = NETWORK) -> list[str]:
    return [fault.field for fault in rig.networks.inspect(network_id).faults]


def endpoint_faults(rig: Rig, wanted: EndpointConfig) -> list[str]:
    state = rig.networks.endpoint(wanted)
    assert state is not None
    return [fault.field for fault in state.faults]


def test_absence_is_a_value(rig: Rig) -> None:
    networks = rig.networks
    assert networks.inspect(NETWORK).applied is None
    assert list(networks.list()) == []
    assert networks.endpoint(endpoint(FRONT, ONE, 5, NOWHERE)) is None
    assert networks.attached(ONE) == {}
    networks.detach(ONE, NETWORK, ("10.42.0.5",))
    networks.delete(NETWORK)


def test_a_network_is_made_and_made_again(rig: Rig) -> None:
    for _ in range(2):
        rig.networks.apply(FRONT)
        state = rig.networks.inspect(NETWORK)
        assert (state.applied, state.faults) == (FRONT, ())
        assert list(rig.networks.list()) == [NETWORK]


@pytest.mark.parametrize(
    "changed",
    [
        replace(FRONT, internal=True),
        replace(FRONT, isolated=True),
        replace(FRONT, masquerade=False),
        replace(FRONT, mtu=1400),
        replace(FRONT, pools=FRONT.pools[:1]),
        replace(FRONT, pools=(Pool("10.44.0.0/24", "10.44.0.1"), FRONT.pools[1])),
        replace(FRONT, pools=(replace(FRONT.pools[0], gateway="10.42.0.254"),)),
    ],
)
def test_a_network_is_changed_in_place(rig: Rig, web: EndpointConfig, changed: NetworkConfig) -> None:
    for config in (changed, FRONT):
        rig.networks.apply(config)
        state = rig.networks.inspect(NETWORK)
        assert (state.applied, state.faults) == (config, ())
        assert rig.networks.attached(ONE) == {NETWORK: "eth0"}
    rig.networks.attach(web)
    assert endpoint_faults(rig, web) == []


def test_networks_are_apart(rig: Rig) -> None:
    rig.networks.apply(FRONT)
    rig.networks.apply(BACK)
    assert list(rig.networks.list()) == [NETWORK, OTHER]
    rig.networks.delete(NETWORK)
    assert rig.networks.inspect(NETWORK).applied is None
    state = rig.networks.inspect(OTHER)
    assert (state.applied, state.faults) == (BACK, ())


@pytest.mark.parametrize(
    "what",
    [
        "bridge.up",
        "bridge.mtu",
        "bridge.mac",
        "bridge.alias",
        "bridge.stp",
        "bridge.multicast_snooping",
        "bridge.addresses",
        "bridge.settings.route_localnet",
        "bridge.settings.rp_filter",
        "bridge.settings.promote_secondaries",
        "bridge.settings.accept_ra",
        "bridge.settings.accept_dad",
        "firewall",
        "forwarding",
    ],
)
def test_what_is_wrong_with_a_network_is_told_and_mended(rig: Rig, web: EndpointConfig, what: str) -> None:
    rig.spoil_network(NETWORK, what)
    assert what in network_faults(rig)
    rig.networks.apply(FRONT)
    assert network_faults(rig) == []
    assert endpoint_faults(rig, web) == []


def test_a_network_that_is_lost_is_made_again_and_joined_again(rig: Rig, web: EndpointConfig) -> None:
    rig.lose_network(NETWORK)
    assert network_faults(rig) == ["bridge"]
    assert endpoint_faults(rig, web) == ["link.bridge"]
    with pytest.raises(FailedPrecondition):
        rig.networks.attach(web)
    rig.networks.apply(FRONT)
    assert network_faults(rig) == []
    assert endpoint_faults(rig, web) == ["link.bridge"]
    rig.networks.attach(web)
    assert rig.networks.endpoint(web) == EndpointState("eth0")


def test_an_endpoint_is_attached_and_attached_again(rig: Rig, web: EndpointConfig) -> None:
    for _ in range(2):
        assert rig.networks.endpoint(web) == EndpointState("eth0")
        assert rig.networks.attached(ONE) == {NETWORK: "eth0"}
        rig.networks.attach(web)


@pytest.mark.parametrize(
    "what",
    [
        "link.up",
        "link.bridge",
        "link.mtu",
        "link.alias",
        "link.hairpin",
        "link.isolated",
        "link.settings.disable_ipv6",
        "interface.name",
        "interface.up",
        "addresses",
        "routes",
        "mac",
        "mtu",
        "settings.accept_ra",
    ],
)
def test_what_is_wrong_with_an_endpoint_is_told_and_mended(rig: Rig, web: EndpointConfig, what: str) -> None:
    rig.spoil_endpoint(web, what)
    assert what in endpoint_faults(rig, web)
    rig.networks.attach(web)
    assert endpoint_faults(rig, web) == []
    assert rig.networks.attached(ONE) == {NETWORK: "eth0"}


def test_an_endpoint_that_is_lost_is_attached_again(rig: Rig, web: EndpointConfig) -> None:
    rig.lose_endpoint(web)
    assert rig.networks.endpoint(web) is None
    assert rig.networks.attached(ONE) == {}
    rig.networks.attach(web)
    assert rig.networks.endpoint(web) == EndpointState("eth0")


@pytest.mark.parametrize(
    ("field", "change", "expected", "actual"),
    [
        ("addresses", {"addresses": ("10.42.0.6/24",)}, ["10.42.0.6/24"], ["10.42.0.5/24"]),
        ("addresses", {"addresses": ("10.42.0.5/25",)}, ["10.42.0.5/25"], ["10.42.0.5/24"]),
        ("addresses", {"addresses": ()}, [], ["10.42.0.5/24"]),
        ("mac", {"mac": "02:00:00:00:00:07"}, "02:00:00:00:00:07", "02:42:0a:bb:00:05"),
        ("mtu", {"mtu": 1300}, 1300, 1500),
        ("routes", {"gateways": ()}, [], ["10.43.0.1"]),
        ("routes", {"gateways": ("10.43.0.9",)}, ["10.43.0.9"], ["10.43.0.1"]),
    ],
)
def test_an_endpoint_is_changed_in_place(
    rig: Rig, field: str, change: dict[str, Any], expected: object, actual: object
) -> None:
    back = replace(BACK, pools=(Pool("10.43.0.0/24", "10.43.0.1"),))
    if field == "addresses":
        back = replace(BACK, pools=(Pool("10.42.0.0/24", "10.42.0.1"),))
        change = {**change, "gateways": ()}
    rig.networks.apply(back)
    before = endpoint(back, TWO, 5, sandbox(rig, TWO))
    before = replace(before, gateways=()) if field == "addresses" else before
    rig.networks.attach(before)
    after = replace(before, **change)
    state = rig.networks.endpoint(after)
    assert state is not None
    told = {fault.field: (fault.expected, fault.actual) for fault in state.faults}
    assert told.pop(field) == (expected, actual)
    assert set(told) <= {"link.mtu"}
    rig.networks.attach(after)
    assert rig.networks.endpoint(after) == EndpointState("eth0")
    rig.networks.attach(before)
    assert rig.networks.endpoint(before) == EndpointState("eth0")


def test_a_sandbox_is_on_several_networks_and_the_default_route_moves(rig: Rig, web: EndpointConfig) -> None:
    rig.networks.apply(BACK)
    back = replace(endpoint(BACK, ONE, 5, web.netns), interface="eth1", gateways=())
    rig.networks.attach(back)
    assert rig.networks.attached(ONE) == {NETWORK: "eth0", OTHER: "eth1"}
    moved = replace(web, gateways=web.gateways[1:]), replace(back, gateways=("10.43.0.1",))
    for order in (moved, (back, web)):
        for one in order:
            rig.networks.attach(one)
        for one in order:
            assert endpoint_faults(rig, one) == []
    rig.networks.detach(ONE, NETWORK)
    assert rig.networks.attached(ONE) == {OTHER: "eth1"}
    assert endpoint_faults(rig, back) == []


def test_how_addresses_are_written_makes_no_difference(rig: Rig, web: EndpointConfig) -> None:
    other = replace(
        web, mac=web.mac.upper(), addresses=("10.42.0.5/24", "FD00:42:0::5/64"), gateways=("fd00:0042::1", "10.42.0.1")
    )
    assert rig.networks.endpoint(other) == EndpointState("eth0")
    rig.networks.attach(other)
    assert rig.networks.endpoint(web) == EndpointState("eth0")


def test_an_interface_is_called_what_it_is_asked_for(rig: Rig, web: EndpointConfig) -> None:
    other = replace(web, interface="eth7")
    assert endpoint_faults(rig, other) == ["interface.name"]
    rig.networks.attach(other)
    assert rig.networks.endpoint(other) == EndpointState("eth7")
    assert rig.networks.attached(ONE) == {NETWORK: "eth7"}
    rig.networks.apply(BACK)
    back = replace(endpoint(BACK, ONE, 5, web.netns), gateways=())
    rig.networks.attach(back)
    with pytest.raises(Conflict, match="eth0"):
        rig.networks.attach(web)


def test_the_mtu_of_the_uplink_is_followed(rig: Rig, web: EndpointConfig) -> None:
    for mtu in (1400, 1300):
        rig.set_uplink_mtu(mtu)
        assert network_faults(rig) == ["bridge.mtu"]
        rig.networks.apply(FRONT)
        assert network_faults(rig) == []
        assert "mtu" in endpoint_faults(rig, web)
        rig.networks.attach(web)
        assert endpoint_faults(rig, web) == []
    rig.networks.apply(replace(FRONT, mtu=1450))
    rig.set_uplink_mtu(1500)
    assert network_faults(rig) == [], "this one has one of its own"


def test_two_interfaces_of_one_name_are_a_conflict(rig: Rig, web: EndpointConfig) -> None:
    rig.networks.apply(BACK)
    with pytest.raises(Conflict, match="eth0"):
        rig.networks.attach(endpoint(BACK, ONE, 5, web.netns))
    assert rig.networks.attached(ONE) == {NETWORK: "eth0"}


def test_detaching_leaves_the_others(rig: Rig, web: EndpointConfig) -> None:
    second = endpoint(FRONT, TWO, 6, sandbox(rig, TWO))
    rig.networks.attach(second)
    for _ in range(2):
        rig.networks.detach(ONE, NETWORK, ("10.42.0.5", "fd00:42::5"))
        assert rig.networks.endpoint(web) is None
    assert rig.networks.endpoint(second) == EndpointState("eth0")
    assert network_faults(rig) == []


def test_endpoints_go_with_their_sandbox_and_come_with_the_next(rig: Rig, web: EndpointConfig) -> None:
    rig.sandboxes.delete(ONE)
    assert rig.networks.endpoint(web) is None
    assert rig.networks.attached(ONE) == {}
    with pytest.raises(FailedPrecondition):
        rig.networks.attach(web)
    rig.networks.detach(ONE, NETWORK)
    again = replace(web, netns=sandbox(rig, ONE))
    assert rig.networks.endpoint(again) is None
    rig.networks.attach(again)
    assert rig.networks.endpoint(again) == EndpointState("eth0")


def test_a_network_that_is_deleted_leaves_endpoints_that_can_be_detached(rig: Rig, web: EndpointConfig) -> None:
    rig.networks.delete(NETWORK)
    assert list(rig.networks.list()) == []
    assert endpoint_faults(rig, web) == ["link.bridge"]
    with pytest.raises(FailedPrecondition):
        rig.networks.attach(web)
    rig.networks.detach(ONE, NETWORK)
    assert rig.networks.endpoint(web) is None


def test_nothing_is_attached_to_what_is_not_there(rig: Rig) -> None:
    with pytest.raises(FailedPrecondition, match="network"):
        rig.networks.attach(endpoint(FRONT, ONE, 5, sandbox(rig, ONE)))
    rig.networks.apply(FRONT)
    with pytest.raises(FailedPrecondition, match="namespace"):
        rig.networks.attach(endpoint(FRONT, TWO, 5, NOWHERE))


def test_a_reboot_takes_all_of_it(rig: Rig, web: EndpointConfig) -> None:
    rig.reboot()
    assert rig.networks.inspect(NETWORK).applied is None
    assert list(rig.networks.list()) == []
    assert rig.networks.endpoint(web) is None


@pytest.mark.parametrize(
    "bad",
    [
        replace(FRONT, id="../" + "a" * 29),
        replace(FRONT, id="A" * 32),
        replace(FRONT, id="a" * 32 + "\n"),
        replace(FRONT, pools=(Pool("10.42.0.1/24", "10.42.0.1"),)),
        replace(FRONT, pools=(Pool("10.42.0.0/24", "10.43.0.1"),)),
        replace(FRONT, pools=(Pool("10.42.0.0/24", "fd00::1"),)),
        replace(FRONT, pools=(Pool("10.42.0.0/24", "10.42.0.1\n"),)),
        replace(FRONT, pools=(Pool("fe80::/64", "fe80::1%eth0"),)),
        replace(FRONT, mtu=67),
        replace(FRONT, mtu=1 << 16),
        replace(FRONT, mtu=1279),
    ],
)
def test_a_network_is_checked_first(rig: Rig, bad: NetworkConfig) -> None:
    with pytest.raises(InvalidArgument):
        rig.networks.apply(bad)
    assert list(rig.networks.list()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"sandbox_id": "../" + "1" * 61},
        {"network_id": "a" * 31},
        {"interface": "../eth0"},
        {"interface": "eth0\n"},
        {"interface": "e" * 16},
        {"interface": ""},
        {"addresses": ("10.42.0.5",)},
        {"addresses": ("10.42.0.5/33",)},
        {"addresses": ("10.42.0.5/24\n",)},
        {"addresses": ("fe80::1%eth0/64",)},
        {"addresses": ("224.0.0.1/24",)},
        {"mac": "02:42:0a:2a:00"},
        {"mac": "03:42:0a:2a:00:05"},
        {"addresses": ("10.42.0.5/255.255.255.0",)},
        {"addresses": ("::/64",)},
        {"gateways": ("0.0.0.0",)},
        {"gateways": ("10.42.0.1", "10.42.0.2")},
        {"gateways": ("gateway",)},
        {"mtu": 67},
    ],
)
def test_an_endpoint_is_checked_first(rig: Rig, web: EndpointConfig, change: dict[str, Any]) -> None:
    bad = replace(web, **change)
    for call in (rig.networks.attach, rig.networks.endpoint):
        with pytest.raises(InvalidArgument):
            call(bad)
    assert rig.networks.endpoint(web) == EndpointState("eth0")


@pytest.mark.parametrize("bad", ["", "..", "../" * 10 + "xx", "A" * 32, "1" * 31, "1" * 33, "1" * 31 + "\n"])
def test_an_id_is_checked_before_a_name_is_built(rig: Rig, bad: str) -> None:
    for call in (rig.networks.inspect, rig.networks.delete, rig.networks.attached):
        with pytest.raises(InvalidArgument):
            call(bad)
    with pytest.raises(InvalidArgument):
        rig.networks.detach(ONE, bad)
    with pytest.raises(InvalidArgument):
        rig.networks.detach(bad, NETWORK)
