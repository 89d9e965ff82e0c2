"""Ports of the host that lead to a container: had, published, withdrawn, and the same again."""

from typing import Any

import pytest

from reconcilers.interface import Diff
from resources.errors import Conflict
from tests.unit.reconcilers.container.connected import BACK, FRONT, PORTS, held, networked, running, served
from tests.unit.reconcilers.container.worlds import container
from tests.unit.reconcilers.container.worlds import held as suspended

TARGETS = [
    ((FRONT, BACK), ("10.1.0.2", "fd00:2::2")),
    ((FRONT, {**BACK, "defaultRoute": True}), ("10.2.0.2", "fd00:2::2")),
    (({"name": "inner"}, FRONT), ("10.1.0.2", "")),
    (({"name": "six"},), ("", "fd00:6::2")),
]


@pytest.mark.parametrize(("networks", "target"), TARGETS)
def test_ports_lead_to_the_endpoint_with_the_default_route(networks: Any, target: tuple[str, str]) -> None:
    world, _, item = running(*networks, ports=PORTS)
    [port] = world.ports.published(item.metadata.uid)
    assert (port.host, port.container, port.ipv4, port.ipv6) == (8080, 80, *target)


def test_on_internal_networks_alone_nothing_is_published() -> None:
    world, loop, item = running({"name": "inner"}, ports=PORTS)
    assert world.ports.list() == []
    assert loop.plan(item) == []


def test_ports_are_withdrawn_at_rest_and_come_again_the_same() -> None:
    world, loop, item = running(FRONT, ports=[*PORTS, {"container": 81}])
    before, addresses = world.ports.published(item.metadata.uid), held(world, item)
    stopped = suspended(item, "stopped")
    loop.settle(stopped)
    assert (world.ports.list(), world.names.list()) == ([], [])
    assert loop.plan(stopped) == []
    assert "ports" not in loop.status(stopped).fields
    assert held(world, item) == addresses
    world.life().converge(container("other", networks=[FRONT], ports=[{"container": 81}]))
    world.life().converge(item)
    assert world.ports.published(item.metadata.uid) == before
    assert held(world, item) == addresses
    assert served(world, item)


@pytest.mark.parametrize("code", [0, 3])
def test_what_has_ended_is_at_rest_too(code: int) -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    world.exit(item, code)
    loop.converge(item)
    assert (world.ports.list(), world.names.list()) == ([], [])
    assert loop.look(item.key, item) == Diff()


def test_between_restarts_its_ports_stay() -> None:
    world, loop, item = running(FRONT, ports=PORTS, restart={"policy": "always"})
    for _ in range(2):
        world.exit(item, 1)
        loop.converge(item)
    assert loop.look(item.key, item).wake_at is not None
    assert world.ports.list() == [item.metadata.uid]


def test_one_that_is_only_created_has_no_ports_yet() -> None:
    world = networked()
    loop, item = world.life(), container(networks=[FRONT], ports=PORTS, state="created")
    loop.converge(item)
    assert (world.ports.list(), world.names.list()) == ([], [])
    assert world.networks.attached(world.task(item).id)
    loop.converge(container(networks=[FRONT], ports=PORTS))
    assert loop.acted[-4:] == ["SetNames", "PublishPorts", "RecordApplied", "StartTask"]


def test_ports_are_withdrawn_before_another_may_have_them() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    loop.acted.clear()
    world.ports.calls.clear()
    changed = container(networks=[FRONT], ports=[{"container": 80, "host": 9090}])
    loop.converge(changed)
    assert loop.acted == ["PublishPorts", "AllocatePorts", "PublishPorts", "RecordApplied"]
    [port] = world.ports.published(item.metadata.uid)
    assert port.host == 9090
    other = container("other", networks=[FRONT], ports=PORTS)
    world.life().converge(other)
    assert world.ports.published(other.metadata.uid)[0].host == 8080


def test_ports_that_a_stopped_container_asks_for_no_more_are_anybodys() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    loop.settle(suspended(item, "stopped"))
    changed = suspended(container(networks=[FRONT], ports=[{"container": 80, "host": 9090}]), "stopped")
    loop.converge(changed)
    assert loop.plan(changed) == []
    assert loop.look(item.key, changed, planning=True).changes == ()
    other = container("other", networks=[FRONT], ports=PORTS)
    world.life().converge(other)
    assert world.running(other)


def test_a_port_that_is_anothers_is_told_and_tried_again() -> None:
    world, loop, _ = running(FRONT, ports=PORTS)
    other = container("other", networks=[FRONT], ports=PORTS)
    with pytest.raises(Conflict, match="8080"):
        loop.converge(other)
    loop.settle(suspended(container(networks=[FRONT], ports=[]), "stopped"))
    loop.converge(other)
    assert world.running(other)


def test_while_a_port_is_anothers_its_health_is_looked_after() -> None:
    world, loop, item = running(FRONT)
    world.life().converge(container("other", networks=[FRONT], ports=PORTS))
    health = {"tcp": {"port": 80}, "interval": "1s"}
    asked = container(networks=[FRONT], ports=PORTS, health=health)
    world.later(60)
    with pytest.raises(Conflict):
        loop.converge(asked)
    assert loop.acted[-1] == "StartProbe"
    loop.jobs.run()
    assert world.prober.probes == [(world.task(item).id, 80, None)]
    world.later(2)
    with pytest.raises(Conflict):
        loop.converge(asked)
    assert loop.acted[-2:] == ["StartProbe", "StartProbe"]
