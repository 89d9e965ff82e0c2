"""What every publisher of ports does, the twin in memory and the real one."""

from collections.abc import Callable, Iterator

import pytest

from drivers.network.firewall.nft import NftFirewall
from drivers.network.names.fake import FakeProxies
from drivers.network.ports.fake import FakePorts
from drivers.network.ports.interface import PortPublisher, PublishedPort
from drivers.network.ports.published import PublishedPorts
from resources.errors import Conflict, InvalidArgument

ONE, TWO = "1" * 32, "2" * 32
V4, V6 = "10.42.0.2", "fd42::2"
WEB = PublishedPort(8080, 80, "", "tcp", V4, V6)


@pytest.fixture(params=["fake", pytest.param("nft", marks=pytest.mark.host)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def again(kind: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], PortPublisher]]:
    """The publisher of one engine's life, and of the next."""
    if kind == "fake":
        fake = FakePorts()
        yield lambda: fake
        return
    machines, instance = request.getfixturevalue("machines"), request.getfixturevalue("instance")
    folder = request.getfixturevalue("tmp_path")
    made: list[NftFirewall] = []
    proxies = FakeProxies()

    def make() -> PortPublisher:
        for one in made:
            one.close()
        made.append(NftFirewall(instance, "ld-"))
        machines.host.run(made[-1].networks)
        return PublishedPorts(made[-1], proxies, folder)

    yield make
    for one in made:
        one.close()


@pytest.fixture
def occupy(kind: str, ports: PortPublisher) -> Callable[[int], None]:
    """A process of the host listens there as soon as nobody of ours holds it."""
    if isinstance(ports, FakePorts):
        return lambda port: ports.occupy("tcp", port)
    assert isinstance(ports, PublishedPorts)
    proxies = ports._proxies
    assert isinstance(proxies, FakeProxies)
    return lambda port: proxies.occupy("tcp", "127.0.0.1", port)


@pytest.fixture
def ports(again: Callable[[], PortPublisher]) -> PortPublisher:
    return again()


def test_absence_is_a_value(ports: PortPublisher) -> None:
    assert ports.published(ONE) == ()
    assert list(ports.list()) == []
    ports.publish(ONE, ())
    assert list(ports.list()) == []


EVERY_KIND = [
    WEB,
    PublishedPort(8080, 80, "", "udp", V4, V6),
    PublishedPort(8081, 80, "", "tcp", V4),
    PublishedPort(8082, 80, "", "tcp", "", V6),
    PublishedPort(8083, 80, "0.0.0.0", "udp", V4, V6),
    PublishedPort(8083, 80, "::", "udp", V4, V6),
    PublishedPort(8084, 80, "::", "tcp", V4),
    PublishedPort(8085, 80, "127.0.0.1", "tcp", V4, V6),
    PublishedPort(8085, 80, "127.0.0.2", "tcp", V4),
    PublishedPort(8085, 80, "::1", "tcp", V4, V6),
    PublishedPort(8086, 80, "::1", "udp", "", V6),
    PublishedPort(8087, 80, "192.0.2.1", "tcp", V4, V6),
    PublishedPort(8087, 65535, "2001:db8::1", "tcp", V4, V6),
    PublishedPort(8088, 1, "2001:db8::1", "udp", V4),
    PublishedPort(65535, 80, "", "tcp", V4, V6),
]


@pytest.mark.parametrize("port", EVERY_KIND, ids=str)
def test_each_kind_of_port_is_told_as_it_was_asked_for(ports: PortPublisher, port: PublishedPort) -> None:
    ports.publish(ONE, [port])
    assert ports.published(ONE) == (port,)
    assert list(ports.list()) == [ONE]
    ports.publish(ONE, ())
    assert ports.published(ONE) == ()
    assert list(ports.list()) == []


def test_all_of_them_at_once_sorted_and_each_once(ports: PortPublisher, again: Callable[[], PortPublisher]) -> None:
    ports.publish(ONE, [*reversed(EVERY_KIND), WEB])
    found = ports.published(ONE)
    assert len(found) == len(EVERY_KIND)
    assert set(found) == set(EVERY_KIND)
    ports.publish(ONE, EVERY_KIND)
    assert ports.published(ONE) == found
    assert again().published(ONE) == found


def test_what_is_published_takes_the_place_of_what_was(ports: PortPublisher) -> None:
    moved = PublishedPort(8080, 81, "", "tcp", "10.42.0.3", "fd42::3")
    more = PublishedPort(8081, 80, "", "tcp", V4, V6)
    for wanted in ([WEB], [WEB, more], [moved, more], [moved]):
        ports.publish(ONE, wanted)
        assert set(ports.published(ONE)) == set(wanted)


def test_owners_are_apart(ports: PortPublisher) -> None:
    udp = PublishedPort(8080, 80, "", "udp", V4)
    ports.publish(ONE, [WEB])
    ports.publish(TWO, [udp])
    assert list(ports.list()) == [ONE, TWO]
    ports.publish(ONE, ())
    assert ports.published(TWO) == (udp,)
    assert list(ports.list()) == [TWO]


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (("", V4, V6), ("", V4, V6), False),
        (("", V4, ""), ("", "", V6), False),
        (("", V4, V6), ("0.0.0.0", V4, V6), False),
        (("::", V4, ""), ("", V4, V6), False),
        (("0.0.0.0", V4, V6), ("::", V4, V6), True),
        (("127.0.0.1", V4, V6), ("127.0.0.1", V4, V6), False),
        (("127.0.0.1", V4, V6), ("127.0.0.2", V4, V6), True),
        (("2001:db8::1", V4, V6), ("2001:db8::1", V4, V6), False),
        (("192.0.2.1", V4, V6), ("2001:db8::1", V4, V6), True),
    ],
)
def test_a_port_has_one_owner(
    ports: PortPublisher, first: tuple[str, str, str], second: tuple[str, str, str], fits: bool
) -> None:
    one, two = (PublishedPort(8080, 80, at, "tcp", ipv4, ipv6) for at, ipv4, ipv6 in (first, second))
    ports.publish(ONE, [one])
    if fits:
        ports.publish(TWO, [two])
        assert ports.published(TWO) == (two,)
    else:
        with pytest.raises(Conflict, match=ONE):
            ports.publish(TWO, [two])
        assert ports.published(TWO) == ()
        assert list(ports.list()) == [ONE]
        ports.publish(ONE, ())
        ports.publish(TWO, [two])
        assert ports.published(TWO) == (two,)


def test_a_port_that_a_process_of_the_host_has_stays_its_own(
    ports: PortPublisher, occupy: Callable[[int], None]
) -> None:
    occupy(8081)
    taken = PublishedPort(8081, 80, "", "tcp", V4, V6)
    ports.publish(ONE, [WEB])
    for wanted in ([WEB, taken], [taken]):
        with pytest.raises(Conflict, match="8081"):
            ports.publish(ONE, wanted)
        assert ports.published(ONE) == (WEB,)
    with pytest.raises(Conflict, match="8081"):
        ports.publish(TWO, [taken])
    assert list(ports.list()) == [ONE]
    ports.publish(TWO, [PublishedPort(8081, 80, "", "udp", V4, V6)])


def test_one_owner_has_a_port_once(ports: PortPublisher) -> None:
    for other in (PublishedPort(8080, 81, "", "tcp", V4, V6), PublishedPort(8080, 80, "0.0.0.0", "tcp", V4, V6)):
        with pytest.raises(InvalidArgument, match="published twice"):
            ports.publish(ONE, [WEB, other])
    assert list(ports.list()) == []


@pytest.mark.parametrize(
    "port",
    [
        PublishedPort(0, 80, "", "tcp", V4),
        PublishedPort(65536, 80, "", "tcp", V4),
        PublishedPort(8080, 0, "", "tcp", V4),
        PublishedPort(8080, 80, "", "sctp", V4),  # type: ignore[arg-type]
        PublishedPort(8080, 80, "localhost", "tcp", V4),
        PublishedPort(8080, 80, "127.0.0.1\n", "tcp", V4),
        PublishedPort(8080, 80, "fe80::1%eth0", "tcp", V4),
        PublishedPort(8080, 80, "0:0:0:0:0:0:0:1", "tcp", V4),
        PublishedPort(8080, 80, "", "tcp"),
        PublishedPort(8080, 80, "", "tcp", V6),
        PublishedPort(8080, 80, "", "tcp", V4, V4),
        PublishedPort(8080, 80, "", "tcp", "10.42.0.2 accept"),
        PublishedPort(8080, 80, "127.0.0.1", "tcp", "", V6),
        PublishedPort(8080, 80, "0.0.0.0", "tcp", "", V6),
    ],
    ids=str,
)
def test_a_port_that_cannot_be_is_refused_and_changes_nothing(ports: PortPublisher, port: PublishedPort) -> None:
    ports.publish(ONE, [WEB])
    with pytest.raises(InvalidArgument):
        ports.publish(ONE, [port])
    assert ports.published(ONE) == (WEB,)


@pytest.mark.parametrize("bad", ["", "..", "a b", "A", "a" * 65, "a\n"])
def test_an_owner_is_checked(ports: PortPublisher, bad: str) -> None:
    with pytest.raises(InvalidArgument):
        ports.publish(bad, [WEB])
    with pytest.raises(InvalidArgument):
        ports.published(bad)
