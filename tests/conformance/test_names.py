"""What every resolver does, the twin in memory and the real process."""

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drivers.kernel.mount import mounts, unmount
from drivers.network.names.client import ResolverClient
from drivers.network.names.fake import FakeNames, FakeProxies
from drivers.network.names.interface import Forward, MemberNames, Names, Proxies, SandboxNames
from drivers.network.sandbox.namespaces import NetnsSandboxes
from resources.errors import Conflict, InvalidArgument

ONE, TWO = "1" * 64, "2" * 64
ME, YOU = "a" * 32, "b" * 32


@dataclass
class Resolver:
    names: Names
    proxies: Proxies
    netns: Callable[[str], Path]
    die: Callable[[], None]
    occupy: Callable[[int], None]
    free_port: Callable[[], int]

    def sandbox(self, sandbox_id: str, *members: MemberNames) -> SandboxNames:
        return SandboxNames(
            sandbox_id, self.netns(sandbox_id), members or (MemberNames("n1", ("web",), ("10.0.0.2",)),)
        )


@pytest.fixture(params=["fake", pytest.param("process", marks=pytest.mark.host)])
def resolver(request: pytest.FixtureRequest, short_path: Path, instance: str) -> Iterator[Resolver]:
    if request.param == "fake":
        names = FakeNames()
        proxies = FakeProxies(names.resolver)
        ports = iter(range(20000, 30000))
        yield Resolver(
            names, proxies, lambda name: Path("/fake/netns") / name, names.die,
            lambda port: proxies.occupy("tcp", "::1", port), lambda: next(ports),
        )  # fmt: skip
        return
    yield from _real(short_path, instance)


def _real(short_path: Path, instance: str) -> Iterator[Resolver]:
    sandboxes = NetnsSandboxes(short_path, instance)
    client = ResolverClient(short_path, instance)
    held: list[socket.socket] = []

    def occupy(port: int) -> None:
        held.append(socket.create_server(("::1", port), family=socket.AF_INET6))

    yield Resolver(
        client.names, client.proxies, lambda name: sandboxes.create(name).netns or Path(), lambda: kill(short_path),
        occupy, free_port,
    )  # fmt: skip
    for one in held:
        one.close()
    client.names.stop()
    for sandbox_id in sandboxes.list():
        sandboxes.delete(sandbox_id)
    for mounted in mounts():
        if mounted.target.startswith(str(short_path)):
            unmount(Path(mounted.target))


def kill(run_root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(run_root / "resolver" / "control.sock"))
        pid = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(5000)
    os.close(process)


def free_port() -> int:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
        return int(one.getsockname()[1])


def forward(port: int, target: str = "10.0.0.2", protocol: str = "tcp") -> Forward:
    return Forward(protocol, "::1", port, target, 80)  # type: ignore[arg-type]


def test_absence_is_a_value_and_starts_nothing(resolver: Resolver) -> None:
    assert resolver.names.get(ONE) is None
    assert list(resolver.names.list()) == []
    assert resolver.proxies.get(ME) == ()
    assert list(resolver.proxies.list()) == []
    resolver.names.remove(ONE)
    resolver.proxies.set(ME, ())
    resolver.names.stop()


def test_what_is_set_is_there_to_the_last_field(resolver: Resolver) -> None:
    members = (
        MemberNames("n1", ("web", "web.example"), ("10.0.0.2", "fd00::2")),
        MemberNames("n2", (), ("10.1.0.2",)),
        MemberNames("n3", ("alone",), ()),
    )
    wanted = replace(resolver.sandbox(ONE, *members), forward=False, servers=("192.0.2.1", "2001:db8::1"))
    resolver.names.set(wanted)
    assert resolver.names.get(ONE) == wanted
    resolver.names.set(wanted)
    assert resolver.names.get(ONE) == wanted
    changed = replace(wanted, members=members[:1], forward=True, servers=())
    resolver.names.set(changed)
    assert resolver.names.get(ONE) == changed
    assert list(resolver.names.list()) == [ONE]


def test_sandboxes_come_and_go_alone(resolver: Resolver) -> None:
    first, second = resolver.sandbox(ONE), resolver.sandbox(TWO)
    resolver.names.set(second)
    resolver.names.set(first)
    assert list(resolver.names.list()) == [ONE, TWO]
    resolver.names.remove(ONE)
    assert resolver.names.get(ONE) is None
    assert resolver.names.get(TWO) == second
    resolver.names.remove(ONE)


def test_a_killed_process_is_absence_and_goes_on_from_its_snapshot(resolver: Resolver) -> None:
    first, second, port = resolver.sandbox(ONE), resolver.sandbox(TWO), resolver.free_port()
    resolver.names.set(first)
    resolver.proxies.set(ME, (forward(port),))
    resolver.die()
    assert resolver.names.get(ONE) is None
    assert list(resolver.names.list()) == []
    assert resolver.proxies.get(ME) == ()
    assert list(resolver.proxies.list()) == []
    resolver.names.set(second)
    assert resolver.names.get(ONE) == first
    assert resolver.names.get(TWO) == second
    assert resolver.proxies.get(ME) == (forward(port),)


def test_ports_start_the_process_too(resolver: Resolver) -> None:
    first = resolver.sandbox(ONE)
    resolver.names.set(first)
    resolver.die()
    resolver.proxies.set(ME, (forward(resolver.free_port()),))
    assert resolver.names.get(ONE) == first


def test_what_is_removed_while_the_process_is_dead_stays_removed(resolver: Resolver) -> None:
    port = resolver.free_port()
    resolver.names.set(resolver.sandbox(ONE))
    resolver.names.set(resolver.sandbox(TWO))
    resolver.proxies.set(ME, (forward(port),))
    resolver.die()
    resolver.names.remove(ONE)
    assert list(resolver.names.list()) == [TWO]
    resolver.die()
    resolver.proxies.set(ME, ())
    assert list(resolver.proxies.list()) == []
    assert list(resolver.names.list()) == [TWO]


def test_stopped_it_has_forgotten_all(resolver: Resolver) -> None:
    resolver.names.set(resolver.sandbox(ONE))
    resolver.proxies.set(ME, (forward(resolver.free_port()),))
    resolver.names.stop()
    resolver.names.stop()
    assert resolver.names.get(ONE) is None
    resolver.names.set(resolver.sandbox(TWO))
    assert list(resolver.names.list()) == [TWO]
    assert list(resolver.proxies.list()) == []


def test_forwards_are_replaced_as_a_whole(resolver: Resolver) -> None:
    one, two, three = (forward(resolver.free_port()) for _ in range(3))
    resolver.proxies.set(ME, (one, two))
    assert resolver.proxies.get(ME) == (one, two)
    resolver.proxies.set(ME, (three, two))
    assert resolver.proxies.get(ME) == (three, two)
    moved = replace(two, target="10.0.0.3")
    resolver.proxies.set(ME, (moved,))
    assert resolver.proxies.get(ME) == (moved,)
    assert list(resolver.proxies.list()) == [ME]
    resolver.proxies.set(ME, ())
    assert list(resolver.proxies.list()) == []
    resolver.proxies.set(YOU, (one,))
    assert resolver.proxies.get(YOU) == (one,)


def test_tcp_and_udp_of_one_port_are_two(resolver: Resolver) -> None:
    port = resolver.free_port()
    both = (forward(port), forward(port, protocol="udp"))
    resolver.proxies.set(ME, both)
    assert resolver.proxies.get(ME) == both


def test_a_port_that_is_somebodys_is_refused_by_number_and_nothing_changes(resolver: Resolver) -> None:
    mine, other = forward(resolver.free_port()), forward(resolver.free_port())
    resolver.proxies.set(ME, (mine,))
    with pytest.raises(Conflict, match=f"port {mine.port}/tcp.*{ME}"):
        resolver.proxies.set(YOU, (other, mine))
    assert resolver.proxies.get(YOU) == ()
    everywhere = replace(mine, address="::")
    with pytest.raises(Conflict, match=str(mine.port)):
        resolver.proxies.set(YOU, (everywhere,))
    resolver.proxies.set(ME, (everywhere,))
    assert resolver.proxies.get(ME) == (everywhere,)


def test_a_port_is_held_that_is_led_nowhere(resolver: Resolver) -> None:
    one, two = (Forward("tcp", "::", resolver.free_port()), Forward("udp", "127.0.0.1", resolver.free_port()))
    resolver.proxies.set(ME, (one, two))
    assert resolver.proxies.get(ME) == (one, two)
    for other in (one, two, replace(one, address="::1"), forward(one.port), replace(two, address="0.0.0.0")):
        with pytest.raises(Conflict, match=f"port {other.port}/{other.protocol}.*{ME}"):
            resolver.proxies.set(YOU, (other,))
    # The owner itself has it proxied at one address, in whatever order that comes.
    for wanted in ((one, forward(one.port)), (forward(one.port),), (forward(one.port), one), (one,), (two, one)):
        resolver.proxies.set(ME, wanted)
        assert resolver.proxies.get(ME) == wanted
    resolver.proxies.set(ME, ())
    resolver.proxies.set(YOU, (one, two))
    assert resolver.proxies.get(YOU) == (one, two)


def test_what_was_taken_while_the_process_was_dead_is_not_held_again(resolver: Resolver) -> None:
    kept, lost = (Forward("tcp", "::1", resolver.free_port()) for _ in range(2))
    resolver.proxies.set(ME, (kept, lost))
    resolver.proxies.set(YOU, (forward(resolver.free_port()),))
    resolver.die()
    resolver.occupy(lost.port)
    resolver.names.set(resolver.sandbox(ONE))
    assert resolver.proxies.get(ME) == (kept,)
    assert list(resolver.proxies.list()) == [ME, YOU]
    with pytest.raises(Conflict, match=f"port {lost.port}/tcp at ::1 is taken: a process on the host has it"):
        resolver.proxies.set(ME, (kept, lost))
    assert resolver.proxies.get(ME) == (kept,)


def test_a_port_that_a_process_of_the_host_has_is_refused(resolver: Resolver) -> None:
    kept, taken = forward(resolver.free_port()), forward(resolver.free_port())
    resolver.occupy(taken.port)
    resolver.proxies.set(ME, (kept,))
    with pytest.raises(Conflict, match=f"port {taken.port}/tcp.*a process on the host"):
        resolver.proxies.set(ME, (taken,))
    assert resolver.proxies.get(ME) == (kept,)
    # With what it had in the way of what it asks for, all is as it was as well.
    with pytest.raises(Conflict):
        resolver.proxies.set(ME, (replace(kept, address="::"), taken))
    assert resolver.proxies.get(ME) == (kept,)


@pytest.mark.parametrize("bad", ["", "..", "../" * 21 + "x", "A" * 64, "1" * 63, "1" * 63 + "\n"])
def test_ids_are_checked(resolver: Resolver, bad: str) -> None:
    for call in (resolver.names.get, resolver.names.remove):
        with pytest.raises(InvalidArgument):
            call(bad)
    with pytest.raises(InvalidArgument):
        resolver.names.set(SandboxNames(bad, Path("/n"), ()))
    if not bad.isalnum():
        with pytest.raises(InvalidArgument):
            resolver.proxies.set(bad, ())
        with pytest.raises(InvalidArgument):
            resolver.proxies.get(bad)


@pytest.mark.parametrize(
    "member",
    [
        MemberNames("n", ("UPPER",), ()),
        MemberNames("n", ("a..b",), ()),
        MemberNames("n", ("a\nb",), ()),
        MemberNames("n", ("x" * 64,), ()),
        MemberNames("n", (".".join(["x" * 50] * 6),), ()),
        MemberNames("n", ("bücher",), ()),
        MemberNames("n", ("",), ()),
        MemberNames("n", (), ("10.0.0.1/24",)),
        MemberNames("n", (), ("fe80::1%eth0",)),
        MemberNames("../n", (), ()),
    ],
)
def test_names_and_addresses_are_checked(resolver: Resolver, member: MemberNames) -> None:
    with pytest.raises(InvalidArgument):
        resolver.names.set(SandboxNames(ONE, Path("/n"), (member,)))
    assert list(resolver.names.list()) == []


@pytest.mark.parametrize(
    "bad",
    [
        replace(forward(80), port=0),
        replace(forward(80), target_port=65536),
        replace(forward(80), target="db"),
        replace(forward(80), address="localhost"),
        replace(forward(80), address="::1%\n"),
        replace(forward(80), protocol="sctp"),  # type: ignore[arg-type]
    ],
)
def test_forwards_are_checked(resolver: Resolver, bad: Forward) -> None:
    with pytest.raises(InvalidArgument):
        resolver.proxies.set(ME, (bad,))
