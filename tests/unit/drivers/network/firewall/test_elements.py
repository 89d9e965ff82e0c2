"""Networks and ports as elements of sets, there and back, whoever wrote what is read."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.firewall import elements, layout
from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.messages import Key, Value, change, elements_in
from drivers.network.firewall.nfnetlink import word
from drivers.network.netlink.messages import Reply, attributes
from drivers.network.ports.interface import PublishedPort
from drivers.network.ports.published import checked_ports
from resources.errors import InvalidArgument

SIZES = {one.name: (one.key_size, one.data_size) for one in layout.SETS}
uids = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
links = st.from_regex(r"ld-[a-z0-9_.]{0,12}", fullmatch=True)
ipv4, ipv6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str).filter(lambda one: "%" not in one)
subnets = st.one_of(
    st.tuples(ipv4, st.integers(1, 32)).map(lambda one: str(ipaddress.ip_network(f"{one[0]}/{one[1]}", strict=False))),
    st.tuples(ipv6, st.integers(1, 128)).map(lambda one: str(ipaddress.ip_network(f"{one[0]}/{one[1]}", strict=False))),
)
networks = st.builds(
    NetworkRules,
    uids,
    links,
    st.lists(subnets, unique=True, max_size=5).map(tuple),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
numbers = st.integers(1, 65535)
ports = st.builds(
    PublishedPort,
    numbers,
    numbers,
    st.one_of(st.sampled_from(("", "0.0.0.0", "::", "::1", "127.0.0.1")), ipv4, ipv6),
    st.sampled_from(("tcp", "udp")),
    st.one_of(st.just(""), ipv4),
    st.one_of(st.just(""), ipv6),
)


def written_and_read(found: dict[Key, Value]) -> dict[Key, Value]:
    """Through the messages to the kernel, which shows elements in the form in which they were sent."""
    read: dict[Key, Value] = {}
    for request in change("t", (), found):
        name = word(attributes(request.body, 4)[2])
        read.update(elements_in([Reply(request.kind, request.body)], name))
    return read


@given(networks)
def test_a_network_comes_back_as_it_was_set(rules: NetworkRules) -> None:
    made = elements.of_network(rules)
    assert all((len(key.value), len(value.data)) == SIZES[key.set] for key, value in made.items())
    assert {elements.owner(value) for value in made.values()} == {rules.id}
    assert {key.set for key in made} <= elements.NETWORK_SETS
    assert elements.network_in(made) == rules
    if not _overlap(rules.subnets):
        assert written_and_read(made) == made


def _overlap(subnets: tuple[str, ...]) -> bool:
    parsed = [ipaddress.ip_network(one) for one in subnets]
    return any(
        one.overlaps(other) for at, one in enumerate(parsed) for other in parsed[:at] if one.version == other.version
    )


@given(networks, st.data())
def test_a_network_of_which_anything_is_missing_or_altered_is_not_told(
    rules: NetworkRules, data: st.DataObject
) -> None:
    made = elements.of_network(rules)
    key = data.draw(st.sampled_from(sorted(made)))
    without = {one: value for one, value in made.items() if one != key}
    assert elements.network_in(without) is None
    assert elements.network_in({**made, key: Value("x")}) is None
    assert elements.network_in({**made, Key("internal", b"other".ljust(16, b"\0")): Value(rules.id)}) is None


@given(
    st.dictionaries(st.builds(Key, st.sampled_from(sorted(SIZES)), st.binary(max_size=24)), st.builds(Value, st.text()))
)
def test_what_others_write_is_nothing_or_just_what_it_says(found: dict[Key, Value]) -> None:
    rules = elements.network_in(found)
    assert rules is None or elements.of_network(rules) == found
    for port in elements.ports_in(found):
        assert any(
            elements.of_port(name, port).items() <= found.items()
            for name in map(elements.owner, found.values())
            if name
        )


@given(st.text(), st.text())
def test_comments_of_others_never_raise(network: str, port: str) -> None:
    found = {
        Key("bridges", b"ld".ljust(16, b"\0")): Value(network),
        Key("ports", bytes([6, 0, 0, 0, 0, 80, 0, 0]) + bytes(16)): Value(port),
    }
    assert elements.network_in(found) is None
    for one in elements.ports_in(found):
        assert elements.of_port(port.partition("-")[0], one).items() <= found.items()


@given(uids, st.lists(ports, max_size=6))
def test_ports_come_back_as_they_were_set(owner: str, asked: list[PublishedPort]) -> None:
    try:
        wanted = checked_ports(asked)
    except InvalidArgument:
        return
    made: dict[Key, Value] = {}
    for port in wanted:
        fresh = elements.of_port(owner, port)
        assert not fresh.keys() & made.keys(), "no two claim the same"
        made.update(fresh)
    assert all((len(key.value), len(value.data)) == SIZES[key.set] for key, value in made.items())
    assert not {key.set for key in made} & elements.NETWORK_SETS
    assert {elements.owner(value) for value in made.values()} <= {owner}
    assert sorted(elements.ports_in(made), key=str) == sorted(wanted, key=str)
    assert written_and_read(made) == made
    for key in made:
        told = set(elements.ports_in({one: value for one, value in made.items() if one != key}))
        assert len(told) == len(wanted) - 1
        assert elements.described(key)


def test_elements_are_what_the_rules_look_up() -> None:
    port = PublishedPort(8080, 80, "", "tcp", "10.1.0.2", "fd00::2")
    made = elements.of_port("u", port)
    assert made[Key("any4", bytes.fromhex("06000000 1f900000"))] == Value("u", bytes.fromhex("0a010002 00500000"))
    assert made[Key("any6", bytes.fromhex("06000000 1f900000"))].data[16:] == bytes.fromhex("00500000")
    at = elements.of_port("u", replace(port, address="192.0.2.1", protocol="udp"))
    assert Key("at4", bytes.fromhex("c0000201 11000000 1f900000")) in at
    network = elements.of_network(NetworkRules("u", "ld-1", ("10.1.0.0/24", "255.255.255.0/24")))
    assert Key("subnets4", bytes([10, 1, 0, 0]), bytes([10, 1, 1, 0])) in network
    assert Key("subnets4", bytes([255, 255, 255, 0])) in network, "nothing comes after the last address"


def test_where_a_proxy_stands_in() -> None:
    both, four = ("10.1.0.2", "fd00::2"), ("10.1.0.2", "")

    def at(address: str, targets: tuple[str, str]) -> tuple[tuple[str, ...], bool]:
        port = PublishedPort(8080, 80, address, "tcp", *targets)
        return elements.proxied_at(port), elements.proxied(port) is not None

    assert at("", both) == at("::", both) == at("::1", both) == at("::1", four) == (("::1",), False)
    assert at("", four) == at("::", four) == (("::",), True)
    assert at("2001:db8::1", four) == (("2001:db8::1",), True)
    assert at("2001:db8::1", both) == at("127.0.0.1", both) == at("0.0.0.0", four) == ((), False)


@pytest.mark.parametrize(
    "rules",
    [
        NetworkRules("a-b", "ld-1", ()),
        NetworkRules("a", "", ()),
        NetworkRules("a", "l" * 16, ()),
        NetworkRules("a", "ld\n", ()),
        NetworkRules("a", "ld-1", ("10.0.0.1/24",)),
        NetworkRules("a", "ld-1", ("10.0.0.0/24", "10.0.0.0/24")),
    ],
)
def test_a_network_that_cannot_be_is_refused(rules: NetworkRules) -> None:
    with pytest.raises(InvalidArgument):
        elements.of_network(rules)
