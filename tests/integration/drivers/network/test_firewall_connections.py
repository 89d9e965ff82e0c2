"""Published ports over time: what is open goes on or ends, and nothing is inherited."""

from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest

from drivers.network.firewall import conntrack
from drivers.network.ports.interface import PublishedPort
from tests.integration.drivers.network.site import SHORT, Site, addresses, published, serving
from tests.machines import TRANSPORTS, Answer, Machine, Machines

pytestmark = pytest.mark.host


@pytest.fixture(params=[500, 0], ids=["few", "many"])
def tracked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many connections the kernel is asked for some."""
    monkeypatch.setattr(conntrack, "_FEW", request.param)


def test_a_range_of_a_hundred_ports_is_one_transaction(site: Site) -> None:
    web = site.container("web", site.network())
    web.serve(*range(9000, 9100))
    ports = [PublishedPort(8000 + number, 9000 + number, "", "tcp", web.ipv4, web.ipv6) for number in range(100)]
    before = site.firewall._table.link.generation()
    site.ports.publish("web", ports)
    assert site.firewall._table.link.generation() == before + 1
    assert site.ports.published("web") == tuple(ports)
    for number in (0, 1, 50, 99):
        assert site.lan.ask(site.host.ipv4, 8000 + number) == Answer("web", site.lan.ipv4)
    site.ports.publish("web", ports[50:])
    assert site.ports.published("web") == tuple(ports[50:])
    assert site.lan.ask(site.host.ipv6, 8050)
    assert site.lan.ask(site.host.ipv6, 8049) is None


@pytest.mark.usefixtures("tracked")
def test_a_port_that_is_withdrawn_ends_its_connections_and_no_others(site: Site) -> None:
    web = serving(site.container("web", site.network()), 80)
    published(site, web, 8080, 80)
    published(site, web, 8081, 80)
    going = {
        (host, at, protocol): site.lan.connect(at, host, protocol)
        for host in (8080, 8081)
        for at in addresses(site.host)
        for protocol in TRANSPORTS
    }
    assert all(connection.ask() for connection in going.values())
    site.ports.publish("web", [port for port in site.ports.published("web") if port.host == 8081])
    for (host, at, protocol), connection in going.items():
        assert bool(connection.ask(SHORT)) is (host == 8081), f"{at}:{host}/{protocol}"
        connection.socket.close()


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("kept", [True, False])
def test_a_withdrawal_that_was_cut_short_ends_its_connections_later(
    site: Site, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The engine is killed when the rules are gone, and before it forgets what came by them."""
    web = serving(site.container("web", site.network()), 80)
    published(site, web, 8080, 80)
    published(site, web, 8081, 80)
    staying = [port for port in site.ports.published("web") if port.host == 8081 and kept]
    going = {
        (host, at, protocol): site.lan.connect(at, host, protocol)
        for host in (8080, 8081)
        for at in addresses(site.host)
        for protocol in TRANSPORTS
    }
    assert all(connection.ask() for connection in going.values())

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(conntrack, "forget_of", killed)
        with pytest.raises(Killed):
            site.ports.publish("web", staying)
    site.next_engine()
    assert site.lan.ask(site.host.ipv4, 8080, timeout=SHORT) is None
    assert set(site.ports.published("web")) != set(staying), "so that it is done once more"
    assert site.ports.list() == ["web"]
    site.ports.publish("web", staying)
    assert set(site.ports.published("web")) == set(staying)
    for (host, at, protocol), connection in going.items():
        assert bool(connection.ask(SHORT)) is (kept and host == 8081), f"{at}:{host}/{protocol}"
        connection.socket.close()


@pytest.mark.usefixtures("tracked")
def test_a_port_whose_target_changes_lets_connections_go_on_but_for_udp(site: Site) -> None:
    rules = site.network()
    old, new = serving(site.container("old", rules), 80), serving(site.container("new", rules), 80)

    def publish(box: Machine) -> None:
        site.ports.publish("web", [PublishedPort(8080, 80, "", one, box.ipv4, box.ipv6) for one in TRANSPORTS])

    publish(old)
    with site.lan.connect(site.host.ipv4, 8080) as stream, site.lan.connect(site.host.ipv4, 8080, "udp") as datagrams:
        assert stream.ask() == datagrams.ask() == Answer("old", site.lan.ipv4)
        publish(new)
        assert stream.ask() == Answer("old", site.lan.ipv4)
        assert datagrams.ask() == Answer("new", site.lan.ipv4)
        assert site.lan.ask(site.host.ipv4, 8080) == Answer("new", site.lan.ipv4)
        site.firewall.forget_flows(addresses(old))
        assert stream.ask(SHORT) is None


@pytest.mark.usefixtures("tracked")
def test_who_sent_to_a_udp_port_before_it_was_published_is_heard_afterwards(site: Site) -> None:
    web = serving(site.container("web", site.network()), 53)
    serving(site.lan, 5353)
    with (
        site.lan.connect(site.host.ipv4, 5353, "udp", source=("", 4444)) as early,
        web.connect(site.lan.ipv4, 5353, "udp", source=("", 5555)) as outwards,
    ):
        assert early.ask(SHORT) is None
        assert outwards.ask()
        (entry,) = tracked_by(site, "sport=5555")
        published(site, web, 5353, 53)
        assert early.ask() or early.ask()
        assert tracked_by(site, "sport=5555")[0].split()[6:] == entry.split()[6:], "what only passes is left alone"


def tracked_by(site: Site, word: str) -> list[str]:
    return [line for line in site.host("cat", "/proc/net/nf_conntrack").splitlines() if word in line.split()]


@pytest.mark.usefixtures("tracked")
def test_who_gets_an_address_again_inherits_no_connection(site: Site) -> None:
    rules = site.network()
    first, other = serving(site.container("first", rules), 80), serving(site.container("other", rules), 80)
    serving(site.lan, 53)
    published(site, first, 8080, 80)
    published(site, other, 8081, 80)

    def tracked() -> list[str]:
        """Every address of every connection."""
        words = site.host("cat", "/proc/net/nf_conntrack").split()
        return [str(ip_address(one[4:])) for one in words if one.startswith(("src=", "dst="))]

    with ExitStack() as stack:
        for number in (0, 1):
            for box, port in ((first, 8080), (other, 8081)):
                for protocol in TRANSPORTS:
                    for connection in (
                        site.lan.connect(addresses(site.host)[number], port, protocol),
                        box.connect(addresses(site.lan)[number], 53, protocol),
                        site.host.connect(addresses(box)[number], 80, protocol),
                    ):
                        assert stack.enter_context(connection).ask()
        assert {*addresses(first), *addresses(other)} <= set(tracked())
        before = sorted(one for one in tracked() if one in addresses(other))
        site.firewall.forget_flows(addresses(first))
        assert not {*addresses(first)} & set(tracked())
        assert sorted(one for one in tracked() if one in addresses(other)) == before


def test_changes_of_a_network_take_effect_at_once(site: Site) -> None:
    rules = site.network()
    box = serving(site.container("box", rules), 80)
    serving(site.lan, 53)
    published(site, box, 8080, 80)
    with site.lan.connect(site.host.ipv4, 8080) as stream:
        assert stream.ask()
        site.firewall.set_network(replace(rules, internal=True))
        assert site.lan.ask(site.host.ipv4, 8080, timeout=SHORT) is None
        assert stream.ask(SHORT) is None
        assert box.ask(site.lan.ipv4, 53, timeout=SHORT) is None
        site.firewall.set_network(rules)
        assert site.lan.ask(site.host.ipv4, 8080)
        assert box.ask(site.lan.ipv4, 53)


def test_mending_cuts_no_connection(machines: Machines, instance: str) -> None:
    site = Site(machines, instance, owned=False)
    rules = site.network()
    web = serving(site.container("web", rules), 80)
    serving(site.lan, 53)
    published(site, web, 8080, 80)
    with site.lan.connect(site.host.ipv4, 8080) as inwards, web.connect(site.lan.ipv6, 53) as outwards:
        assert inwards.ask()
        assert outwards.ask()
        for chain in ("published", "passing", "leaving"):
            site.host("nft", "flush", "chain", "inet", instance, chain)
            assert site.firewall.network(rules.id) is None
            site.firewall.set_network(rules)
            assert site.firewall.network(rules.id) == rules
            assert inwards.ask() == Answer("web", site.lan.ipv4)
            assert outwards.ask() == Answer("lan", site.host.ipv6)
        assert len(site.ports.published("web")) == 2, "mended with the network"
    site.close()
