"""Ports that are carried by rules and by proxies together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.network.names.fake import FakeProxies
from drivers.network.names.interface import Forward
from drivers.network.ports.interface import PublishedPort
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
        self.formerly: list[Sequence[PublishedPort]] = []
        """What each change was told of ones that were cut short."""

    def set_ports(self, owner: str, ports: Sequence[PublishedPort], formerly: Sequence[PublishedPort] = ()) -> None:
        if self.fails:
            raise Unavailable("the kernel refused")
        self.formerly.append(tuple(formerly))
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
def again(rules: Rules, proxies: FakeProxies, tmp_path: Path) -> Callable[..., PublishedPorts]:
    """That of the next engine."""

    def make(*local: str) -> PublishedPorts:
        return PublishedPorts(rules, proxies, tmp_path, local=lambda: frozenset(local or ("::", "::1")))

    return make


@pytest.fixture
def ports(again: Callable[..., PublishedPorts]) -> PublishedPorts:
    return again()


@pytest.mark.parametrize(
    ("address", "ipv4", "ipv6", "held", "forwarded"),
    [
        ("", V4, V6, ["0.0.0.0", "::"], [("::1", V6)]),
        ("", V4, "", ["0.0.0.0"], [("::", V4)]),
        ("", "", V6, ["::"], [("::1", V6)]),
        ("0.0.0.0", V4, V6, ["0.0.0.0"], []),
        ("::", V4, V6, ["::"], [("::1", V6)]),
        ("::", V4, "", [], [("::", V4)]),
        ("::1", V4, V6, [], [("::1", V6)]),
        ("::1", V4, "", [], [("::1", V4)]),
        ("127.0.0.1", V4, V6, ["127.0.0.1"], []),
        ("2001:db8::1", V4, V6, ["2001:db8::1"], []),
        ("2001:db8::1", V4, "", [], [("2001:db8::1", V4)]),
    ],
)
def test_a_port_is_held_where_a_rule_leads_away_and_proxied_where_none_can(
    ports: PublishedPorts,
    proxies: FakeProxies,
    address: str,
    ipv4: str,
    ipv6: str,
    held: list[str],
    forwarded: list[tuple[str, str]],
) -> None:
    port = PublishedPort(8080, 80, address, "udp", ipv4, ipv6)
    ports.publish(WEB, [port])
    assert proxies.get(WEB) == (
        *(Forward("udp", at, 8080) for at in held),
        *(Forward("udp", at, 8080, target, 80) for at, target in forwarded),
    )
    assert ports.published(WEB) == (port,)
    proxies.lose(WEB)
    assert ports.published(WEB) == ()
    ports.publish(WEB, [port])
    assert ports.published(WEB) == (port,)


@pytest.mark.parametrize(
    ("local", "held"),
    [
        (("::", "::1"), ["0.0.0.0", "::", "::1"]),
        (("::",), ["0.0.0.0", "::"]),
        (("none",), ["0.0.0.0"]),
    ],
)
def test_a_host_without_ipv6_publishes_what_it_has(
    again: Callable[..., PublishedPorts], proxies: FakeProxies, local: tuple[str, ...], held: list[str]
) -> None:
    ports, port = again(*local), PublishedPort(8080, 80, "", "tcp", V4, V6)
    ports.publish(WEB, [port])
    assert [forward.address for forward in proxies.get(WEB)] == held
    assert ports.published(WEB) == (port,)
    # One that is asked for by its address is not left out: that it cannot be had is an error.
    ports.publish(WEB, [replace(port, address="::1")])
    assert [forward.address for forward in proxies.get(WEB)] == ["::1"]
    assert ports.published(WEB) == (replace(port, address="::1"),)


def test_what_the_host_gets_of_ipv6_later_is_missing_then(again: Callable[..., PublishedPorts]) -> None:
    port = PublishedPort(8080, 80, "", "tcp", V4, V6)
    again("::").publish(WEB, [port])
    assert again().published(WEB) == ()
    again().publish(WEB, [port])
    assert again().published(WEB) == (port,)


def test_an_internal_network_is_proxied_for_the_host_alone(
    ports: PublishedPorts, rules: Rules, proxies: FakeProxies
) -> None:
    wide = PublishedPort(8080, 80, "", "tcp", V4)
    one = PublishedPort(8081, 80, "2001:db8::1", "tcp", V4)
    ports.publish(WEB, [wide, one])
    assert {forward.address for forward in proxies.get(WEB) if forward.target} == {"::", "2001:db8::1"}
    rules.internal.add(V4)
    assert ports.published(WEB) == (one,), "that there is too much of one is for the next change to see to"
    ports.publish(WEB, [wide, one])
    assert [forward.address for forward in proxies.get(WEB) if forward.target] == ["::1"]
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


@pytest.mark.parametrize("at", ["0.0.0.0", "127.0.0.1", "::"])
def test_nobody_is_shadowed_by_a_rule(ports: PublishedPorts, rules: Rules, proxies: FakeProxies, at: str) -> None:
    wanted = PublishedPort(8080, 80, "", "tcp", V4, V6)
    proxies.occupy("tcp", at, 8080)
    with pytest.raises(Conflict, match="8080"):
        ports.publish(WEB, [wanted])
    assert rules.set == {}
    assert ports.list() == []
    proxies.vacate()
    ports.publish(WEB, [wanted])
    assert ports.published(WEB) == (wanted,)


def test_a_port_that_somebody_took_meanwhile_is_theirs(
    ports: PublishedPorts, rules: Rules, proxies: FakeProxies
) -> None:
    """The resolver process was killed, and before it came back a process of the host was quicker."""
    one, two = (PublishedPort(number, 80, "", "tcp", V4, V6) for number in (8080, 8081))
    ports.publish(WEB, [one, two])
    proxies.die()
    proxies.occupy("tcp", "127.0.0.1", 8080)
    assert ports.published(WEB) == ()
    with pytest.raises(Conflict, match="8080"):
        ports.publish(WEB, [one, two])
    assert rules.set == {WEB: (two,)}
    assert ports.published(WEB) == (two,)
    proxies.vacate()
    ports.publish(WEB, [one, two])
    assert ports.published(WEB) == (one, two)


def test_who_has_the_port_is_named_where_that_can_be_found(rules: Rules, proxies: FakeProxies, tmp_path: Path) -> None:
    asked: list[Sequence[Forward]] = []

    def whose(forwards: Sequence[Forward]) -> str:
        asked.append(forwards)
        return "nginx (pid 7) has it"

    ports, kept = PublishedPorts(rules, proxies, tmp_path, whose=whose), PublishedPort(8081, 80, "0.0.0.0", "tcp", V4)
    ports.publish(WEB, [kept])
    proxies.occupy("tcp", "0.0.0.0", 8080)
    with pytest.raises(Conflict, match=r"nginx \(pid 7\) has it"):
        ports.publish(WEB, [kept, replace(kept, host=8080)])
    assert asked == [[Forward("tcp", "0.0.0.0", 8080)]]


def test_a_change_that_was_cut_short_is_told_and_done_again(
    again: Callable[..., PublishedPorts], rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (PublishedPort(number, 80, "", "tcp", V4, V6) for number in (8080, 8081))
    again().publish(WEB, [one, two])
    with monkeypatch.context() as killed:
        killed.setattr(rules, "set_ports", killing(rules.set_ports))
        with pytest.raises(Killed):
            again().publish(WEB, [one])
    assert rules.set == {WEB: (one,)}, "all is done but what comes after"
    ports = again()
    assert set(ports.published(WEB)) > {one}, "not what was asked for, whatever is"
    assert ports.list() == [WEB]
    ports.publish(WEB, [one])
    assert rules.formerly[-1] == (two,)
    assert ports.published(WEB) == again().published(WEB) == (one,)


def test_a_withdrawal_that_was_cut_short_is_told_and_done_again(
    again: Callable[..., PublishedPorts], rules: Rules, proxies: FakeProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = PublishedPort(8080, 80, "", "tcp", V4, V6)
    again().publish(WEB, [one])
    with monkeypatch.context() as killed:
        killed.setattr(rules, "set_ports", killing(rules.set_ports))
        with pytest.raises(Killed):
            again().publish(WEB, ())
    ports = again()
    assert ports.published(WEB) != ()
    assert ports.list() == [WEB]
    ports.publish(WEB, ())
    assert rules.formerly[-1] == (one,)
    assert ports.published(WEB) == again().published(WEB) == ()
    assert ports.list() == proxies.list() == []


def test_a_record_of_a_change_that_cannot_be_read_is_none(again: Callable[..., PublishedPorts], tmp_path: Path) -> None:
    for name, text in (
        (WEB, "["),
        ("UP", '[[1,2,"","tcp","10.0.0.1",""]]'),
        ("2" * 32, "[[1]]"),
        (".new-" + WEB, "[]"),
        ("3" * 32, '{"a": 1}'),
    ):
        (tmp_path / name).write_text(text)
    assert again().list() == []
    assert list(tmp_path.iterdir()) == []


class Killed(BaseException):
    pass


def killing(call: Callable[..., None]) -> Callable[..., None]:
    """The engine is killed when this has been done."""

    def done(*arguments: object) -> None:
        call(*arguments)
        raise Killed

    return done
