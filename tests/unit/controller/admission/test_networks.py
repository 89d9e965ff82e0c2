"""Networks, addresses and ports that do not fit together are told before anything is changed, each at its place."""

import time
from ipaddress import ip_network
from typing import Any

import pytest

from controller.admission.host import Host, HostAddresses, Neighbours, TakenPort
from controller.admission.networks import network_problems
from controller.interface import Submission
from controller.store.snapshot import Snapshot
from resources.container_parts import Port
from resources.object import Object
from tests.unit.controller.making import NOW, made, snapshot, submission

NET = {"driver": "bridge"}
SUBNETS = {"subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]}


def container(name: str, *ports: dict[str, Any], networks: list[dict[str, Any]] | None = None) -> Submission:
    return submission(f"container/{name}", spec(*ports, networks=networks), file=f"{name}.yaml")


def spec(*ports: dict[str, Any], networks: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"image": "nginx", "ports": list(ports), "networks": networks or [{"name": "bridge"}]}


def problems(
    *submissions: Submission, before: Snapshot | None = None, taken: dict[int, TakenPort] | None = None, **host: Any
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

    found = network_problems(located, before, before.replaced(items), Host(held, **host))
    return [str(problem) for problem in found]


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
    assert "spec.ports[0]: the host's port 80/tcp belongs to container/a already (a.yaml:" in problem


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
    assert problem.endswith("the host's port 80/tcp belongs to container/old already")
    assert problems(submission("network/other", NET), before=before) == []


def test_a_port_that_another_was_given_without_asking_is_told_with_what_helps() -> None:
    old = made("container/old", spec({"container": 80}, {"container": 81, "host": 8081}))
    before = snapshot(old)

    def published(item: Object) -> tuple[int, ...]:
        return (49200, 8081) if item.metadata.uid == old.metadata.uid and len(item.effective.ports) == 2 else ()

    new = container("new", {"container": 80, "host": 49200})
    (problem,) = problems(new, before=before, published=published)
    assert problem.endswith(
        "the host's port 49200/tcp belongs to container/old already, which has it without asking for it: take another"
    )
    itself = container("old", {"container": 80}, {"container": 81, "host": 49200})
    for submissions in (
        [new, container("old", {"container": 81, "host": 8081})],
        [container("new", {"container": 80, "host": 49200, "protocol": "udp"})],
        [itself],
    ):
        assert problems(*submissions, before=before, published=published) == []


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
        ("10.1.0.0", "10.1.0.0 is the address of the subnet 10.1.0.0/24 itself"),
        ("10.1.0.255", "10.1.0.255 is the broadcast address of 10.1.0.0/24"),
    ],
)
def test_a_fixed_address_lies_in_a_subnet_of_its_network(address: str, flaw: str) -> None:
    web = container("web", networks=[{"name": "net", "ipv4": address}])
    found = problems(submission("network/net", SUBNETS), web)
    assert [one.partition("spec.networks[0].ipv4: ")[2] for one in found] == ([flaw] if flaw else [])


def test_a_new_subnet_is_not_what_the_host_is_attached_to() -> None:
    near = [Neighbours(ip_network("10.1.0.0/16"), "eth0")]
    (problem,) = problems(submission("network/net", SUBNETS), neighbours=lambda: near)
    assert problem.endswith("overlaps 10.1.0.0/16, which this host reaches over eth0: give the network another subnet")
    assert (
        problems(submission("network/net", SUBNETS), neighbours=lambda: [Neighbours(ip_network("10.2.0.0/16"), "e")])
        == []
    )
    before = snapshot(made("network/net", SUBNETS))
    assert problems(submission("network/net", SUBNETS), before=before, neighbours=lambda: near) == []


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
    assert "spec.subnets[0]: overlaps 10.1.0.0/24 of network/one of namespace default (one.yaml:" in problem
    apart = submission("network/two", {"subnets": [{"subnet": "10.1.1.0/24"}]})
    assert problems(one, apart) == []


class Given:
    """A network that is there and got 10.1.0.0/22 without asking for it."""

    def __init__(self) -> None:
        self.front = made("network/front", NET)
        self.before = snapshot(self.front)
        self.edge = submission("network/edge", SUBNETS, file="edge.yaml")

    def problems(self, *submissions: Submission, before: Snapshot | None = None) -> list[str]:
        def given(uid: str) -> tuple[str, ...]:
            return ("10.1.0.0/22",) if uid == self.front.metadata.uid else ()

        return problems(*submissions, before=before or self.before, given=given)


def test_a_subnet_that_another_network_got_without_asking_is_told_with_what_helps() -> None:
    there, front = Given(), submission("network/front", NET)
    for submissions in ([there.edge], [there.edge, front], [front, there.edge]):
        (problem,) = there.problems(*submissions)
        assert problem == (
            "edge.yaml:16:1: spec.subnets[0]: overlaps 10.1.0.0/22 of network/front, which has it without asking for one: "
            "give this network another subnet, or say another one as that of network/front"
        )
    apart = submission("network/edge", {"subnets": [{"subnet": "10.1.4.0/22"}]})
    assert there.problems(apart, front) == there.problems(front) == []


def test_who_leaves_a_subnet_it_was_given_in_the_same_apply_is_no_obstacle() -> None:
    there = Given()
    moved = submission("network/front", {"subnets": [{"subnet": "10.1.8.0/24"}]})
    itself = submission("network/front", SUBNETS)
    assert there.problems(there.edge, moved) == there.problems(itself) == []
    meta = there.front.metadata.model_copy(update={"deletion_timestamp": NOW})
    going = there.front.model_copy(update={"metadata": meta})
    assert there.problems(there.edge, before=there.before.replaced([going])) == []


def test_what_is_of_another_namespace_is_told_with_it() -> None:
    there, held = Given(), {"container": 80, "host": 80}
    edge = submission("network/edge", SUBNETS, namespace="shop")
    (problem,) = there.problems(edge)
    assert "overlaps 10.1.0.0/22 of network/front of namespace default, which has it" in problem
    assert problem.endswith("or say another one as that of network/front of namespace default")
    web = submission("container/web", spec(held), namespace="shop")
    (problem,) = problems(web, before=snapshot(made("container/web", spec(held))))
    assert problem.endswith("the host's port 80/tcp belongs to container/web of namespace default already")


@pytest.mark.parametrize(
    ("subnet", "family", "address", "flaw"),
    [
        ("10.1.0.0/24", "ipv4", "10.1.0.1", "10.1.0.1 is the gateway of network/net, which says no other one"),
        ("10.1.0.0/31", "ipv4", "10.1.0.0", "10.1.0.0 is the gateway of network/net, which says no other one"),
        ("10.1.0.0/31", "ipv4", "10.1.0.1", ""),
        ("fd00::/64", "ipv6", "fd00::1", "fd00::1 is the gateway of network/net, which says no other one"),
        ("fd00::/64", "ipv6", "fd00::", "fd00:: is the address of the subnet fd00::/64 itself"),
        ("fd00::/64", "ipv6", "fd00::ffff:ffff:ffff:ffff", ""),
        ("10.1.0.0/24", "ipv6", "fd00::5", "fd00::5 is in no subnet of network/net: 10.1.0.0/24"),
        ("fd00::/64", "ipv4", "10.1.0.5", "10.1.0.5 is in no subnet of network/net: fd00::/64"),
    ],
)
def test_the_gateway_nobody_says_is_the_first_address(subnet: str, family: str, address: str, flaw: str) -> None:
    web = container("web", networks=[{"name": "net", family: address}])
    found = problems(submission("network/net", {"subnets": [{"subnet": subnet}]}), web)
    assert [one.partition(f"spec.networks[0].{family}: ")[2] for one in found] == ([flaw] if flaw else [])


class Held:
    """A network that is there, and a container on it that got 10.1.0.5 without asking."""

    def __init__(self) -> None:
        self.net = made("network/net", SUBNETS)
        self.old = made("container/old", spec(networks=[{"name": "net"}]))
        self.before = snapshot(self.net, self.old)
        self.web = container("web", networks=[{"name": "net", "ipv4": "10.1.0.5"}])

    def held(self, uid: str) -> dict[str, tuple[str, ...]]:
        return {self.net.metadata.uid: ("10.1.0.5",)} if uid == self.old.metadata.uid else {}

    def problems(self, *submissions: Submission, before: Snapshot | None = None) -> list[str]:
        return problems(*submissions, before=before or self.before, held=self.held)


def test_a_fixed_address_that_another_got_without_asking_is_told_with_what_helps() -> None:
    there = Held()
    (problem,) = there.problems(there.web)
    assert problem.endswith(
        "spec.networks[0].ipv4: 10.1.0.5 is container/old's, which has it without asking for one: take another, or make "
        "it one of network/net's `reserved` addresses, and container/old gets another"
    )


def test_who_gives_an_address_back_in_the_same_apply_is_no_obstacle() -> None:
    there = Held()
    elsewhere = container("old", networks=[{"name": "bridge"}])
    other = container("old", networks=[{"name": "net", "ipv4": "10.1.0.6"}])
    itself = container("old", networks=[{"name": "net", "ipv4": "10.1.0.5"}])
    reserved = submission("network/net", {"subnets": [{**SUBNETS["subnets"][0], "reserved": ["10.1.0.5"]}]})
    for moved in (elsewhere, other, reserved):
        assert there.problems(there.web, moved) == []
    assert there.problems(itself) == []
    (problem,) = there.problems(there.web, itself)
    assert "10.1.0.5 is container/web's (web.yaml:" in problem
    going = there.old.model_copy(update={"metadata": there.old.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert there.problems(there.web, before=there.before.replaced([going])) == []


def test_a_network_has_room_for_all_that_are_on_it() -> None:
    small = submission("network/net", {"subnets": [{"subnet": "10.1.0.0/29", "reserved": ["10.1.0.6"]}]})
    fixed = container("f", networks=[{"name": "net", "ipv4": "10.1.0.6"}])  # which is not among the four
    many = [container(f"c{number}", networks=[{"name": "net"}]) for number in range(5)]
    assert problems(small, fixed, *many[:4]) == []
    (problem,) = problems(small, fixed, *many)
    assert problem.startswith("c4.yaml:")
    assert "spec.networks[0]: network/net has no address left in 10.1.0.0/29: give it a larger subnet" in problem
    other = container("g", networks=[{"name": "net", "ipv4": "10.1.0.2"}])
    (problem,) = problems(small, *many[:4], other)
    assert problem.startswith("c3.yaml:")
    wide = submission("network/net", {"subnets": [{"subnet": "fd00::/64"}]})
    assert problems(wide, *many) == []


def test_a_declared_network_of_the_hosts_is_joined_by_the_hosts_name() -> None:
    declared = submission("network/mine", {"driver": "host"})
    (problem,) = problems(declared, container("web", networks=[{"name": "mine"}]))
    assert problem.endswith("network/mine is of the driver host, which is had by that name alone: say [host]")
    (problem,) = problems(submission("network/none", NET))
    assert "metadata.name: containers that say none are on no network of this driver" in problem
    assert problems(submission("network/none", {"driver": "none"})) == []


ADDRESSES = HostAddresses(["127.0.0.1", "192.0.2.1", "203.0.113.7", "::1", "fe80::1", "2001:db8::1"])


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("192.0.2.1", True), ("2001:db8::1", True), ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True),
        ("0.0.0.0", True), ("::", True), ("::ffff:192.0.2.1", True), ("10.1.0.1", True),
        ("192.0.2.2", False), ("2001:db8::2", False), ("255.255.255.255", False), ("224.0.0.1", False),
    ],
)  # fmt: skip
def test_a_port_is_at_an_address_of_the_host(address: str, fine: bool) -> None:
    net = submission("network/net", SUBNETS)
    web = container("web", {"container": 80, "address": address}, networks=[{"name": "net"}])
    found = problems(net, web, addresses=lambda: ADDRESSES)
    said = f"spec.ports[0].address: cannot assign requested address: {address} is none of this host's, which are "
    assert [one.partition(": ")[2] for one in found] == (
        [] if fine else [f"{said}192.0.2.1, 203.0.113.7, 2001:db8::1, 127.0.0.1 and ::1"]
    )
    assert problems(net, web) == []


def test_a_port_that_is_published_stays_where_its_address_has_gone() -> None:
    port = {"container": 80, "host": 80, "address": "192.0.2.9"}
    before = snapshot(made("container/web", spec(port)))
    assert problems(container("web", port), before=before, addresses=lambda: ADDRESSES) == []
    assert (
        len(
            problems(
                container("web", port, {"container": 81, "host": 81, "address": "192.0.2.9"}),
                before=before,
                addresses=lambda: ADDRESSES,
            )
        )
        == 1
    )


def test_who_may_bind_what_is_not_there_may_here_too() -> None:
    floating = HostAddresses(["192.0.2.1"], frozenset({4}))
    one, other = ({"container": 80, "address": address} for address in ("192.0.2.9", "2001:db8::9"))
    assert problems(container("web", one), addresses=lambda: floating) == []
    assert len(problems(container("web", other), addresses=lambda: floating)) == 1


def test_the_addresses_of_the_host_are_looked_up_only_when_asked_for_and_not_all_are_told() -> None:
    def looked() -> HostAddresses:
        raise AssertionError("nobody asked")

    assert (
        problems(container("web", {"container": 80}, {"container": 1, "address": "127.0.0.1"}), addresses=looked) == []
    )
    many = HostAddresses([f"192.0.2.{number}" for number in range(100)])
    (problem,) = problems(container("web", {"container": 80, "address": "192.0.3.1"}), addresses=lambda: many)
    assert problem.endswith("192.0.2.6, 192.0.2.7, …, 127.0.0.1 and ::1")


def test_a_port_of_ipv4_needs_a_network_of_ipv4() -> None:
    six, both = (
        {"subnets": [{"subnet": one} for one in found]} for found in (["fd00::/64"], ["10.2.0.0/24", "fd01::/64"])
    )
    inner = submission("network/inner", {"internal": True})
    ports = ({"container": 80}, {"container": 81, "address": "127.0.0.1"}, {"container": 82, "address": "::1"})
    web = container("web", *ports, networks=[{"name": "net"}, {"name": "inner"}])
    (problem,) = problems(submission("network/net", six), inner, web)
    assert problem.endswith(
        "spec.ports[1].address: 127.0.0.1 is of IPv4, and the container's networks have IPv6 alone: say one of IPv6"
    )
    for spec_ in (both, NET):
        assert problems(submission("network/net", spec_), inner, web) == []


def test_many_networks_are_compared_quickly() -> None:
    same = [submission(f"network/n{number}", {"subnets": [{"subnet": "10.1.0.0/24"}]}) for number in range(300)]
    apart = [
        submission(f"network/a{number}", {"subnets": [{"subnet": f"10.{2 + number // 256}.{number % 256}.0/24"}]})
        for number in range(700)
    ]
    begun = time.process_time()
    found = problems(*same, *apart)
    assert time.process_time() - begun < 2
    assert len(found) == 299
    assert all("overlaps 10.1.0.0/24 of network/n0 (m.yaml:" in one for one in found)
