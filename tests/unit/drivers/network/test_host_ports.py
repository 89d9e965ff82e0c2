"""Ports of the host, who has them and who gets which."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from controller.store.sqlite import SqliteStore
from drivers.network.ports import allocations as module
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.interface import Listener, PortRequest, SocketOwner
from drivers.network.ports.listeners import ports_of
from resources.errors import Conflict, InvalidArgument, ResourceExhausted
from resources.ports import overlap

FREE = range(50000, 50004)


@pytest.fixture
def allocations() -> Allocations:
    return Allocations(MemoryStore())


def engine(
    allocations: Allocations,
    listeners: Sequence[Listener] = (),
    reserved: Callable[[], frozenset[int]] = frozenset,
    free: range = FREE,
) -> StoredHostPorts:
    return StoredHostPorts(
        allocations,
        lambda: listeners,
        owner=lambda listener: SocketOwner(listener.inode, "some"),
        reserved=reserved,
        free=free,
    )


def hosts(ports: Sequence[PortRequest]) -> list[int | None]:
    return [port.host for port in ports]


def test_ports_that_are_asked_for(allocations: Allocations) -> None:
    ports = engine(allocations)
    asked = (PortRequest(80, 8080), PortRequest(53, 53, protocol="udp"), PortRequest(53, 53, "127.0.0.1"))
    assert ports.held("a", asked) == ()
    assert ports.allocate("a", asked) == asked
    assert ports.allocate("a", asked) == ports.held("a", asked) == asked
    assert engine(allocations).held("a", asked[::-1]) == asked[::-1]
    assert ports.held("a", asked[:2]) == (), "more is held than that"
    assert ports.allocate("a", asked[:2]) == asked[:2]
    assert set(allocations.taken("port")) == {"tcp:8080:", "udp:53:"}, "what is asked for no more is freed"
    changed = (PortRequest(81, 8080), asked[1])
    assert ports.held("a", changed) == changed, "which port of the container it is takes none of the host"
    ports.release("a")
    ports.release("a")
    assert allocations.held("a") == {}
    assert ports.held("a", ()) == ports.allocate("a", ()) == ()


@pytest.mark.parametrize(
    ("theirs", "ours", "conflict"),
    [
        ("", "", True),
        ("", "127.0.0.1", True),
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "0:0::1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "::", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "::1", True),
    ],
)
def test_the_rules_of_conflict(allocations: Allocations, theirs: str, ours: str, conflict: bool) -> None:
    ports = engine(allocations)
    ports.allocate("a" * 32, [PortRequest(80, 8080, theirs)])
    ports.allocate("b", [PortRequest(80, 8080, ours, "udp"), PortRequest(80, 808, ours)])
    if not conflict:
        ports.allocate("c", [PortRequest(80, 8080, ours)])
        return
    with pytest.raises(Conflict, match=r"^the host's port 8080/tcp belongs to aaaaaaaaaaaa already, at "):
        ports.allocate("c", [PortRequest(80, 8081), PortRequest(80, 8080, ours)])
    assert allocations.held("c") == {}, "all or nothing"
    with pytest.raises(InvalidArgument, match="8080/tcp is asked for twice"):
        ports.allocate("d", [PortRequest(80, 8080, theirs), PortRequest(81, 8080, ours)])


def test_two_change_ports_with_each_other(allocations: Allocations) -> None:
    ports = engine(allocations)
    ports.allocate("a", (PortRequest(80, 8081), PortRequest(81, 9000)))
    ports.allocate("b", (PortRequest(80, 8082),))
    asked = (PortRequest(80, 8082), PortRequest(81, 9000))
    with pytest.raises(Conflict, match=r"8082/tcp belongs to b already"):
        ports.allocate("a", asked)
    assert allocations.held("a") == {("port", "tcp:9000:"): "tcp:9000:"}, "what it still asks for it keeps"
    assert hosts(ports.allocate("b", (PortRequest(80, 8081),))) == [8081]
    assert ports.allocate("a", asked) == asked


def test_what_is_no_port(allocations: Allocations) -> None:
    ports = engine(allocations)
    for request in (
        PortRequest(0),
        PortRequest(80, 65536),
        PortRequest(80, 0),
        PortRequest(80, 8080, "localhost"),
        PortRequest(80, 8080, protocol="sctp"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidArgument):
            ports.allocate("a", [request])
        assert ports.held("a", [request]) == ()


def test_free_ports(allocations: Allocations) -> None:
    listeners = [
        Listener("tcp", "0.0.0.0", 50001, inode=1),
        Listener("udp", "0.0.0.0", 50000),
        Listener("tcp", "0.0.0.0", 8080),
    ]
    ports = engine(allocations, listeners, lambda: ports_of("50003,8000-8100"))
    asked = [PortRequest(80), PortRequest(80)]
    got = ports.allocate("a", asked)
    assert sorted(hosts(got), key=str) == [50000, 50002]
    assert ports.allocate("a", asked) == ports.held("a", asked) == engine(allocations).held("a", asked) == got
    with pytest.raises(ResourceExhausted, match="none of the host's tcp ports from 50000 to 50003 is free"):
        ports.allocate("b", [PortRequest(80)])
    (other,) = hosts(ports.allocate("b", [PortRequest(53, protocol="udp")]))
    assert other in (50001, 50002)
    assert ports.held("a", asked[:1]) == ()
    assert ports.allocate("a", asked[:1]) == got[:1], "the same of a container's port keeps its own"
    assert ports.listeners() is listeners
    assert str(ports.owner(listeners[0])) == "some (pid 1)"


def test_a_search_under_way_learns_of_fixed_ports(allocations: Allocations) -> None:
    ports = engine(allocations)
    (first,) = ports.allocate("a", [PortRequest(80)])
    others = [port for port in FREE if port != first.host]
    for port in others[:2]:
        ports.allocate(f"{port}", [PortRequest(80, port, "127.0.0.1")])
    assert hosts(ports.allocate("b", [PortRequest(80)])) == others[2:]
    with pytest.raises(ResourceExhausted):
        ports.allocate("c", [PortRequest(80)])
    (beside,) = hosts(ports.allocate("c", [PortRequest(80, address="127.0.0.2")]))
    assert beside in others[:2]


def test_a_listener_is_in_the_way_where_it_listens(allocations: Allocations) -> None:
    for listener, address, free in (
        (Listener("tcp", "::", 50000), "127.0.0.1", False),
        (Listener("tcp", "::", 50000), "::1", False),
        (Listener("tcp", "::", 50000, v6_only=True), "127.0.0.1", True),
        (Listener("tcp", "::", 50000, v6_only=True), "", False),
        (Listener("tcp", "0.0.0.0", 50000), "::1", True),
        (Listener("tcp", "0.0.0.0", 50000), "", False),
        (Listener("tcp", "127.0.0.1", 50000), "", False),
        (Listener("tcp", "127.0.0.1", 50000), "127.0.0.2", True),
        (Listener("tcp", "::ffff:127.0.0.1", 50000), "127.0.0.1", False),
        (Listener("udp", "::", 50000), "", True),
    ):
        ports = engine(allocations, [listener], free=range(50000, 50001))
        if free:
            assert hosts(ports.allocate("a", [PortRequest(80, address=address)])) == [50000]
        else:
            with pytest.raises(ResourceExhausted):
                ports.allocate("a", [PortRequest(80, address=address)])
        ports.release("a")


def test_one_that_listens_behind_what_is_held_does_not_take_it(allocations: Allocations) -> None:
    listeners: list[Listener] = []
    ports = engine(allocations, listeners)
    got = ports.allocate("a", [PortRequest(80)])
    listeners += [Listener("tcp", "::", port) for port in FREE]
    assert ports.allocate("a", [PortRequest(80)]) == got


def test_a_free_port_may_be_made_a_fixed_one(allocations: Allocations) -> None:
    ports = engine(allocations)
    (got,) = ports.allocate("a", [PortRequest(80)])
    assert ports.allocate("a", [got]) == (got,)
    other = ports.allocate("a", [PortRequest(80), got])
    assert other[1] == got
    assert other[0].host not in (None, got.host)
    mine = ports.allocate("a", [PortRequest(80), PortRequest(81, other[0].host)])
    assert mine[1].host == other[0].host
    assert mine[0].host != other[0].host, "the fixed one comes first"


def test_one_more_free_port_takes_none_that_is_held(allocations: Allocations) -> None:
    for number in range(20):
        ports = engine(allocations, free=FREE[:2])
        (got,) = ports.allocate(f"{number}", [PortRequest(80)])
        both = ports.allocate(f"{number}", [PortRequest(79), PortRequest(80)])
        assert both[1] == got
        assert {both[0].host, got.host} == set(FREE[:2])
        ports.release(f"{number}")


def test_a_freed_port_comes_again_as_late_as_possible(allocations: Allocations) -> None:
    ports, got = engine(allocations), []
    for number in range(8):
        got += hosts(ports.allocate(f"{number}", [PortRequest(80)]))
        ports.release(f"{number}")
    assert set(got[:4]) == set(FREE)
    assert got[:4] == got[4:]


def test_what_goes_with_an_object_is_found_free_again(allocations: Allocations) -> None:
    ports = engine(allocations)
    for number in range(4):
        ports.allocate(f"{number}", [PortRequest(80)])
    (gone,) = ports.held("2", [PortRequest(80)])
    allocations.hold("2", "port", {})  # not by this engine's leave
    assert ports.allocate("a", [PortRequest(80)]) == (gone,)


def test_many_ports(allocations: Allocations) -> None:
    ports = engine(allocations, free=range(49152, 65536))
    asked = [PortRequest(number, number) for number in range(1, 1001)] + [PortRequest(80)] * 20
    got = ports.allocate("a", asked)
    assert got == ports.held("a", asked)
    assert len(allocations.taken("port")) == len(set(hosts(got))) == 1020


def test_what_the_administrator_reserves() -> None:
    assert ports_of("") == ports_of("\n") == frozenset()
    assert ports_of("8080,9148-9150\n") == {8080, 9148, 9149, 9150}


def test_threads_and_engines_never_give_the_same_port_twice(tmp_path: Path) -> None:
    """Two engines cannot have one store; if they had, it would still hold."""
    store = SqliteStore(tmp_path / "store.db")
    engines = [engine(Allocations(store), free=range(50000, 50060)) for _ in range(2)]
    got: list[int | None] = []
    failed: list[str] = []

    def take(number: int) -> None:
        for turn in range(4):
            try:
                got.extend(hosts(engines[number % 2].allocate(f"{number}-{turn}", [PortRequest(80), PortRequest(443)])))
            except ResourceExhausted as error:
                failed.append(str(error))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(got) == 60
    assert len(failed) == 2
    assert len(Allocations(store).taken("port")) == len(got)
    store.close()


def test_many_free_ports_cost_no_more_than_as_many(allocations: Allocations, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def counted(one: str | None, other: str | None) -> bool:
        compared.append(one)
        return overlap(one, other)

    monkeypatch.setattr(module, "overlap", counted)
    ports, asked = engine(allocations, free=range(50000, 52000)), [PortRequest(number) for number in range(1, 401)]
    given = ports.allocate("a", asked)
    assert len(set(hosts(given))) == 400
    assert ports.allocate("a", [*asked, PortRequest(500)])[:400] == given
    assert len(compared) < 10 * 400
