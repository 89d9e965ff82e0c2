"""A container on its networks: attached, changed and taken off while its process goes on."""

from typing import Any

import pytest

from drivers.network.interface import SandboxFiles
from drivers.network.names.interface import MemberNames
from reconcilers.interface import ChangeKind, Diff
from resources.errors import FailedPrecondition
from resources.kinds import Kind
from resources.object import Object
from tests.unit.reconcilers.container.connected import (
    BACK,
    FRONT,
    PORTS,
    endpoint,
    held,
    networked,
    running,
    served,
    uid,
)
from tests.unit.reconcilers.container.worlds import World, container, noted
from tests.unit.reconcilers.engines import deleted, made


def files(world: World, item: Object, **said: Any) -> bool:
    return world.sandboxes.files_match(world.task(item).id, SandboxFiles("web", **said))


def test_it_is_attached_before_it_runs_and_its_addresses_first_of_all() -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS)
    assert loop.acted == [
        "PrepareSnapshot", "MountRootfs", "AllocateAddresses", "AllocateAddresses", "AllocatePorts",
        "CreateSandbox", "AttachEndpoint", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "PublishPorts",
        "CreateTask", "StartTask",
    ]  # fmt: skip
    front, back = endpoint(world, item, "front"), endpoint(world, item, "back")
    assert (front.interface, front.addresses, front.gateways) == ("eth0", ("10.1.0.2/24",), ("10.1.0.1",))
    assert (back.interface, back.addresses) == ("eth1", ("10.2.0.2/24", "fd00:2::2/64"))
    assert (back.gateways, back.mac) == (("fd00:2::1",), "02:42:0a:02:00:02")
    assert loop.plan(item) == []
    assert loop.look(item.key, item) == Diff()


def test_the_status_tells_networks_and_ports() -> None:
    _, loop, item = running(FRONT, ports=[*PORTS, {"container": 53, "host": 53, "protocol": "udp", "address": "::1"}])
    fields = loop.status(item).fields
    assert fields["networks"] == {"front": {"addresses": ["10.1.0.2"], "interface": "eth0", "mac": "02:42:0a:01:00:02"}}
    assert fields["ports"] == [
        {"host": 8080, "address": "0.0.0.0", "container": 80, "protocol": "tcp"},
        {"host": 8080, "address": "::", "container": 80, "protocol": "tcp"},
        {"host": 53, "address": "::1", "container": 53, "protocol": "udp"},
    ]


@pytest.mark.parametrize("network", ["host", "none"])
def test_on_no_network_of_its_own_nothing_is_asked_for(network: str) -> None:
    world = World()
    loop, item = world.life(), container(networks=[{"name": network}])
    for unused in ("networks", "ports", "names"):
        setattr(world, unused, None)
    loop = world.life()
    loop.converge(item)
    assert world.running(item)
    assert loop.acted[-2:] == ["CreateTask", "StartTask"]
    assert "networks" not in loop.status(item).fields


def test_names_are_those_of_the_container_and_its_aliases() -> None:
    world, loop, item = running({**FRONT, "aliases": ["API", "api", "db.example"]}, {"name": "mute"}, BACK)
    found = served(world, item)
    assert found.members == (
        MemberNames(uid(world, "back"), ("web",), ("10.2.0.2", "fd00:2::2")),
        MemberNames(uid(world, "front"), ("web", "api", "db.example"), ("10.1.0.2",)),
    )
    assert found.netns == world.sandboxes.inspect(world.task(item).id).netns  # type: ignore[union-attr]
    assert (found.forward, found.servers) == (True, ())
    assert files(world, item, nameservers=("127.0.0.11",), addresses=("10.1.0.2", "10.2.0.2", "fd00:2::2", "10.4.0.2"))
    loop.converge(noted(item, name="shop"))
    assert served(world, item).members[0].names == ("shop",)
    loop.converge(noted(item, name="what..is-no-name"))
    assert [member.names for member in served(world, item).members] == [(), ("api", "db.example")]


def test_on_internal_networks_alone_nothing_is_asked_of_the_world() -> None:
    world, _, item = running({"name": "inner"}, dns={"servers": ["9.9.9.9"]})
    assert (served(world, item).forward, served(world, item).servers) == (False, ("9.9.9.9",))
    assert files(world, item, nameservers=("127.0.0.11",), addresses=("10.3.0.2",))
    assert endpoint(world, item, "inner").gateways == ()


def test_without_names_the_servers_are_the_containers_own() -> None:
    world, loop, item = running({"name": "mute"}, dns={"servers": ["9.9.9.9"]})
    assert world.names.list() == []
    assert "SetNames" not in loop.acted
    assert files(world, item, nameservers=("9.9.9.9",), addresses=("10.4.0.2",))


GATEWAYS = [
    ((FRONT, BACK), "10.1.0.1"),
    ((FRONT, {**BACK, "defaultRoute": True}), "10.2.0.1"),
    (({"name": "six"}, FRONT), "10.1.0.1"),
    (({"name": "six"},), "fd00:6::1"),
    (({"name": "inner"},), "10.3.0.1"),
    (({"name": "none"},), "127.0.0.1"),
]


@pytest.mark.parametrize(("networks", "gateway"), GATEWAYS)
def test_the_host_is_reached_by_the_default_route(networks: Any, gateway: str) -> None:
    _world, loop, item = running(*networks, extraHosts={"host": "host-gateway"})
    observed = loop.reconciler.observe(item.key, item, loop.context())
    assert observed.files.extra_hosts == {"host": gateway}


# ---- changes while it runs


def changed(loop: Any, world: World, item: Object, after: Object) -> list[str]:
    """What was done; the process is untouched, and there is nothing left to do."""
    before = world.running(item)
    loop.acted.clear()
    assert loop.look(item.key, after).kind <= ChangeKind.HOT
    loop.converge(after)
    now = world.running(item)
    assert (now.id, now.pid, now.start_time, now.attempt) == (before.id, before.pid, before.start_time, before.attempt)
    assert now.applied["spec"] == after.effective.full()
    assert loop.look(after.key, after) == Diff()
    assert loop.look(after.key, after, planning=True) == Diff()
    acted: list[str] = list(loop.acted)
    return acted


def test_a_network_more_and_a_network_less() -> None:
    world, loop, item = running(FRONT)
    assert changed(loop, world, item, container(networks=[FRONT, BACK])) == [
        "AllocateAddresses", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "RecordApplied",
    ]  # fmt: skip
    assert changed(loop, world, item, container(networks=[BACK])) == [
        "DetachEndpoint", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "ReleaseAddresses", "RecordApplied",
    ]  # fmt: skip
    assert held(world, item) == {"back": ("10.2.0.2", "fd00:2::2")}
    assert world.networks.forgotten == ["10.1.0.2"]
    assert endpoint(world, item, "back").interface == "eth1"
    assert endpoint(world, item, "back").gateways == ("10.2.0.1", "fd00:2::1")
    assert changed(loop, world, item, container(networks=[BACK, FRONT]))[0] == "AllocateAddresses"
    assert endpoint(world, item, "front").interface == "eth0"


def test_off_all_networks_and_on_again() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    changed(loop, world, item, container(networks=[]))
    assert (world.ports.list(), world.names.list(), held(world, item)) == ([], [], {})
    assert world.networks.attached(world.task(item).id) == {}
    assert files(world, item)
    changed(loop, world, item, container(networks=[FRONT], ports=PORTS))
    assert (world.ports.list(), len(world.names.list())) == ([item.metadata.uid], 1)


def test_the_order_of_networks_is_no_change() -> None:
    world, loop, item = running(FRONT, {"name": "inner"})
    assert changed(loop, world, item, container(networks=[{"name": "inner"}, FRONT])) == ["RecordApplied"]


def test_aliases_and_servers_are_the_resolvers_alone() -> None:
    world, loop, item = running(FRONT)
    after = container(networks=[{**FRONT, "aliases": ["api"]}], dns={"servers": ["9.9.9.9"]})
    assert changed(loop, world, item, after) == ["SetNames", "RecordApplied"]
    assert served(world, item).servers == ("9.9.9.9",)


def test_a_network_of_other_subnets_and_mtu_changes_its_endpoints_in_place() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    world.network("front", subnets=[{"subnet": "10.9.0.0/28"}], mtu=1400)
    paths = {change.path: change.drift for change in loop.look(item.key, item, planning=True).changes}
    assert paths == {"endpoint.front.addresses": False, "endpoint.front.mtu": False}
    assert changed(loop, world, item, item) == [
        "AllocateAddresses", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "PublishPorts", "ForgetFlows",
        "LetAddressesGo", "RecordApplied",
    ]  # fmt: skip
    found = endpoint(world, item, "front")
    assert (found.addresses, found.gateways, found.mtu) == (("10.9.0.2/28",), ("10.9.0.1",), 1400)


def test_another_network_of_the_same_name_is_another_network() -> None:
    world, loop, item = running(FRONT)
    old = uid(world, "front")
    renamed = world.network("other", subnets=[{"subnet": "10.8.0.0/24"}])
    meta = renamed.metadata.model_copy(update={"name": "front"})
    world.add(renamed.model_copy(update={"metadata": meta}))
    changed(loop, world, item, item)
    assert list(world.networks.attached(world.task(item).id)) == [renamed.metadata.uid]
    assert old not in world.ipam().addresses(item.metadata.uid)


def test_while_something_is_waited_for_what_runs_stays_and_nothing_new_comes() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    loop.blockers = ("network/back is not ready",)
    after = container(networks=[FRONT, {**BACK, "defaultRoute": True}], ports=[{"container": 80, "host": 9090}])
    loop.acted.clear()
    diff = loop.converge(after)
    assert (diff.waiting, loop.acted) == ("network/back is not ready", [])
    assert {change.path for change in diff.changes} == {"spec.networks[1]", "spec.ports"}
    assert not loop.status(after).ready
    world.networks.lose_endpoint(world.task(item).id, uid(world, "front"))
    world.ports.lose(item.metadata.uid)
    loop.converge(after)
    assert loop.acted == ["AttachEndpoint"]
    loop.blockers = ()
    loop.converge(after)
    assert loop.look(after.key, after) == Diff()
    assert world.ports.published(item.metadata.uid)[0].host == 9090


def test_a_network_that_is_not_ready_is_waited_for_before_anything_starts() -> None:
    world = networked()
    loop, item = world.life(), container(networks=[{"name": "later"}])
    assert loop.converge(item).waiting == "network/later is not there"
    later = world.add(made(Kind.NETWORK, "later", {"subnets": [{"subnet": "10.7.0.0/24"}]}))
    assert loop.converge(item).waiting == "network/later has no subnet yet"
    world.add(made(Kind.NETWORK, "later", {"driver": "host"}))
    assert "which nothing is attached to" in loop.converge(item).waiting
    assert world.tasks == []
    world.network("later", subnets=[{"subnet": "10.7.0.0/24"}])
    loop.converge(item)
    assert world.networks.attached(world.task(item).id) == {later.metadata.uid: "eth0"}


def test_a_plan_before_its_network_is_there() -> None:
    world = networked()
    item = container(networks=[{"name": "later"}], ports=PORTS)
    said = world.life().plan(item)
    assert "take an address of network/later" in said
    assert "attach eth0 to network/later as (known after apply)" in said
    assert "publish 8080->80/tcp" in said


# ---- made again, and gone


def test_made_again_it_has_its_addresses_and_ports_again() -> None:
    world, loop, item = running(FRONT, ports=[{"container": 81}])
    addresses, ports = held(world, item), world.ports.published(item.metadata.uid)
    world.ports.calls.clear()
    after = container(networks=[FRONT], ports=[{"container": 81}], command=["other"])
    loop.settle(after)
    assert (held(world, item), world.ports.published(item.metadata.uid)) == (addresses, ports)
    assert world.ports.calls == []
    assert world.names.list() == [world.task(item).id]
    assert world.networks.forgotten == ["10.1.0.2"]


def test_after_a_reboot_it_has_all_of_it_again() -> None:
    world, _loop, item = running(FRONT, BACK, ports=[{"container": 81}], restart={"policy": "always"})
    addresses, ports = held(world, item), world.ports.published(item.metadata.uid)
    world.reboot()
    world.life().settle(item)
    assert (held(world, item), world.ports.published(item.metadata.uid)) == (addresses, ports)
    assert served(world, item)
    assert endpoint(world, item, "back").interface == "eth1"


def test_removal_lets_nothing_lead_there_and_drops_all_links_at_once() -> None:
    world, loop, item = running(FRONT, BACK, ports=PORTS)
    loop.acted.clear()
    loop.settle(deleted(item))
    assert loop.acted == [
        "SignalTask", "PublishPorts", "DeleteTask", "RemoveNames", "UnmountRootfs", "DropSandbox", "ForgetFlows",
        "RemoveSnapshot",
    ]  # fmt: skip
    assert sorted(world.networks.forgotten) == ["10.1.0.2", "10.2.0.2", "fd00:2::2"]
    assert [method for method, _ in world.networks.calls].count("detach") == 0
    assert (world.left(), loop.reconciler.known()) == ([], [])


def test_what_is_there_of_no_object_is_removed() -> None:
    world, _loop, item = running(FRONT, ports=PORTS)
    world.allocations.forget(item.metadata.uid)
    world.life().settle(None, item.key)
    assert world.left() == []


@pytest.mark.parametrize("left", ["names", "ports"])
def test_names_or_ports_alone_are_found_and_removed(left: str) -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    task_id, ports, names = world.task(item).id, world.ports.published(item.metadata.uid), served(world, item)
    loop.settle(deleted(item))
    world.allocations.forget(item.metadata.uid)
    if left == "names":
        world.names.set(names)
    else:
        world.ports.publish(item.metadata.uid, ports)
        world.ports.break_ports(item.metadata.uid)
    loop = world.life()
    assert loop.reconciler.known() == [item.key]
    loop.settle(None, item.key)
    assert (world.left(), loop.reconciler.known(), task_id[:32]) == ([], [], item.metadata.uid)


def test_a_failed_attachment_is_told_and_tried_again() -> None:
    world = networked()
    world.networks.fail("attach", FailedPrecondition("there is no network"))
    loop, item = world.life(), container(networks=[FRONT])
    with pytest.raises(FailedPrecondition):
        loop.converge(item)
    loop.converge(item)
    assert world.running(item)
