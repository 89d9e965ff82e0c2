"""Mending, changing and dying on the way, while connections live on; and what others made is left to them."""

import errno
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.network.bridge.driver import BridgeNetworks
from drivers.network.bridge.link_names import network_alias
from drivers.network.interface import EndpointState, Fault, Pool
from drivers.network.netlink.messages import Answer, Netlink
from resources.errors import Conflict
from tests.machines import Machine, Machines
from tests.networks import BACK, FRONT, NETWORK, ONE, OTHER, TWO, BridgeRig, attached, endpoint, ip, link, wait_for

pytestmark = pytest.mark.host

ACCIDENTS = [
    "link.up",
    "link.bridge",
    "interface.name",
    "interface.up",
    "addresses",
    "routes",
    "mtu",
    "network",
    "bridge.up",
    "bridge.addresses",
]


@pytest.mark.parametrize("what", ACCIDENTS)
@pytest.mark.parametrize("address", ["10.42.0.5", "fd00:42::5"])
def test_connections_live_while_something_is_mended(
    rig: BridgeRig, machines: Machines, web: Machine, client: Machine, what: str, address: str
) -> None:
    web.serve(80)
    config = endpoint(FRONT, ONE, 5, web.path)
    other = replace(endpoint(BACK, ONE, 5, web.path), interface="eth1", gateways=())
    rig.networks.apply(BACK)
    rig.networks.attach(other)
    host_link = machines.host.connect("10.43.0.5", 80)
    with host_link, client.connect(address, 80) as connection:
        assert connection.ask()
        # Others have put more there, which is none of our business.
        web("ip", "address", "add", "10.42.0.77/24", "dev", "eth0")
        web("ip", "address", "add", "fd00:42::77/64", "dev", "eth0", "nodad")
        web("ip", "route", "add", "198.51.100.0/24", "via", "10.43.0.1", "dev", "eth1")
        if what == "network":
            rig.lose_network(NETWORK)
        elif what.startswith("bridge."):
            rig.spoil_network(NETWORK, what)
        else:
            rig.spoil_endpoint(config, what)
        rig.networks.apply(FRONT)
        for one in (config, endpoint(FRONT, TWO, 6, client.path)):
            rig.networks.attach(one)
        assert rig.networks.endpoint(config) == EndpointState("eth0")
        assert connection.ask(timeout=3)
        assert host_link.ask()
    assert "10.42.0.77/24" in web("ip", "address") or what == "addresses"
    assert "198.51.100.0/24" in web("ip", "route")


@pytest.mark.parametrize(
    "change",
    [
        {"addresses": ("10.42.0.9/24", "fd00:42::9/64")},
        {"addresses": ("10.42.0.5/24",), "gateways": ("10.42.0.1",)},
        {"gateways": ()},
        {"mac": "02:00:00:00:00:99"},
        {"mtu": 1400},
    ],
)
def test_connections_on_other_networks_live_through_a_change(
    rig: BridgeRig, machines: Machines, web: Machine, change: Mapping[str, Any]
) -> None:
    web.serve(80)
    rig.networks.apply(BACK)
    other = replace(endpoint(BACK, ONE, 5, web.path), interface="eth1", gateways=())
    rig.networks.attach(other)
    with machines.host.connect("10.43.0.5", 80) as connection:
        assert connection.ask()
        before = link(web, "eth0")["ifindex"]
        after = replace(endpoint(FRONT, ONE, 5, web.path), **change)
        rig.networks.attach(after)
        assert rig.networks.endpoint(after) == EndpointState("eth0")
        assert rig.networks.endpoint(other) == EndpointState("eth1")
        assert connection.ask()
        assert link(web, "eth0")["ifindex"] == before
    found = {one["local"] for one in link(web, "eth0")["addr_info"] if one["scope"] == "global"}
    assert found == {address.partition("/")[0] for address in after.addresses}


def test_a_connection_lives_while_the_default_route_moves(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    web.serve(80)
    rig.networks.apply(BACK)
    back = replace(endpoint(BACK, ONE, 5, web.path), interface="eth1")
    front = replace(endpoint(FRONT, ONE, 5, web.path), gateways=("fd00:42::1",))
    with machines.host.connect("10.42.0.5", 80) as connection:
        assert connection.ask()
        for one in (back, front):
            rig.networks.attach(one)
        assert connection.ask()
    assert [route["dev"] for route in ip(web, "-4", "route", "show", "default")] == ["eth1"]
    assert [route["dev"] for route in ip(web, "-6", "route", "show", "default")] == ["eth0"]


def test_a_default_route_of_somebody_else_stays_behind_ours(rig: BridgeRig, web: Machine) -> None:
    config = endpoint(FRONT, ONE, 5, web.path)
    web("ip", "route", "replace", "default", "via", "10.42.0.7", "dev", "eth0")
    state = rig.networks.endpoint(config)
    assert state
    (fault,) = state.faults
    assert (fault.field, fault.expected, fault.actual) == ("routes", ["10.42.0.1", "fd00:42::1"], ["fd00:42::1"])
    rig.networks.attach(config)
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    assert [route["gateway"] for route in ip(web, "-4", "route", "show", "default")] == ["10.42.0.1", "10.42.0.7"]


def test_an_interface_that_was_moved_away_is_made_again(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    elsewhere = machines.add("elsewhere", wired=False)
    web("ip", "link", "set", "eth0", "netns", str(elsewhere.path))
    config = endpoint(FRONT, ONE, 5, web.path)
    assert rig.networks.endpoint(config) is None
    rig.networks.attach(config)
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    assert "eth0" not in elsewhere("ip", "link")


@pytest.mark.parametrize("alias", ["somebody:network:else", "lan of the office"])
def test_links_of_others_are_not_touched(rig: BridgeRig, machines: Machines, web: Machine, alias: str) -> None:
    host = machines.host
    config = endpoint(FRONT, ONE, 5, web.path)
    rig.networks.detach(ONE, NETWORK)
    rig.networks.delete(NETWORK)
    for name in (rig.bridge(NETWORK), rig.port(config)):
        host("ip", "link", "add", name, "type", "bridge")
        host("ip", "link", "set", name, "alias", alias)
    with pytest.raises(Conflict, match=rig.bridge(NETWORK)):
        rig.networks.apply(FRONT)
    host("ip", "link", "delete", rig.bridge(NETWORK))
    rig.networks.apply(FRONT)
    with pytest.raises(Conflict, match=rig.port(config)):
        rig.networks.attach(config)
    assert rig.networks.endpoint(config) is None
    rig.networks.detach(ONE, NETWORK)
    assert link(host, rig.port(config))["ifalias"] == alias
    host("ip", "link", "set", rig.bridge(NETWORK), "alias", alias)
    assert [fault.field for fault in rig.networks.inspect(NETWORK).faults] == ["bridge"]
    rig.networks.delete(NETWORK)
    assert link(host, rig.bridge(NETWORK))["ifalias"] == alias


def test_a_sandbox_does_not_say_itself_what_it_is_attached_to(
    rig: BridgeRig, machines: Machines, short_path: Path, instance: str
) -> None:
    rig.networks.apply(FRONT)
    made = rig.sandboxes.create(ONE)
    assert made.netns
    rig.networks.attach(endpoint(FRONT, ONE, 5, made.netns))
    lies = f"{instance}:endpoint:{ONE}:{OTHER}"
    for words in (
        ("link", "add", "liar", "type", "veth", "peer", "name", "twin"),
        ("link", "set", "liar", "alias", lies),
        ("link", "set", "twin", "alias", lies),
        ("link", "set", "eth0", "alias", lies),
    ):
        rig.inside(endpoint(FRONT, ONE, 5, made.netns), "ip", *words)
    assert rig.networks.attached(ONE) == {NETWORK: "eth0"}
    rig.sandboxes.delete(ONE)


def test_a_sandbox_full_of_rubbish_is_looked_through_in_part(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    web("ip", "link", "set", "eth0", "name", "\x1b[2J")
    lines = (f"address add 10.66.{at // 256}.{at % 256}/32 dev \x1b[2J\n" for at in range(9000))
    web("ip", "-batch", "-", stdin="".join(lines))
    start = time.perf_counter()
    state = rig.networks.endpoint(endpoint(FRONT, ONE, 5, web.path))
    rig.networks.attach(endpoint(FRONT, ONE, 5, web.path))
    assert time.perf_counter() - start < 1
    assert state
    assert state.interface == "\\x1b[2J"
    assert {fault.field for fault in state.faults} <= {
        "interface.name",
        "addresses",
    }  # one that is not found among so many is missing


def test_a_link_that_can_only_be_renamed_while_it_is_down(
    rig: BridgeRig, web: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Linux 6.1."""
    config, exchange, refused = endpoint(FRONT, ONE, 5, web.path), Netlink.ask, []

    def ask(self: Netlink, *requests: Any) -> list[Answer]:
        renames = [one for one in requests if b"eth0\0" in one.body and len(one.body) < 32]
        if renames and len(requests) == 1:
            refused.append(renames[0])
            return [Answer(error=errno.EBUSY)]
        return exchange(self, *requests)

    web("ip", "link", "set", "eth0", "name", "foo")
    monkeypatch.setattr(Netlink, "ask", ask)
    rig.networks.attach(config)
    assert refused
    assert rig.networks.endpoint(config) == EndpointState("eth0")


def test_the_record_is_private_and_may_be_lost(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    record = rig.run_root / "networks" / f"{NETWORK}.json"
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700
    for spoil in (
        record.unlink,
        lambda: record.write_bytes(b'{"config": {"id": "x"}}'),
        lambda: record.write_bytes(b""),
    ):
        spoil()
        assert rig.networks.inspect(NETWORK).applied is None
        assert list(rig.networks.list()) == [NETWORK]
        rig.networks.apply(FRONT)
        assert rig.networks.inspect(NETWORK).applied == FRONT
        assert rig.networks.endpoint(endpoint(FRONT, ONE, 5, web.path)) == EndpointState("eth0")
    record.unlink()
    rig.networks.delete(NETWORK)
    assert rig.bridge(NETWORK) not in machines.host("ip", "link")


def test_names_and_aliases_are_made_from_ids(rig: BridgeRig, machines: Machines, web: Machine, instance: str) -> None:
    config = endpoint(FRONT, ONE, 5, web.path)
    for name in (rig.bridge(NETWORK), rig.port(config)):
        assert len(name) == 15
    assert link(machines.host, rig.bridge(NETWORK))["ifalias"] == network_alias(instance, NETWORK)
    assert link(machines.host, rig.port(config))["ifalias"] == f"{instance}:endpoint:{ONE}:{NETWORK}"


class Killed(BaseException):
    """The process ends here."""


def killed_at(step: int, patch: pytest.MonkeyPatch, work: Callable[[], None]) -> bool:
    """Do it until just before the `step`th exchange with the kernel; tell whether it came to that."""
    exchange, done = Netlink._exchange, iter(range(1 << 20))

    def mortal(self: Netlink, *arguments: Any) -> list[Answer]:
        if next(done) == step:
            raise Killed
        return exchange(self, *arguments)

    with patch.context() as patched:
        patched.setattr(Netlink, "_exchange", mortal)
        try:
            work()
        except Killed:
            return True
    return False


def test_killed_between_any_two_messages_it_converges(
    rig: BridgeRig, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = machines.add("web", wired=False)
    first = endpoint(FRONT, ONE, 5, web.path)
    second = replace(first, addresses=("10.42.0.9/24", "fd00:42::9/64"), mac="02:00:00:00:00:99", mtu=1400)
    moved = replace(FRONT, pools=(replace(FRONT.pools[0], gateway="10.42.0.254"), FRONT.pools[1]), isolated=True)
    works: list[tuple[Callable[[], None], Callable[[], None], Callable[[], bool]]] = [
        (
            lambda: rig.networks.apply(FRONT),
            lambda: rig.networks.delete(NETWORK),
            lambda: rig.networks.inspect(NETWORK).faults == () and rig.networks.inspect(NETWORK).applied == FRONT,
        ),
        (
            lambda: rig.networks.apply(moved),
            lambda: rig.networks.apply(FRONT),
            lambda: rig.networks.inspect(NETWORK).faults == () and rig.networks.inspect(NETWORK).applied == moved,
        ),
        (
            lambda: rig.networks.attach(first),
            lambda: rig.networks.detach(ONE, NETWORK),
            lambda: rig.networks.endpoint(first) == EndpointState("eth0"),
        ),
        (
            lambda: rig.networks.attach(second),
            lambda: rig.networks.attach(first),
            lambda: rig.networks.endpoint(second) == EndpointState("eth0"),
        ),
        (
            lambda: rig.networks.detach(ONE, NETWORK),
            lambda: rig.networks.attach(second),
            lambda: rig.networks.endpoint(first) is None,
        ),
        (
            lambda: rig.networks.delete(NETWORK),
            lambda: rig.networks.apply(FRONT),
            lambda: list(rig.networks.list()) == [] and rig.bridge(NETWORK) not in machines.host("ip", "link"),
        ),
    ]
    steps: list[int] = []
    for work, before, converged in works:
        step = 0
        while killed_at(step, monkeypatch, work):
            work()
            assert converged(), (len(steps), step)
            before()
            step += 1
        assert converged()
        steps.append(step)
    assert min(steps) >= 2, steps


def test_fifty_endpoints(rig: BridgeRig, machines: Machines) -> None:
    rig.networks.apply(FRONT)
    made = []
    try:
        for number in range(2, 52):
            netns = rig.sandboxes.create(f"{number:064x}").netns
            assert netns
            made.append(endpoint(FRONT, f"{number:064x}", number, netns))
        start = time.perf_counter()
        with ThreadPoolExecutor(4) as workers:
            list(workers.map(rig.networks.attach, made))
        each = (time.perf_counter() - start) / len(made)
        for one in made:
            assert rig.networks.endpoint(one) == EndpointState("eth0")
        assert rig.networks.inspect(NETWORK).faults == ()
        assert len(ip(machines.host, "link", "show", "master", rig.bridge(NETWORK))) == 50
        assert each < 0.02, f"{each * 1000:.1f} ms each"
    finally:
        for one in made:
            rig.sandboxes.delete(one.sandbox_id)


def test_two_engines_share_a_host(
    rig: BridgeRig, machines: Machines, short_path: Path, instance: str, web: Machine
) -> None:
    other = BridgeRig(machines.host, short_path / "other", f"{instance}x")
    second = replace(FRONT, pools=(Pool("10.45.0.0/24", "10.45.0.1"),))
    other.networks.apply(second)
    assert list(other.networks.list()) == list(rig.networks.list()) == [NETWORK]
    box = machines.add("box", wired=False)
    attached(other, box, second, ONE, 5)
    assert wait_for(lambda: box.ping("10.45.0.1"))
    other.networks.detach(ONE, NETWORK)
    other.networks.delete(NETWORK)
    assert rig.networks.inspect(NETWORK).faults == ()
    assert rig.networks.endpoint(endpoint(FRONT, ONE, 5, web.path)) == EndpointState("eth0")


def test_flows_of_an_endpoint_are_forgotten_with_it(rig: BridgeRig, web: Machine) -> None:
    rig.networks.detach(ONE, NETWORK, ("10.42.0.5/24", "fd00:42::5"))
    rig.networks.forget(("10.42.0.9/24",))
    rig.networks.forget(())
    assert rig.firewall.forgotten == ["10.42.0.5", "fd00:42::5", "10.42.0.9"]


def test_the_driver_works_in_the_namespace_of_its_caller(
    rig: BridgeRig, web: Machine, short_path: Path, instance: str
) -> None:
    there = BridgeNetworks(short_path / "r", instance, rig.firewall)
    assert there.inspect(NETWORK).faults[0].field == "bridge"  # this test's own namespace has none


@pytest.mark.parametrize("route", ["10.42.0.0/25", "fd00:42::/96"])
def test_a_route_of_the_hosts_that_takes_the_way_to_it_is_told(
    rig: BridgeRig, machines: Machines, web: Machine, route: str
) -> None:
    config, name = endpoint(FRONT, ONE, 5, web.path), rig.bridge(NETWORK)
    machines.host("ip", "link", "add", "hx", "type", "bridge")
    machines.host("ip", "link", "set", "hx", "up")
    for harmless in ("10.0.0.0/8", "10.42.0.128/25", "fd00::/32"):
        machines.host("ip", "route", "add", harmless, "dev", "hx")
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    machines.host("ip", "route", "add", route, "dev", "hx")
    told = EndpointState("eth0", (Fault("way", name, "hx"),))
    assert rig.networks.endpoint(config) == told
    rig.networks.attach(config)
    assert rig.networks.endpoint(config) == told, "that is not mended by attaching again"
    machines.host("ip", "route", "del", route, "dev", "hx")
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    machines.host("ip", "addr", "flush", "dev", name)
    assert rig.networks.endpoint(config) == EndpointState("eth0"), "the network is at fault"
