"""Networks, addresses and ports that do not fit together are told before anything is changed, each at its place."""

from typing import Any

import pytest

from controller.interface import Submission
from controller.network_rules import TakenPort, network_problems
from controller.store.snapshot import Snapshot
from resources.container_parts import Port
from tests.unit.controller.making import made, snapshot, submission

NET = {"driver": "bridge"}
SUBNETS = {"subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]}


def container(name: str, *ports: dict[str, Any], networks: list[dict[str, Any]] | None = None) -> Submission:
    return submission(f"container/{name}", spec(*ports, networks=networks), file=f"{name}.yaml")


def spec(*ports: dict[str, Any], networks: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"image": "nginx", "ports": list(ports), "networks": networks or [{"name": "bridge"}]}


def problems(
    *submissions: Submission, before: Snapshot | None = None, taken: dict[int, TakenPort] | None = None
) -> list[str]:
    before = before or snapshot()
    located = {one.located.manifest.ref: one.located for one in submissions}
    items = []
    for one in submissions:
        manifest = one.located.manifest
        item = made(str(manifest.ref), manifest.spec.written(), namespace=manifest.metadata.namespace)
        old = before.find(manifest.ref)
        items.append(item.model_copy(update={"metadata": old.metadata}) if old else item)
    listening = taken or {}

    def held(port: Port) -> TakenPort | None:
        return listening.get(port.host or 0)

    return [str(problem) for problem in network_problems(located, before, before.replaced(items), held)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"host": 80}, {"host": 80}),
        ({"host": 80, "address": "127.0.0.1"}, {"host": 80}),
        ({"host": 80}, {"host": 80, "address": "::1"}),
        ({"host": 80, "address": "0.0.0.0"}, {"host": 80, "address": "10.0.0.1"}),
        ({"host": 80, "address": "10.0.0.1"}, {"host": 80, "address": "10.0.0.1"}),
    ],
)
def test_one_port_of_the_host_is_one_containers(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = container("a", {"container": 80, **one}), container("b", {"container": 80, **other})
    (problem,) = problems(first, second)
    assert problem.startswith("b.yaml:")
    assert "spec.ports[0]: the host's port 80/tcp is container/a's already (a.yaml:" in problem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"host": 80}, {"host": 81}),
        ({"host": 80}, {"host": 80, "protocol": "udp"}),
        ({"host": 80, "address": "127.0.0.1"}, {"host": 80, "address": "127.0.0.2"}),
        ({"host": 80, "address": "0.0.0.0"}, {"host": 80, "address": "::1"}),
        ({}, {}),
    ],
)
def test_ports_that_are_apart_are_no_problem(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert problems(container("a", {"container": 80, **one}), container("b", {"container": 80, **other})) == []


def test_a_port_of_one_that_is_there_already_is_told_too() -> None:
    before = snapshot(made("container/old", spec({"container": 80, "host": 80})))
    (problem,) = problems(container("new", {"container": 80, "host": 80}), before=before)
    assert problem.endswith("the host's port 80/tcp is container/old's already")
    assert problems(submission("network/other", NET), before=before) == []


def test_a_port_that_moves_from_one_to_another_in_one_apply_is_no_conflict() -> None:
    before = snapshot(made("container/a", spec({"container": 80, "host": 80})), made("container/b", spec()))
    assert problems(container("a"), container("b", {"container": 80, "host": 80}), before=before) == []


def test_a_port_somebody_listens_on_is_told_with_who_unless_it_is_published_already() -> None:
    listening = {80: TakenPort("tcp", "0.0.0.0", 80, "nginx (pid 812)")}
    (problem,) = problems(container("web", {"container": 80, "host": 80}), taken=listening)
    assert problem.endswith("the host's port 80/tcp is in use: nginx (pid 812) listens on it at 0.0.0.0")
    before = snapshot(made("container/web", spec({"container": 80, "host": 80})))
    assert problems(container("web", {"container": 80, "host": 80}), before=before, taken=listening) == []


def test_ports_need_a_network_that_is_reached_from_outside() -> None:
    inner = submission("network/inner", {"internal": True})
    on_inner = container("web", {"container": 80}, networks=[{"name": "inner"}])
    (problem,) = problems(inner, on_inner)
    assert problem.endswith("spec.ports: all its networks are internal: nothing on them is reached from outside")
    both = container("web", {"container": 80}, networks=[{"name": "inner"}, {"name": "outer"}])
    assert problems(inner, submission("network/outer", NET), both) == []


@pytest.mark.parametrize(
    ("address", "flaw"),
    [
        ("10.1.0.7", ""),
        ("10.2.0.7", "10.2.0.7 is in no subnet of network/net: 10.1.0.0/24"),
        ("10.1.0.1", "10.1.0.1 is the gateway of network/net"),
    ],
)
def test_a_fixed_address_lies_in_a_subnet_of_its_network(address: str, flaw: str) -> None:
    web = container("web", networks=[{"name": "net", "ipv4": address}])
    found = problems(submission("network/net", SUBNETS), web)
    assert [one.partition("spec.networks[0].ipv4: ")[2] for one in found] == ([flaw] if flaw else [])


def test_a_fixed_address_needs_subnets_that_are_written() -> None:
    web = container("web", networks=[{"name": "net", "ipv4": "10.1.0.7"}])
    (problem,) = problems(submission("network/net", NET), web)
    assert "network/net gets a subnet of the engine's choice" in problem


def test_a_fixed_address_is_one_containers() -> None:
    network = submission("network/net", SUBNETS)
    first, second = (container(name, networks=[{"name": "net", "ipv4": "10.1.0.7"}]) for name in ("a", "b"))
    (problem,) = problems(network, first, second)
    assert problem.startswith("b.yaml:")
    assert "10.1.0.7 is container/a's (a.yaml:" in problem


@pytest.mark.parametrize("other", ["10.1.0.0/16", "10.1.0.128/25", "10.1.0.0/24"])
def test_networks_do_not_overlap_whatever_their_namespaces(other: str) -> None:
    one = submission("network/one", SUBNETS, file="one.yaml")
    two = submission("network/two", {"subnets": [{"subnet": other}]}, file="two.yaml", namespace="apart")
    (problem,) = problems(one, two)
    assert "spec.subnets[0]: overlaps 10.1.0.0/24 of network/one (one.yaml:" in problem or "of network/two" in problem
    apart = submission("network/two", {"subnets": [{"subnet": "10.1.1.0/24"}]})
    assert problems(one, apart) == []
