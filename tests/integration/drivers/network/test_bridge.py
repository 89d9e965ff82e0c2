"""Bridges and endpoints as the kernel runs them: who reaches whom, and what they are made of."""

import platform
import re
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.network.bridge.link_names import link_prefix
from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.nft import NftFirewall
from drivers.network.interface import EndpointState
from resources.errors import Unavailable
from tests.machines import Machine, Machines
from tests.networks import BACK, FRONT, NETWORK, ONE, THREE, TWO, BridgeRig, attached, endpoint, ip, link, wait_for

pytestmark = pytest.mark.host

FOUR_ONLY = replace(FRONT, pools=FRONT.pools[:1])
KERNEL = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def test_sandboxes_reach_each_other_and_the_host(
    rig: BridgeRig, machines: Machines, web: Machine, client: Machine
) -> None:
    for address in ("10.42.0.5", "fd00:42::5", "10.42.0.1", "fd00:42::1"):
        assert client.ping(address), address
    for address in ("10.42.0.5", "fd00:42::5"):
        assert machines.host.ping(address), address


@pytest.mark.skipif(KERNEL < (6, 8), reason="the kernel does not wait for links it is asked about")
def test_the_first_packet_of_the_first_endpoint_is_not_lost(rig: BridgeRig, machines: Machines) -> None:
    rig.networks.apply(FRONT)
    for number in range(20):
        box = machines.add("box", wired=False)
        attached(rig, box, FRONT, f"{number:064x}", 5)
        assert box.ping("10.42.0.1"), number
        rig.networks.detach(f"{number:064x}", NETWORK)
        box.close()


def test_packets_go_out_by_the_host(machines: Machines, web: Machine) -> None:
    web.serve(80)
    for family, subnet, via in (("-4", "10.42.0.0/24", machines.host.ipv4), ("-6", "fd00:42::/64", machines.host.ipv6)):
        machines.lan("ip", family, "route", "add", subnet, "via", via)
    assert web.ping(machines.lan.ipv4)
    assert wait_for(lambda: web.ping(machines.lan.ipv6))


def test_isolated_endpoints_reach_the_host_alone(
    rig: BridgeRig, machines: Machines, web: Machine, client: Machine
) -> None:
    rig.networks.apply(replace(FRONT, isolated=True))
    third = machines.add("third", wired=False)
    attached(rig, third, FRONT, THREE, 7)
    for one in (client, third):
        for address in ("10.42.0.5", "fd00:42::5"):
            assert not one.ping(address, timeout=0.2)
        for address in ("10.42.0.1", "fd00:42::1"):
            assert one.ping(address)
    rig.networks.apply(FRONT)
    assert wait_for(lambda: third.ping("10.42.0.5"), seconds=5)
    assert wait_for(lambda: client.ping("fd00:42::5"), seconds=5)


def test_a_network_without_a_way_out_turns_no_forwarding_on(rig: BridgeRig, machines: Machines) -> None:
    rig.networks.apply(replace(FRONT, internal=True))
    assert rig.networks.inspect(NETWORK).faults == ()
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        assert machines.host("cat", f"/proc/sys/net/{name}") == "0\n"


def test_forwarding_comes_after_the_rules_and_only_of_the_families_in_use(
    rig: BridgeRig, machines: Machines, short_path: Path, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machines.host
    host.set("net.ipv6.conf.up0.accept_ra", 1)

    def refuse(rules: NetworkRules) -> None:
        raise Unavailable("the kernel refused the rules")

    with monkeypatch.context() as patch:
        patch.setattr(rig.firewall, "set_network", refuse)
        with pytest.raises(Unavailable):
            rig.networks.apply(FRONT)
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    assert rig.bridge(NETWORK) not in host("ip", "link")
    assert [fault.field for fault in rig.networks.inspect(NETWORK).faults] == ["bridge", "firewall", "forwarding"]

    rig.networks.apply(FOUR_ONLY)
    assert host("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert host("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "0\n"
    assert host("cat", "/proc/sys/net/ipv6/conf/up0/accept_ra") == "1\n"

    rig.networks.apply(FRONT)
    assert host("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "1\n"
    assert host("cat", "/proc/sys/net/ipv6/conf/up0/accept_ra") == "2\n"  # the host keeps its own default route
    assert host("cat", f"/proc/sys/net/ipv6/conf/{rig.bridge(NETWORK)}/accept_ra") == "0\n"


def test_without_ipv6_addresses_there_is_no_ipv6(rig: BridgeRig, machines: Machines) -> None:
    rig.networks.apply(FOUR_ONLY)
    web = machines.add("web", wired=False)
    config = attached(rig, web, FOUR_ONLY, ONE, 5)
    for machine, name in ((machines.host, rig.bridge(NETWORK)), (machines.host, rig.port(config)), (web, "eth0")):
        machine("ip", "link", "set", name, "up")
        assert machine("cat", f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6") == "1\n"
        assert [one["family"] for one in link(machine, name)["addr_info"]] in ([], ["inet"])


def test_ipv6_addresses_are_good_at_once(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    def tentative() -> list[str]:
        found = [*link(web, "eth0")["addr_info"], *link(machines.host, rig.bridge(NETWORK))["addr_info"]]
        return [one["local"] for one in found if one.get("tentative") or one.get("dadfailed")]

    assert not [address for address in tentative() if address.startswith("fd")]
    # What the kernel made itself is checked by it, and a port that sends back what came from it shall not spoil that.
    assert wait_for(lambda: not tentative())


def test_router_advertisements_of_containers_are_heard_by_nobody(
    rig: BridgeRig, machines: Machines, web: Machine, client: Machine
) -> None:
    advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = struct.pack(
        "!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    )
    assert wait_for(lambda: not any(one.get("tentative") for one in link(web, "eth0")["addr_info"]))

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.sendto(advertisement + prefix, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

    def heard(machine: Machine) -> bool:
        routes = ip(machine, "-6", "route")
        return any(route.get("protocol") == "ra" for route in routes) or "2001:db8:bad" in machine("ip", "-6", "addr")

    listener = machines.add("listener", wired=False)
    listener.set("net.ipv6.conf.default.accept_ra", 2)
    attached(rig, listener, FRONT, THREE, 8)
    listener.set("net.ipv6.conf.eth0.accept_ra", 2)
    web.run(send)
    assert wait_for(lambda: heard(listener))  # it was good enough for one that listens
    assert not heard(machines.host)
    assert not heard(client)


def test_the_mtu_is_that_of_the_way_out_and_stays(rig: BridgeRig, machines: Machines) -> None:
    host = machines.host
    host("ip", "link", "set", "up0", "mtu", "1380")
    rig.networks.apply(FRONT)
    web = machines.add("web", wired=False)
    config = attached(rig, web, FRONT, ONE, 5)
    small = machines.add("small", wired=False)
    rig.networks.attach(replace(endpoint(FRONT, TWO, 6, small.path), mtu=1300))
    assert [link(web, "eth0")["mtu"], link(host, rig.bridge(NETWORK))["mtu"]] == [1380, 1380]
    assert link(small, "eth0")["mtu"] == 1300
    for words in (("-4", "route", "del", "default"), ("-6", "route", "del", "default")):
        host("ip", *words)
    assert rig.networks.inspect(NETWORK).faults == ()
    rig.networks.apply(FRONT)
    assert rig.networks.endpoint(config) == EndpointState("eth0")
    rig.networks.apply(replace(FRONT, mtu=9000))
    assert link(host, rig.bridge(NETWORK))["mtu"] == 9000
    rig.networks.attach(config)
    assert link(web, "eth0")["mtu"] == 9000


def test_without_a_way_out_the_mtu_is_the_usual_one_until_there_is_one(rig: BridgeRig, machines: Machines) -> None:
    host = machines.host
    host("ip", "link", "set", "up0", "mtu", "1400", "down")
    rig.networks.apply(FOUR_ONLY)
    assert link(host, rig.bridge(NETWORK))["mtu"] == 1500
    host("ip", "link", "set", "up0", "up")
    host("ip", "-4", "route", "add", "default", "via", machines.lan.ipv4)
    (fault,) = rig.networks.inspect(NETWORK).faults
    assert (fault.field, fault.expected, fault.actual) == ("bridge.mtu", 1400, 1500)
    rig.networks.apply(FOUR_ONLY)
    assert rig.networks.inspect(NETWORK).faults == ()


def test_behind_the_firewall_networks_are_apart_and_reach_what_is_outside(
    machines: Machines, short_path: Path, instance: str
) -> None:
    firewall = NftFirewall(instance, link_prefix(instance))
    rig = BridgeRig(machines.host, short_path / "r", instance, firewall)
    secret = replace(BACK, internal=True)
    front, back = machines.add("front", wired=False), machines.add("back", wired=False)
    try:
        for config, machine, sandbox_id in ((FRONT, front, ONE), (secret, back, TWO)):
            rig.networks.apply(config)
            attached(rig, machine, config, sandbox_id, 5)
            assert rig.networks.inspect(config.id).faults == ()
        machines.lan.serve(80)
        assert front.ask(machines.lan.ipv4, 80)
        assert wait_for(lambda: front.ask(machines.lan.ipv6, 80) is not None)
        assert back.ask(machines.lan.ipv4, 80) is None
        assert not front.ping("10.43.0.5")
        assert not back.ping("10.42.0.5")
        assert back.ping("10.43.0.1")
        for config in (FRONT, secret):
            rig.networks.delete(config.id)
        assert list(rig.networks.list()) == []
        assert machines.host("nft", "list", "tables") == ""
    finally:
        firewall.close()


PUBLISHED = """
table ip published {
    chain in {
        type nat hook prerouting priority -100;
        ip daddr 10.42.0.1 tcp dport 8080 dnat to 10.42.0.5:80
    }
    chain out {
        type nat hook postrouting priority 100;
        ip saddr 10.42.0.0/24 ct status dnat masquerade
    }
}
"""


def test_a_container_reaches_its_own_published_port(rig: BridgeRig, machines: Machines, web: Machine) -> None:
    host = machines.host
    host.set("net.bridge.bridge-nf-call-iptables", 1)
    host("nft", "-f", "-", stdin=PUBLISHED)
    web.serve(80)
    answer = web.ask("10.42.0.1", 8080)
    assert answer
    assert answer.server == "web"
    rig.spoil_endpoint(endpoint(FRONT, ONE, 5, web.path), "link.hairpin")
    assert web.ask("10.42.0.1", 8080) is None
