"""Ports that are carried by rules and by proxies together."""

from collections.abc import Sequence

import pytest

from drivers.network.interface import PublishedPort
from drivers.network.names.fake import FakeProxies
from drivers.network.names.interface import Forward
from drivers.network.ports.published import PublishedPorts
from resources.errors import Conflict, Unavailable

WEB = "1" * 32
V4, V6 = "10.42.0.2", "fd42::2"


class Rules:
    """A firewall in memory; `fails` is what its next change does."""

    def __init__(self) -> None:
        self.set: dict[str, tuple[PublishedPort, ...]] = {}
        self.internal: set[str] = set()
        self.fails = False

    def set_ports(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        if self.fails:
            raise Unavailable("the kernel refused")
        self.set[owner] = tuple(ports)
        if not ports:
            del self.set[owner]

    def ports(self, owner: str) -> tuple[PublishedPort, ...]:
        return self.set.get(owner, ())

    def port_owners(self) -> Sequence[str]:
        return sorted(self.set)

    def is_internal(self, address: str) -> bool:
        return address in self.internal

    def obstacles(self) -> Sequence[str]:
        return ()


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def proxies() -> FakeProxies:
    return FakeProxies()


@pytest.fixture
def ports(rules: Rules, proxies: FakeProxies) -> PublishedPorts:
    return PublishedPorts(rules, proxies)


@pytest.mark.parametrize(
    ("address", "ipv4", "ipv6", "forwarded"),
    [
        ("", V4, V6, [("::1", V6)]),
        ("", V4, "", [("::", V4)]),
        ("", "", V6, [("::1", V6)]),
        ("0.0.0.0", V4, V6, []),
        ("::", V4, "", [("::", V4)]),
        ("::1", V4, V6, [("::1", V6)]),
        ("::1", V4, "", [("::1", V4)]),
        ("127.0.0.1", V4, V6, []),
        ("2001:db8::1", V4, V6, []),
        ("2001:db8::1", V4, "", [("2001:db8::1", V4)]),
    ],
)
def test_a_proxy_stands_in_where_no_rule_can(
    ports: PublishedPorts, proxies: FakeProxies, address: str, ipv4: str, ipv6: str, forwarded: list[tuple[str, str]]
) -> None:
    port = PublishedPort(8080, 80, address, "udp", ipv4, ipv6)
    ports.publish(WEB, [port])
    assert proxies.get(WEB) == tuple(Forward("udp", at, 8080, target, 80) for at, target in forwarded)
    assert ports.published(WEB) == (port,)
    proxies.lose(WEB)
    assert ports.published(WEB) == (() if forwarded else (port,))
    ports.publish(WEB, [port])
    assert ports.published(WEB) == (port,)


def test_an_internal_network_is_proxied_for_the_host_alone(
    ports: PublishedPorts, rules: Rules, proxies: FakeProxies
) -> None:
    wide = PublishedPort(8080, 80, "", "tcp", V4)
    one = PublishedPort(8081, 80, "2001:db8::1", "tcp", V4)
    ports.publish(WEB, [wide, one])
    assert {forward.address for forward in proxies.get(WEB)} == {"::", "2001:db8::1"}
    rules.internal.add(V4)
    assert ports.published(WEB) == (one,), "that there is too much of one is for the next change to see to"
    ports.publish(WEB, [wide, one])
    assert [forward.address for forward in proxies.get(WEB)] == ["::1"]
    assert set(ports.published(WEB)) == {wide, one}


def test_what_one_side_lost_is_told_by_the_other(ports: PublishedPorts, rules: Rules, proxies: FakeProxies) -> None:
    ports.publish(WEB, [PublishedPort(8080, 80, "", "tcp", V4)])
    rules.set.clear()
    assert ports.published(WEB) == ()
    assert ports.list() == [WEB]
    ports.publish(WEB, ())
    assert ports.list() == []
    assert proxies.list() == []


def test_both_sides_are_withdrawn_though_one_fails(ports: PublishedPorts, rules: Rules, proxies: FakeProxies) -> None:
    ports.publish(WEB, [PublishedPort(8080, 80, "", "tcp", V4)])
    rules.fails = True
    with pytest.raises(ExceptionGroup) as caught:
        ports.publish(WEB, ())
    assert [str(error) for error in caught.value.exceptions] == ["the kernel refused"]
    assert proxies.list() == []
    assert ports.list() == [WEB]


def test_nothing_is_proxied_that_has_no_rules(ports: PublishedPorts, rules: Rules, proxies: FakeProxies) -> None:
    rules.fails = True
    with pytest.raises(Unavailable):
        ports.publish(WEB, [PublishedPort(8080, 80, "", "tcp", V4)])
    assert proxies.list() == []


def test_who_listens_there_already_is_named_and_keeps_the_port(
    ports: PublishedPorts, rules: Rules, proxies: FakeProxies
) -> None:
    kept = PublishedPort(8081, 80, "", "tcp", V4, V6)
    ports.publish(WEB, [kept])
    proxies.occupy("tcp", "::1", 8080)
    with pytest.raises(Conflict, match="8080"):
        ports.publish(WEB, [kept, PublishedPort(8080, 80, "", "tcp", V4, V6)])
    assert rules.set == {WEB: (kept,)}
    assert ports.published(WEB) == (kept,)
