"""What others do to the networks of a running container: named, put back, or only told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drivers.network.interface import Fault
from reconcilers.interface import ChangeKind, Diff
from resources.errors import Unavailable
from resources.object import Object
from tests.unit.reconcilers.container.connected import BACK, FRONT, PORTS, held, running, uid
from tests.unit.reconcilers.container.worlds import ContainerLoop, World, container, noted

Happening = Callable[[World, Object], None]
ADMIN = {"security": {"capabilities": {"add": ["NET_ADMIN"]}}}
PRIVILEGED = {"security": {"privileged": True, "dangerous": ["privileged"]}}


def breaks(field: str, expected: Any, actual: Any) -> Happening:
    def happening(world: World, item: Object) -> None:
        world.networks.break_endpoint(world.task(item).id, uid(world, "front"), Fault(field, expected, actual))

    return happening


def loses_endpoint(world: World, item: Object) -> None:
    world.networks.lose_endpoint(world.task(item).id, uid(world, "front"))


def loses_ports(world: World, item: Object) -> None:
    world.ports.lose(item.metadata.uid)


def breaks_ports(world: World, item: Object) -> None:
    world.ports.break_ports(item.metadata.uid)


def publishes_another(world: World, item: Object) -> None:
    [port] = world.ports.published(item.metadata.uid)
    world.ports.publish(item.metadata.uid, [port, replace(port, host=9999)])


def kills_resolver(world: World, item: Object) -> None:
    world.names.die()


def alters_names(world: World, item: Object) -> None:
    found = world.names.get(world.task(item).id)
    assert found is not None
    world.names.set(replace(found, servers=("6.6.6.6",)))


def scribbles(world: World, item: Object) -> None:
    world.sandboxes.scribble(world.task(item).id, "resolv.conf", b"nameserver 6.6.6.6\n")


INSIDE: list[tuple[Happening, str, str]] = [
    (breaks("addresses", ["10.1.0.2/24"], []), "endpoint.front.addresses", "AttachEndpoint"),
    (breaks("routes", ["10.1.0.1"], []), "endpoint.front.routes", "AttachEndpoint"),
    (breaks("interface.name", "eth0", "foo"), "endpoint.front.interface.name", "AttachEndpoint"),
    (breaks("interface.up", True, False), "endpoint.front.interface.up", "AttachEndpoint"),
    (loses_endpoint, "endpoint.front", "AttachEndpoint"),
]
OUTSIDE: list[tuple[Happening, str, str]] = [
    (breaks("link.bridge", "ldbr", None), "endpoint.front.link.bridge", "AttachEndpoint"),
    (breaks("link.up", True, False), "endpoint.front.link.up", "AttachEndpoint"),
    (loses_ports, "ports", "PublishPorts"),
    (breaks_ports, "ports", "PublishPorts"),
    (publishes_another, "ports", "PublishPorts"),
    (kills_resolver, "sandbox.names", "SetNames"),
    (alters_names, "sandbox.names", "SetNames"),
    (scribbles, "sandbox.files", "WriteSandboxFiles"),
]


def looked(loop: ContainerLoop, item: Object) -> tuple[list[str], list[str]]:
    diff = loop.look(item.key, item)
    assert all(change.drift and change.kind is ChangeKind.HOT for change in diff.changes)
    return [change.path for change in diff.changes], [type(action).__name__ for action in diff.actions]


@pytest.mark.parametrize(("happening", "path", "action"), [*INSIDE, *OUTSIDE])
def test_drift_is_named_and_healed(happening: Happening, path: str, action: str) -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS)
    before, addresses = world.running(item), held(world, item)
    happening(world, item)
    assert looked(loop, item) == ([path], [action])
    loop.converge(item)
    assert loop.look(item.key, item) == Diff()
    assert (world.running(item), held(world, item)) == (before, addresses)


@pytest.mark.parametrize(("happening", "path", "action"), [*INSIDE, *OUTSIDE])
@pytest.mark.parametrize("mode", ["report", "ignore"])
def test_drift_that_is_only_to_be_told(happening: Happening, path: str, action: str, mode: str) -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS)
    item = noted(item, annotations={"lading/drift": mode})
    loop.converge(item)
    happening(world, item)
    assert looked(loop, item) == ([path] if mode == "report" else [], [])
    assert loop.status(item).ready


@pytest.mark.parametrize("may", [ADMIN, PRIVILEGED])
@pytest.mark.parametrize(("happening", "path", "action"), INSIDE)
def test_who_may_change_its_sandbox_is_left_alone_unless_it_is_said(
    happening: Happening, path: str, action: str, may: dict[str, Any]
) -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS, **may)
    happening(world, item)
    assert looked(loop, item) == ([path], [])
    said = noted(item, annotations={"lading/drift": "heal"})
    loop.converge(said)
    assert loop.look(said.key, said) == Diff()
    happening(world, said)
    assert looked(loop, said) == ([path], [action])


@pytest.mark.parametrize(("happening", "path", "action"), OUTSIDE)
def test_what_is_outside_of_its_sandbox_is_healed_all_the_same(happening: Happening, path: str, action: str) -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS, **ADMIN)
    happening(world, item)
    assert looked(loop, item) == ([path], [action])


def test_a_route_of_the_hosts_in_its_way_is_told_alone() -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS)
    breaks("way", "ldbr", "hx")(world, item)
    assert looked(loop, item) == (["endpoint.front.way"], [])
    assert loop.status(item).ready
    breaks("link.up", True, False)(world, item)
    assert looked(loop, item)[1] == ["AttachEndpoint"]


def test_a_change_is_made_where_drift_is_only_told() -> None:
    world, loop, item = running(FRONT)
    report: dict[str, Any] = {"annotations": {"lading/drift": "report"}}
    loop.converge(noted(item, **report))
    changed = noted(container(networks=[FRONT, BACK], ports=PORTS), **report)
    loop.converge(changed)
    assert loop.look(changed.key, changed) == Diff()
    assert set(held(world, changed)) == {"front", "back"}
    assert world.ports.list() == [item.metadata.uid]


def test_a_resolver_that_does_not_answer_is_no_reason_not_to_restart() -> None:
    world, loop, item = running(FRONT, restart={"policy": "always"})

    def hangs(*_: Any) -> None:
        raise Unavailable("the resolver does not answer")

    world.names.get = world.names.set = world.ports.published = hangs  # type: ignore[assignment, method-assign]
    world.exit(item, 1)
    with pytest.raises(Unavailable):
        loop.converge(item)
    assert loop.acted[-1] == "AttachEndpoint"
    world.names.list = world.ports.list = hangs  # type: ignore[assignment, method-assign]
    assert loop.reconciler.known() == [item.key]
    del world.names.get, world.names.set, world.names.list, world.ports.list, world.ports.published
    loop.converge(item)
    assert world.running(item).attempt == 2


def test_a_lost_namespace_comes_back_with_all_that_is_in_it() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    world.sandboxes._sandboxes.pop(world.task(item).id)
    assert looked(loop, item) == (["sandbox.namespace"], ["CreateSandbox"])
    loop.converge(item)
    assert loop.look(item.key, item) == Diff()


def test_a_network_whose_link_was_lost_takes_its_endpoints_back() -> None:
    world, loop, item = running(FRONT)
    world.networks.lose_network(uid(world, "front"))
    world.network("front", subnets=[{"subnet": "10.1.0.0/24"}])
    assert looked(loop, item) == (["endpoint.front.link.bridge"], ["AttachEndpoint"])
    loop.converge(item)
    assert loop.look(item.key, item) == Diff()
