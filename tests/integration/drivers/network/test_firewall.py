"""Who reaches whom through the real firewall: from another machine, from the host, and between networks."""

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import pytest

from tests.integration.drivers.network.site import SHORT, Site, addresses, published, serving
from tests.machines import TRANSPORTS, Answer, Machine
from tests.tasks import until

pytestmark = pytest.mark.host


def test_a_published_port_is_reached_from_everywhere(site: Site) -> None:
    one, two = site.network(), site.network()
    web, peer = serving(site.container("web", one), 80), site.container("peer", one)
    other = site.container("other", two)
    published(site, web, 8080, 80)
    serving(site.lan, 8080)
    serving(site.host, 9000)
    for protocol in TRANSPORTS:
        for at in addresses(site.lan):
            for machine in (other, site.host):
                answer = machine.ask(at, 8080, protocol)
                assert answer, f"{at} from {machine.name}"
                assert answer.server == "lan", "what is sent elsewhere goes there"
        assert site.host.ask("10.42.1.1", 9000, protocol) == Answer("host", "10.42.1.1")
        for at, seen in zip(addresses(site.host), addresses(site.lan), strict=True):
            assert site.lan.ask(at, 8080, protocol) == Answer("web", seen)
        for at in (*addresses(site.host), "127.0.0.1", "127.0.0.3", "10.42.1.1", "10.42.2.1", "fd42:1::1"):
            answer = site.host.ask(at, 8080, protocol)
            assert answer, f"{at} from the host"
            assert answer.server == "web"
        # From its own network, from another's, and from itself, by the host's addresses and the gateway's.
        for box in (peer, other, web):
            for at in (*addresses(site.host), "10.42.1.1", "fd42:1::1"):
                answer = box.ask(at, 8080, protocol)
                assert answer, f"{at} from {box.name}"
                assert answer.server == "web"


def test_a_port_at_one_address_is_reached_there_alone(site: Site) -> None:
    rules = site.network()
    web, neighbour = serving(site.container("web", rules), 80, 81), site.container("neighbour", rules)
    published(site, web, 8080, 80, site.host.ipv4)
    published(site, web, 8080, 81, site.host.ipv6)
    published(site, web, 8081, 80, "0.0.0.0")
    published(site, web, 8082, 80, "::")
    for protocol in TRANSPORTS:
        for machine in (site.lan, site.host, neighbour):
            for at in addresses(site.host):
                assert machine.ask(at, 8080, protocol), f"{at} from {machine.name}"
        assert site.host.ask("127.0.0.1", 8080, protocol, SHORT) is None
        assert neighbour.ask("10.42.1.1", 8080, protocol, SHORT) is None
        assert site.lan.ask(site.host.ipv4, 8081, protocol)
        assert site.lan.ask(site.host.ipv6, 8081, protocol, SHORT) is None
        assert site.lan.ask(site.host.ipv6, 8082, protocol)
        assert site.lan.ask(site.host.ipv4, 8082, protocol, SHORT) is None


def test_a_port_at_localhost_is_the_hosts_alone(site: Site) -> None:
    one, two = site.network(), site.network()
    web = serving(site.container("web", one), 80)
    boxes = (site.container("peer", one), site.container("other", two), web)
    published(site, web, 8080, 80, "127.0.0.1")
    published(site, web, 8081, 80, "127.0.0.2")
    site.host.serve(9000, address="127.0.0.1")
    attacker = site.lan
    site.routed(attacker)
    attacker("ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
    attacker("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    attacker("ip", "route", "add", "127.0.0.0/8", "via", site.host.ipv4, "src", attacker.ipv4)
    for machine, link in ((attacker, "up0"), *((box, "eth0") for box in boxes)):
        machine.set(f"net.ipv4.conf.{link}.route_localnet", 1)
    for box in boxes:
        box("ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
        box("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        box("ip", "route", "add", "127.0.0.0/8", "via", f"10.42.{2 if box.name == 'other' else 1}.1", "src", box.ipv4)
    for protocol in TRANSPORTS:
        assert site.host.ask("127.0.0.1", 8080, protocol) == Answer("web", "10.42.1.1")
        assert site.host.ask("127.0.0.2", 8081, protocol) == Answer("web", "10.42.1.1")
    assert site.host.ask("127.0.0.1", 9000) == Answer("host", "127.0.0.1"), "what is the host's own works on"
    places = [("127.0.0.1", 8080), ("127.0.0.2", 8081), ("127.0.0.1", 9000)]
    places += [(site.host.ipv4, port) for port in (8080, 8081, 9000)]
    assert not answered((machine, *place) for machine in (attacker, *boxes) for place in places)
    assert not answered([(attacker, web.ipv4, 80)])


def test_what_is_not_published_is_not_reached_by_a_direct_route(site: Site) -> None:
    rules, routed = site.network(), site.network(masquerade=False)
    web, plain = serving(site.container("web", rules), 80, 81), serving(site.container("plain", routed), 80)
    published(site, web, 8080, 80)
    site.routed(site.lan)
    for box in (web, plain):
        for at in addresses(box):
            assert not site.lan.ping(at, SHORT)
            for protocol in TRANSPORTS:
                for port in (80, 81):
                    assert site.lan.ask(at, port, protocol, SHORT) is None
                assert site.host.ask(at, 80, protocol), "the host itself reaches them"
            assert site.host.ping(at)


def test_containers_go_out_under_the_hosts_address_if_asked(site: Site) -> None:
    masked, plain = site.network(), site.network(masquerade=False)
    inside, bare = site.container("inside", masked), site.container("bare", plain)
    serving(site.lan, 53)
    site.routed(site.lan)
    for number, at in enumerate(addresses(site.lan)):
        for protocol in TRANSPORTS:
            assert inside.ask(at, 53, protocol) == Answer("lan", addresses(site.host)[number])
            assert bare.ask(at, 53, protocol) == Answer("lan", addresses(bare)[number])
        assert inside.ping(at)
        assert bare.ping(at)


def test_what_belongs_to_no_connection_does_not_leave_under_the_containers_address(site: Site) -> None:
    box = site.container("box", site.network())
    site.routed(site.lan)
    serving(site.lan, 53)
    assert box.ask(site.lan.ipv4, 53)
    with site.lan.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)) as link:
        link.settimeout(5)
        box.run(lambda: reset(box.ipv4, site.lan.ipv4))
        assert box.ask(site.lan.ipv4, 53)
        sources = set()
        while site.host.ipv4 not in sources:
            sources.add(link.recvfrom(2000)[1][0])
    assert box.ipv4 not in sources


def reset(source: str, target: str) -> None:
    """A TCP packet that ends a connection there is not."""
    segment = struct.pack("!HHIIBBHHH", 7777, 53, 1, 0, 0x50, 0x04, 0, 0, 0)
    summed = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!HH", 6, len(segment)) + segment
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(segment[:16] + checksum + segment[18:], (target, 0))


def test_networks_do_not_reach_each_other(site: Site) -> None:
    kinds = {
        "open": site.network(),
        "closed": site.network(internal=True),
        "apart": site.network(isolated=True),
        "plain": site.network(masquerade=False),
    }
    boxes = {name: serving(site.container(name, rules), 80) for name, rules in kinds.items()}
    for name, box in boxes.items():
        published(site, box, 8080 + list(boxes).index(name), 80)
    pairs = list(permutations(boxes.values(), 2))
    assert not answered((source, at, 80) for source, target in pairs for at in addresses(target))
    with ThreadPoolExecutor(8) as pool:
        pings = [(source, at) for source, target in pairs for at in addresses(target)]
        assert not any(pool.map(lambda one: one[0].ping(one[1], SHORT), pings))


def answered(asked: Iterable[tuple[Machine, str, int]]) -> list[str]:
    """Who gets an answer after all, of those who shall get none."""
    every = [(*one, protocol) for one in asked for protocol in TRANSPORTS]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda one: one[0].ask(one[1], one[2], one[3], SHORT), every)
        return [
            f"{one[0].name} at {one[1]}:{one[2]}/{one[3]}" for one, answer in zip(every, answers, strict=True) if answer
        ]


def test_neighbours_reach_each_other_unless_isolated(site: Site) -> None:
    for name, isolated in (("near", False), ("far", True)):
        rules = site.network(isolated=isolated)
        one, two = serving(site.container(f"{name}1", rules), 80), serving(site.container(f"{name}2", rules), 80)
        published(site, two, 8080 + isolated, 80)
        for at, seen in zip(addresses(two), addresses(one), strict=True):
            assert one.ping(at, SHORT if isolated else 2) is not isolated
            for protocol in TRANSPORTS:
                answer = one.ask(at, 80, protocol, SHORT if isolated else 2)
                assert answer == (None if isolated else Answer(two.name, seen))
        for at in addresses(site.host):
            assert bool(one.ask(at, 8080 + isolated, "tcp", SHORT if isolated else 2)) is not isolated
            assert site.lan.ask(at, 8080 + isolated)
            assert one.ping(at)


def test_an_internal_network_and_the_host_reach_each_other_and_nobody_else(site: Site) -> None:
    closed, opened = site.network(internal=True), site.network()
    box, other = serving(site.container("box", closed), 80), serving(site.container("other", opened), 80)
    published(site, box, 8080, 80)
    published(site, other, 8081, 80)
    serving(site.host, 9000)
    serving(site.lan, 53)
    site.routed(site.lan)
    for number, at in enumerate(addresses(box)):
        assert site.host.ping(at)
        for protocol in TRANSPORTS:
            assert site.host.ask(at, 80, protocol)
            assert site.host.ask(addresses(site.host)[number], 8080, protocol), "the host by the published port"
            assert box.ask(("10.42.1.1", "fd42:1::1")[number], 9000, protocol)
            for machine in (site.lan, other):
                assert machine.ask(addresses(site.host)[number], 8080, protocol, SHORT) is None
                assert machine.ask(at, 80, protocol, SHORT) is None
            assert box.ask(addresses(site.lan)[number], 53, protocol, SHORT) is None
            assert box.ask(addresses(site.host)[number], 8081, protocol, SHORT) is None
        assert not box.ping(addresses(site.lan)[number], SHORT)


def test_not_one_packet_leaves_an_internal_network_or_enters_it(site: Site) -> None:
    box, other = site.container("box", site.network(internal=True)), site.container("other", site.network())
    site.routed(site.lan)
    assert not any(exchanged(site, box, other))


def test_not_one_packet_passes_a_bridge_that_the_firewall_does_not_know(site: Site) -> None:
    unknown = site.network()
    box, other = site.container("box", unknown), site.container("other", site.network())
    site.routed(site.lan)
    assert any(exchanged(site, box, other))
    site.firewall.remove_network(unknown.id)
    assert not any(exchanged(site, box, other))
    site.firewall.set_network(unknown)
    assert any(exchanged(site, box, other))


def exchanged(site: Site, box: Machine, other: Machine) -> Iterator[bool]:
    """Whether a packet of the box comes to another machine and another container, and one of theirs to the box."""
    published(site, box, 9002, 9001)
    for number in (0, 1):
        here, there, away, host = (addresses(one)[number] for one in (box, other, site.lan, site.host))
        for sender in (box, other):
            assert sender.ping(("10.42.1.1", "fd42:1::1", "10.42.2.1", "fd42:2::1")[number + 2 * (sender is other)])
        yield comes(site, box, (away, 9001), site.lan, away)
        yield comes(site, box, (there, 9001), other, there)
        for sender in (site.lan, other):
            yield comes(site, sender, (here, 9001), box, here)
            yield comes(site, sender, (host, 9002), box, here)
    site.ports.publish(box.name, ())


def comes(site: Site, sender: Machine, to: tuple[str, int], target: Machine, at: str) -> bool:
    """Whether a UDP packet comes to the target's port 9001. One of the host's, which does, is sent after it."""
    assert site.host.ping(at)
    with target.run(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as link:
        link.bind(("::", 9001))
        link.settimeout(5)
        for machine, place, word in ((sender, to, b"first"), (site.host, (at, 9001), b"second")):
            with machine.connect(*place, "udp") as connection:
                connection.socket.send(word)
        return link.recv(10) == b"first"


def test_a_proxied_port_is_closed_to_internal_networks(site: Site) -> None:
    """The listener here stands where the proxy of a container without IPv6 would."""
    box = site.container("box", site.network(internal=True))
    web = serving(site.container("web", site.network(ipv6=False)), 80)
    published(site, web, 8080, 80)
    site.host.serve(8080, 8081, address="::")
    assert site.lan.ask(site.host.ipv6, 8080) == Answer("host", site.lan.ipv6)
    assert box.ask("fd42:1::1", 8081) == Answer("host", box.ipv6)
    assert box.ask("fd42:1::1", 8080, timeout=SHORT) is None
    site.ports.publish(web.name, ())
    assert box.ask("fd42:1::1", 8080) == Answer("host", box.ipv6)


@pytest.mark.parametrize("rp_filter", [0, 1])
def test_nothing_comes_with_a_source_of_another_network(site: Site, rp_filter: int) -> None:
    one = site.network()
    site.network()
    evil = site.container("evil", one)
    for link in ("all", one.bridge):
        site.host.set(f"net.ipv4.conf.{link}.rp_filter", rp_filter)
    evil("ip", "addr", "add", "10.42.2.200/32", "dev", "eth0")
    evil("ip", "addr", "add", "fd42:2::200/128", "dev", "eth0", "nodad")
    for own, stolen, target in (
        (evil.ipv4, "10.42.2.200", site.host.ipv4),
        (evil.ipv4, "10.42.2.200", "10.42.2.1"),
        (evil.ipv6, "fd42:2::200", site.host.ipv6),
    ):
        assert heard(site.host, evil, target, sources=(stolen, own)) == [own]


def heard(machine: Machine, sender: Machine, target: str, sources: tuple[str, ...]) -> list[str]:
    """From whom UDP packets come to a port of the machine, when the sender sends one from each of its addresses in turn.
    The last is one of those that come."""
    found: list[str] = []
    with machine.run(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as link:
        link.bind(("::", 9001))
        link.settimeout(5)
        for some in (sources[-1:], sources):  # by the first it learns the way
            for source in some:
                with sender.connect(target, 9001, "udp", (source, 0)) as connection:
                    connection.socket.send(b"?")
            found.clear()
            while sources[-1] not in found:
                found.append(link.recvfrom(100)[1][0].removeprefix("::ffff:"))
    return found


def test_a_container_is_no_router_for_the_host(site: Site) -> None:
    rules = site.network()
    evil = site.container("evil", rules)
    # Even where the host would listen.
    site.host.set(f"net.ipv6.conf.{rules.bridge}.accept_ra", 2)
    evil.run(lambda: advertise("eth0"))
    time.sleep(0.2)
    assert "fd66:" not in site.host("ip", "-6", "route", "show", "dev", rules.bridge)
    # Another machine may be one, and without our table the container was.
    site.host.set("net.ipv6.conf.up0.accept_ra", 2)
    site.lan.run(lambda: advertise("up0"))
    until(lambda: "fd66:" in site.host("ip", "-6", "route", "show", "dev", "up0"))
    site.host("nft", "flush", "ruleset")
    site.firewall.close()
    site.host("nft", "flush", "ruleset")
    evil.run(lambda: advertise("eth0"))
    until(lambda: "fd66:" in site.host("ip", "-6", "route", "show", "dev", rules.bridge))
    site.host.run(lambda: site.firewall.set_network(rules))


def advertise(link: str) -> None:
    """A router advertisement with a prefix, to all nodes."""
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, "fd66::"))
    packet = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex(link)
        known = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        own = next(line.split()[0] for line in known if line.startswith("fe80"))
        raw.bind((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(own)), 0, 0, index))
        raw.sendto(packet, ("ff02::1", 0, 0, index))
