"""Containers put on networks, and taken off, by hand: what is desired is edited, with what it implies."""

import re
from pathlib import Path

import pytest

from controller.containers import attachments
from controller.store.seal import HostKey
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import Kind
from resources.meta import Ref
from tests.convergence.world import World

BACK = Ref(kind=Kind.NETWORK, namespace="default", name="back")
BRIDGE = Ref(kind=Kind.NETWORK, namespace="default", name="bridge")
WEB = Ref(kind=Kind.CONTAINER, namespace="default", name="web")
SHOP = """
apiVersion: lading/v1
kind: Network
metadata: {name: back}
spec: {subnets: [10.0.0.0/24]}
---
apiVersion: lading/v1
kind: Container
metadata: {name: web}
spec: {image: nginx, networks: [back]}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, HostKey(tmp_path))
    made.apply(SHOP)
    return made


def connect(world: World, network: str, *aliases: str, ipv4: str = "", ipv6: str = "") -> None:
    attachments.connect(world.backend, WEB, network, aliases, ipv4, ipv6, manager="cli")


def names(world: World) -> list[str | None]:
    item = world.backend.objects.find(WEB)
    assert item is not None
    assert item.spec.networks == item.effective.networks
    return [one.name for one in item.effective.networks]


def test_what_an_edit_implies_comes_with_it_and_goes_with_it(world: World) -> None:
    assert world.backend.objects.find(BRIDGE) is None
    connect(world, "bridge")
    bridge = world.backend.objects.find(BRIDGE)
    assert names(world) == ["back", "bridge"]
    assert bridge is not None
    assert bridge.metadata.implied
    attachments.disconnect(world.backend, WEB, "bridge", manager="cli")
    bridge = world.backend.objects.find(BRIDGE)
    assert bridge is None or bridge.deleting


def test_a_plan_shows_what_the_manifest_says_otherwise_and_applying_it_counts(world: World) -> None:
    before = world.backend.objects.find(WEB)
    connect(world, "bridge", "www")
    after = world.backend.objects.find(WEB)
    assert before is not None
    assert after is not None
    assert after.metadata.generation == before.metadata.generation + 1
    [change] = [change for change in world.plan(SHOP).changes if change.ref == WEB]
    assert "spec.networks[1]" in {field.path for field in change.fields}
    world.apply(SHOP)
    assert names(world) == ["back"]
    assert [change for change in world.plan(SHOP).changes if change.ref == WEB and change.fields] == []


def test_an_edit_that_changes_nothing_is_none(world: World) -> None:
    connect(world, "back", "api", ipv4="10.0.0.9")
    generation = world.backend.objects.find(WEB).metadata.generation  # type: ignore[union-attr]
    connect(world, "back", "api", ipv4="10.0.0.9")
    assert world.backend.objects.find(WEB).metadata.generation == generation  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("network", "address", "said"),
    [
        ("back", "10.9.0.9", "10.9.0.9 is in no subnet of network/back: 10.0.0.0/24"),
        ("back", "10.0.0.7", "10.0.0.7 is container/other's"),
        ("back", "10.0.0.1", "10.0.0.1 is the gateway of network/back"),
        ("front", "10.0.0.9", "network/front gets a subnet of the engine's choice: say its subnets"),
        ("bridge", "10.0.0.9", "network/bridge gets a subnet of the engine's choice: say its subnets"),
    ],
)
def test_an_address_that_cannot_be_is_told_at_once(world: World, network: str, address: str, said: str) -> None:
    world.apply(SHOP.replace("[10.0.0.0/24]", "[{subnet: 10.0.0.0/24, gateway: 10.0.0.1}]"))
    world.apply("apiVersion: lading/v1\nkind: Network\nmetadata: {name: front}\n")
    other = SHOP.partition("---")[2].replace("name: web", "name: other")
    world.apply(other.replace("[back]", "[{name: back, ipv4: 10.0.0.7}]"))
    before = world.backend.objects.find(WEB)
    with pytest.raises(FailedPrecondition, match=re.escape(said)):
        connect(world, network, ipv4=address)
    assert world.backend.objects.find(WEB) == before
    attachments.connect(world.backend, WEB, "back", ["own"], "10.0.0.8", "", manager="cli")
    attachments.connect(world.backend, WEB, "back", ["own"], "10.0.0.8", "", manager="cli")


def test_what_a_manifest_could_not_say_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument, match=r"networks\[0\].ipv4"):
        connect(world, "back", ipv4="10.0.0")
    with pytest.raises(NotFound, match="no network/none-such"):
        connect(world, "none-such")
    world.apply(SHOP.replace("networks: [back]", "networks: [host]"))
    with pytest.raises(FailedPrecondition, match="the network host"):
        connect(world, "back")
    other = SHOP.replace("name: web", "name: web2")
    world.apply(SHOP.replace("networks: [back]", "networks: [{container: web2}]") + "---" + other.partition("---")[2])
    with pytest.raises(FailedPrecondition, match="the sandbox of container/web2"):
        attachments.disconnect(world.backend, WEB, "back", manager="cli")


def test_a_network_that_goes_is_not_joined(world: World) -> None:
    world.apply(SHOP.replace("networks: [back]", "networks: [none]"))
    world.apply(SHOP.replace("networks: [back]", "networks: [bridge]"))
    world.backend.delete([BACK], data=False, cascade=False, force=False)
    with pytest.raises(FailedPrecondition, match="network/back is being deleted"):
        connect(world, "back")


@pytest.mark.parametrize(
    "networks",
    ["", "networks: [bridge]", "networks: [back]", "networks: [{name: back, aliases: [api]}, bridge]", "networks: []"],
)
def test_who_joins_and_leaves_again_is_as_it_was_written(world: World, networks: str) -> None:
    text = SHOP.replace("networks: [back]", networks)
    world.apply(text + "---\napiVersion: lading/v1\nkind: Network\nmetadata: {name: more}\n")
    before = world.backend.objects.find(WEB)
    assert before is not None
    connect(world, "more", "www")
    attachments.disconnect(world.backend, WEB, "more", manager="cli")
    after = world.backend.objects.find(WEB)
    assert after is not None
    assert after.spec.written() == before.spec.written()
    assert after.effective == before.effective
    changes = [change for change in world.plan(text).changes if change.ref == WEB]
    assert [(change.verb, change.note, change.fields) for change in changes] == [("none", "", ())]
