"""Links of ours that somebody gave another name: they are known by their alias, and get their name again."""

import pytest

from drivers.network.interface import EndpointState, NetworkState
from resources.errors import Conflict
from tests.machines import Machine, Machines
from tests.networks import FRONT, NETWORK, ONE, OTHER, BridgeRig, endpoint, ip, link

pytestmark = pytest.mark.host


def rename(machine: Machine, name: str, other: str) -> None:
    machine("ip", "link", "set", name, "down")
    machine("ip", "link", "set", name, "name", other)
    machine("ip", "link", "set", other, "up")


def fields(state: NetworkState | EndpointState | None) -> list[str]:
    assert state is not None
    return [fault.field for fault in state.faults]


def bridges(machine: Machine) -> list[str]:
    return [one["ifname"] for one in ip(machine, "link", "show", "type", "bridge")]


def test_a_bridge_gets_its_name_again_and_loses_nothing(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    web.serve(80)
    name = rig.bridge(NETWORK)
    before = link(machines.host, name)
    with machines.host.connect("10.42.0.5", 80) as connection:
        assert connection.ask()
        rename(machines.host, name, "foo1")
        assert "bridge.name" in fields(rig.networks.inspect(NETWORK))
        rig.networks.apply(FRONT)
        assert fields(rig.networks.inspect(NETWORK)) == []
        assert connection.ask(timeout=3)
    after = link(machines.host, name)
    assert after["ifindex"] == before["ifindex"]
    assert bridges(machines.host) == [name]
    with machines.host.connect("fd00:42::5", 80) as connection:
        assert connection.ask()


def test_one_beside_the_right_one_gives_it_its_ports_and_goes(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    web.serve(80)
    config, name, alias = endpoint(FRONT, ONE, 5, web.path), rig.bridge(NETWORK), f"{rig.instance}:network:{NETWORK}"
    rename(machines.host, name, "foo1")
    machines.host("ip", "link", "add", name, "type", "bridge")
    machines.host("ip", "link", "add", "foo2", "type", "bridge")
    machines.host("ip", "link", "set", "foo2", "alias", f"{rig.instance}:network:{OTHER}")
    assert alias == link(machines.host, "foo1")["ifalias"]
    assert "bridge.name" in fields(rig.networks.inspect(NETWORK))
    rig.networks.apply(FRONT)
    assert fields(rig.networks.inspect(NETWORK)) == []
    assert sorted(bridges(machines.host)) == sorted([name, "foo2"]), "another network's is not this one's"
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    for address in ("10.42.0.5", "fd00:42::5"):
        with machines.host.connect(address, 80) as connection:
            assert connection.ask(timeout=3)


def test_a_name_that_somebody_else_has_is_left_to_him(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    name = rig.bridge(NETWORK)
    rename(machines.host, name, "foo1")
    machines.host("ip", "link", "add", name, "type", "bridge")
    machines.host("ip", "link", "set", name, "alias", "mine")
    with pytest.raises(Conflict, match=name):
        rig.networks.apply(FRONT)
    rig.networks.delete(NETWORK)
    assert bridges(machines.host) == [name]
    machines.host("ip", "link", "delete", name)


def test_a_network_goes_by_whatever_name(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    rename(machines.host, rig.bridge(NETWORK), "foo1")
    assert rig.networks.list() == [NETWORK]
    rig.networks.delete(NETWORK)
    assert (bridges(machines.host), rig.networks.list()) == ([], [])


def test_an_endpoint_gets_its_name_again(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    web.serve(80)
    config = endpoint(FRONT, ONE, 5, web.path)
    before = link(machines.host, rig.port(config))["ifindex"]
    with machines.host.connect("10.42.0.5", 80) as connection:
        assert connection.ask()
        rename(machines.host, rig.port(config), "foo1")
        assert "link.name" in fields(rig.networks.endpoint(config))
        rig.networks.attach(config)
        assert rig.networks.endpoint(config) == EndpointState("eth0")
        assert connection.ask(timeout=3)
    assert link(machines.host, rig.port(config))["ifindex"] == before


def test_an_endpoint_goes_by_whatever_name(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    config = endpoint(FRONT, ONE, 5, web.path)
    rename(machines.host, rig.port(config), "foo1")
    rig.networks.detach(ONE, NETWORK)
    assert rig.networks.endpoint(config) is None
    assert "foo1" not in machines.host("ip", "link")
