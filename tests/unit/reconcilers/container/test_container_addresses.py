"""Addresses that a container asks for: another, one that is somebody else's, a ring of them."""

from reconcilers.interface import ChangeKind, Diff
from tests.unit.reconcilers.container.connected import (
    BACK,
    FRONT,
    PORTS,
    endpoint,
    held,
    running,
    uid,
)
from tests.unit.reconcilers.container.test_container_networks import changed
from tests.unit.reconcilers.container.worlds import container


def test_another_address_and_mac() -> None:
    world, loop, item = running(FRONT, ports=PORTS)
    after = container(networks=[{**FRONT, "ipv4": "10.1.0.77", "mac": "02:00:00:00:00:01"}], ports=PORTS)
    assert changed(loop, world, item, after) == [
        "AllocateAddresses", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "PublishPorts", "ForgetFlows",
        "LetAddressesGo", "RecordApplied",
    ]  # fmt: skip
    assert endpoint(world, item, "front").addresses == ("10.1.0.77/24",)
    assert endpoint(world, item, "front").mac == "02:00:00:00:00:01"
    assert world.ports.published(item.metadata.uid)[0].ipv4 == "10.1.0.77"


def test_an_address_that_is_anothers_is_told_and_waited_for() -> None:
    world, loop, item = running({**FRONT, "ipv4": "10.1.0.77"})
    other = container("other", networks=[{**FRONT, "ipv4": "10.1.0.77"}])
    diff = loop.converge(other)
    assert diff.waiting == f"the address 10.1.0.77 is {item.metadata.uid[:12]}'s on network/front"
    assert loop.status(other).phase == "Waiting"
    loop.converge(container(networks=[FRONT]))
    assert loop.converge(other).waiting, "who asks for none keeps the one it has"
    loop.converge(container(networks=[BACK]))
    loop.converge(other)
    assert held(world, other) == {"front": ("10.1.0.77",)}
    assert loop.look(other.key, other) == Diff()


def test_who_cannot_have_another_address_keeps_its_own_which_is_healed() -> None:
    world, loop, item = running({**FRONT, "ipv4": "10.1.0.5"}, ports=PORTS)
    other = container("other", networks=[{**FRONT, "ipv4": "10.1.0.6"}])
    loop.converge(other)
    loop.acted.clear()
    after = container(networks=[{**FRONT, "ipv4": "10.1.0.6"}], ports=PORTS)
    diff = loop.converge(after)
    assert (loop.acted, [change.path for change in diff.changes]) == (["AwaitAddresses"], ["spec.networks[0].ipv4"])
    assert "10.1.0.6" in diff.waiting
    assert not loop.status(after).ready
    assert (held(world, item), endpoint(world, item, "front").addresses) == ({"front": ("10.1.0.5",)}, ("10.1.0.5/24",))
    world.networks.lose_endpoint(world.task(item).id, uid(world, "front"))
    loop.converge(after)
    assert loop.acted == ["AwaitAddresses", "AttachEndpoint"]
    assert world.ports.published(item.metadata.uid)[0].ipv4 == "10.1.0.5"


def test_a_wish_that_is_taken_back_is_forgotten() -> None:
    world, loop, item = running({**FRONT, "ipv4": "10.1.0.5"})
    other = container("other", networks=[{**FRONT, "ipv4": "10.1.0.6"}])
    loop.converge(other)
    loop.converge(container(networks=[{**FRONT, "ipv4": "10.1.0.6"}]))
    assert world.ipam().claims(item.metadata.uid)[uid(world, "front")].awaits == ("10.1.0.6",)
    loop.converge(item)
    assert world.ipam().claims(item.metadata.uid)[uid(world, "front")].awaits == ()
    loop.converge(container(networks=[{**FRONT, "ipv4": "10.1.0.6"}]))
    loop.converge(container(networks=[BACK]))
    assert set(world.ipam().claims(item.metadata.uid)) == {uid(world, "back")}


def test_in_a_ring_one_gives_way_and_the_others_change_in_place() -> None:
    world, loop, first = running({**FRONT, "ipv4": "10.1.0.5"}, ports=PORTS)
    second = container("zweb", networks=[{**FRONT, "ipv4": "10.1.0.6"}])
    loop.converge(second)
    first = container(networks=[{**FRONT, "ipv4": "10.1.0.6"}], ports=PORTS)
    second = container("zweb", networks=[{**FRONT, "ipv4": "10.1.0.5"}])
    assert loop.look(first.key, first, planning=True).kind is ChangeKind.HOT
    loop.converge(first)
    loop.converge(second)
    loop.acted.clear()
    diff = loop.converge(first)
    assert loop.acted == [
        "PublishPorts", "RemoveNames", "DetachEndpoint", "VacateAddresses", "WriteSandboxFiles", "RecordApplied",
    ]  # fmt: skip
    assert diff.waiting
    assert not [change for change in diff.changes if change.drift]
    assert (held(world, first), world.networks.forgotten, world.ports.list()) == ({}, ["10.1.0.5"], [])
    loop.acted.clear()
    loop.converge(second)
    assert loop.acted == [
        "AllocateAddresses", "AttachEndpoint", "WriteSandboxFiles", "SetNames", "ForgetFlows", "LetAddressesGo",
        "RecordApplied",
    ]  # fmt: skip
    loop.converge(first)
    for one, address in ((first, "10.1.0.6"), (second, "10.1.0.5")):
        assert held(world, one) == {"front": (address,)}
        assert endpoint(world, one, "front").interface == "eth0"
        assert loop.look(one.key, one) == Diff()


def test_at_rest_what_it_asks_for_no_more_is_free() -> None:
    world, loop, item = running({**FRONT, "ipv4": "10.1.0.5"}, BACK)
    loop.settle(container(networks=[{**FRONT, "ipv4": "10.1.0.6"}, BACK], state="stopped"))
    assert set(held(world, item)) == {"back"}
    other = container("other", networks=[{**FRONT, "ipv4": "10.1.0.5"}])
    loop.converge(other)
    assert held(world, other) == {"front": ("10.1.0.5",)}
    loop.settle(container(networks=[{**FRONT, "ipv4": "10.1.0.6"}, BACK]))
    assert held(world, item)["front"] == ("10.1.0.6",)
