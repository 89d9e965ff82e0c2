"""Fixed addresses and subnets that change hands: whoever gives one up and whoever gets it, in one apply, in whatever order,
whenever the engine dies, and with none at two links at once."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.interface import ApplyOptions
from controller.plan import Verb
from controller.store.allocations import Allocations
from controller.store.seal import HostKey
from drivers.network.interface import EndpointConfig
from reconcilers.interface import ChangeKind
from resources.kinds import Kind
from tests.convergence.mortal import WRITES, Death, MortalStore
from tests.convergence.test_wakeups import DeafQueue, ShuffledQueue, resynced
from tests.convergence.world import World
from tests.unit.reconcilers.engines import Killed

FILES = {"app.tar": b"image one"}
OWNED = ApplyOptions(owner="swap", prune=True)
Sites = Mapping[str, Sequence[Any]]
"""Networks of each container."""


def manifests(networks: Mapping[str, str], sites: Sites, **more: Mapping[str, Any]) -> str:
    documents: list[dict[str, Any]] = [
        {"kind": "Image", "metadata": {"name": "app"}, "spec": {"from": {"archive": "./app.tar"}}},
        *(
            {"kind": "Network", "metadata": {"name": name}, "spec": {"subnets": [subnet]} if subnet else {}}
            for name, subnet in networks.items()
        ),
        *(
            {
                "kind": "Container",
                "metadata": {"name": name},
                "spec": {"image": {"name": "app"}, "networks": list(on), **more.get(name, {})},
            }
            for name, on in sites.items()
        ),
    ]
    return yaml.safe_dump_all([{"apiVersion": "lading/v1", **one} for one in documents])


def at(number: int, network: str = "n", subnet: str = "10.7.0") -> dict[str, str]:
    return {"name": network, "ipv4": f"{subnet}.{number}"}


ONE = {"n": "10.7.0.0/24"}
TWO = {"n": "10.7.0.0/24", "m": "10.8.0.0/24"}
SWAPPED = {"n": "10.8.0.0/24", "m": "10.7.0.0/24"}
THREE = {**TWO, "o": "10.9.0.0/24"}
PORTS = {"a": {"ports": ["8001:80"]}, "b": {"ports": ["8002:80"]}}

CASES: dict[str, tuple[str, str]] = {
    "two exchange addresses": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}, **PORTS),
        manifests(ONE, {"a": [at(6)], "b": [at(5)]}, **PORTS),
    ),
    "two exchange addresses and ports": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}, **PORTS),
        manifests(ONE, {"a": [at(6)], "b": [at(5)]}, a=PORTS["b"], b=PORTS["a"]),
    ),
    "an address for a port": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}, b=PORTS["a"]),
        manifests(ONE, {"a": [at(7)], "b": [at(5)]}, a=PORTS["a"]),
    ),
    "a ring of three": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)], "c": [at(7)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(7)], "c": [at(5)]}),
    ),
    "a chain with a free end": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)], "c": [at(7)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(7)], "c": [at(8)]}),
    ),
    "two rings, and one beside": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)], "c": [at(7)], "d": [at(8)], "e": [at(9)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(5)], "c": [at(8)], "d": [at(7)], "e": [at(10)]}),
    ),
    "an address that is given up to one who comes": (
        manifests(ONE, {"a": [at(5)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(5)]}),
    ),
    "an address of one who leaves the network": (
        manifests(TWO, {"a": [at(5), "m"], "b": [at(6)]}),
        manifests(TWO, {"a": ["m"], "b": [at(5)]}),
    ),
    "an address of one who goes": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}),
        manifests(ONE, {"b": [at(5)]}),
    ),
    "an address of one who stops": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}),
        manifests(ONE, {"a": [at(7)], "b": [at(5)]}, a={"state": "stopped"}),
    ),
    "addresses on two networks": (
        manifests(TWO, {"a": [at(5), at(5, "m", "10.8.0")], "b": [at(6), at(6, "m", "10.8.0")]}),
        manifests(TWO, {"a": [at(6), at(6, "m", "10.8.0")], "b": [at(5), at(5, "m", "10.8.0")]}),
    ),
    "an exchange with one who is made anew": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(5)]}, a={"command": ["other"]}),
    ),
    "an exchange of two who are made anew": (
        manifests(ONE, {"a": [at(5)], "b": [at(6)]}),
        manifests(ONE, {"a": [at(6)], "b": [at(5)]}, a={"command": ["other"]}, b={"user": "7"}),
    ),
    "two networks exchange subnets": (
        manifests(TWO, {"a": ["n"], "b": ["m"], "c": ["n", "m"]}, **PORTS),
        manifests(SWAPPED, {"a": ["n"], "b": ["m"], "c": ["n", "m"]}, **PORTS),
    ),
    "networks exchange subnets under fixed addresses": (
        manifests(TWO, {"a": [at(5)], "b": [at(5, "m", "10.8.0")]}),
        manifests(SWAPPED, {"a": [at(5, "n", "10.8.0")], "b": [at(5, "m", "10.7.0")]}),
    ),
    "networks exchange subnets, and a container is made anew": (
        manifests(TWO, {"a": ["n"], "b": ["m"]}),
        manifests(SWAPPED, {"a": ["n"], "b": ["m"]}, a={"command": ["other"]}, b={"command": ["other"]}),
    ),
    "networks exchange subnets under one that is stopped": (
        manifests(TWO, {"a": [at(5)], "b": ["m"]}, a={"state": "stopped"}, b={"state": "stopped"}),
        manifests(SWAPPED, {"a": [at(5, "n", "10.8.0")], "b": ["m"]}, a={"state": "stopped"}, b={"state": "stopped"}),
    ),
    "networks exchange subnets with nobody on them": (manifests(TWO, {}), manifests(SWAPPED, {})),
    "three subnets in a ring": (
        manifests(THREE, {"a": ["n"], "b": ["m"], "c": ["o"]}),
        manifests({"n": "10.8.0.0/24", "m": "10.9.0.0/24", "o": "10.7.0.0/24"}, {"a": ["n"], "b": ["m"], "c": ["o"]}),
    ),
    "a chain of subnets": (
        manifests(TWO, {"a": ["n"], "b": ["m"]}),
        manifests({"n": "10.8.0.0/24", "m": "10.9.0.0/24"}, {"a": ["n"], "b": ["m"]}),
    ),
    "subnets that overlap": (
        manifests({"n": "10.7.0.0/25", "m": "10.7.0.128/25"}, {"a": ["n"], "b": ["m"]}),
        manifests({"n": "10.7.0.128/26", "m": "10.7.0.0/26"}, {"a": ["n"], "b": ["m"]}),
    ),
}


class WatchedWorld(World):
    """No address is ever at two links at once, nor published when it is somebody else's."""

    def begin(self, *args: Any, **how: Any) -> None:
        super().begin(*args, **how)
        networks = self.machine.networks
        if not hasattr(networks, "attach_unwatched"):
            networks.attach_unwatched = networks.attach  # type: ignore[attr-defined]

            def attach(endpoint: EndpointConfig) -> None:
                networks.attach_unwatched(endpoint)  # type: ignore[attr-defined]
                self.check()

            networks.attach = attach  # type: ignore[method-assign]

    def check(self) -> None:
        networks = self.machine.networks
        there = [networks._endpoint(*key) for key in networks._endpoints]
        addresses = Counter(address.partition("/")[0] for one in there if one for address in one.config.addresses)
        assert max(addresses.values(), default=0) <= 1, addresses
        holders = {
            address.partition("/")[0]: one.config.sandbox_id[:32]
            for one in there
            if one
            for address in one.config.addresses
        }
        for owner in self.machine.ports.list():
            for port in self.machine.ports.published(owner):
                assert holders.get(port.ipv4, owner) == owner, (port, holders)


def shuffled(folder: Path, seed: int) -> WatchedWorld:
    chance = random.Random(seed)
    return WatchedWorld(folder, HostKey(folder), make_queue=lambda clock: ShuffledQueue(clock, chance))


def addresses(world: World) -> dict[str, dict[str, list[str]]]:
    found = {}
    for item in world.objects:
        status = world.engine.status(item.key)
        if item.kind is Kind.CONTAINER and status is not None:
            on = status.fields.get("networks") or {}
            found[item.metadata.name] = {name: one["addresses"] for name, one in on.items()}
    return found


def check_at_rest(world: WatchedWorld, after: str) -> None:
    world.check()
    for item in world.objects:
        if item.kind is Kind.CONTAINER:
            for network in item.effective.networks:
                now = addresses(world)[item.metadata.name]
                if item.effective.state != "stopped":
                    [address] = now[network.name]
                    assert address == (network.ipv4 or address)
    assert not [change for change in world.plan(after, FILES, OWNED).changes if not change.empty]
    world.converge()
    for item in world.objects:
        ipam = world.machine.drivers(None, Allocations(world.store)).ipam
        for claim in ipam.claims(item.metadata.uid).values():
            assert not claim.had
            assert not claim.awaits
        if item.kind is Kind.NETWORK:
            assert not ipam.subnet_claim(item.metadata.uid, ()).had


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES)
def test_in_one_apply_and_any_order(tmp_path: Path, name: str, seed: int) -> None:
    before, after = CASES[name]
    world = shuffled(tmp_path, seed)
    world.apply(before, FILES, OWNED)
    world.converge()
    began, pids = (
        world.now,
        {item.ref: world.task(item.metadata.name) for item in world.objects if item.kind is Kind.CONTAINER},
    )
    plan = world.plan(after, FILES, OWNED)
    world.apply(after, FILES, OWNED)
    world.converge()
    check_at_rest(world, after)
    assert (world.now - began).total_seconds() < 0.5, "who frees wakes who waits"
    if "anew" not in name and "stop" not in name:
        assert all(change.kind <= ChangeKind.HOT for change in plan.changes if change.verb is Verb.UPDATE), plan.changes
        for ref, task in pids.items():
            now = world.task(ref.name)
            if now is not None:
                assert task is not None
                assert (now.id, now.pid, now.start_time, now.attempt) == (
                    task.id,
                    task.pid,
                    task.start_time,
                    task.attempt,
                )
    failed = [message for _, reason, message in world.told.events if reason == "Failed"]
    assert not [message for message in failed if "the host's port" not in message]
    world.delete_all()
    assert world.left() == {}


@pytest.mark.parametrize("name", CASES)
def test_the_resync_alone_brings_it_about(tmp_path: Path, name: str) -> None:
    before, after = CASES[name]
    world = WatchedWorld(tmp_path, HostKey(tmp_path), make_queue=DeafQueue)
    for text in (before, after):
        world.apply(text, FILES, OWNED)
        resynced(world)
    world.check()
    assert not [change for change in world.plan(after, FILES, OWNED).changes if not change.empty]


NETWORK_WRITES = WRITES | {"attach", "detach", "apply", "forget", "publish", "set"}


KILLED = (
    "two exchange addresses and ports",
    "a ring of three",
    "an exchange with one who is made anew",
    "two networks exchange subnets",
    "networks exchange subnets under one that is stopped",
    "a chain of subnets",
)


@pytest.mark.parametrize("after_it", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", KILLED)
def test_killed_at_any_write_it_comes_to_the_same(
    tmp_path: Path, name: str, after_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.convergence.mortal.WRITES", NETWORK_WRITES)
    before, after = CASES[name]
    for left in range(200):
        world = WatchedWorld(tmp_path / str(left), HostKey(tmp_path))
        world.apply(before, FILES, OWNED)
        world.converge()
        world.apply(after, FILES, OWNED)
        world.end()
        death = Death(left, after_it)
        try:
            world.begin(death.drivers, MortalStore(world.store, death))
            world.converge()
        except Killed:
            world.begin()
            world.converge()
            check_at_rest(world, after)
        else:
            assert left > 3
            return
    raise AssertionError("200 steps are not enough")
