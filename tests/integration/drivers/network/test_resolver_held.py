"""Ports that the resolver process holds, so that no process of the host gets them."""

import errno
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.network.names import process
from drivers.network.names.interface import Forward, MemberNames
from drivers.network.ports.listeners import HostListeners, all_listeners
from resources.errors import Conflict, FailedPrecondition, ResourceExhausted
from tests.integration.drivers.network.resolving import HOST, World, world

pytestmark = pytest.mark.host
ME, YOU = "a" * 32, "b" * 32
TARGET = "127.0.0.1"
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
HELD4, HELD6 = Forward("tcp", "0.0.0.0", 8080), Forward("tcp", "::", 8080)


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        made.sandbox(1, MemberNames("n", ("web",), ("10.0.1.2",)))
        yield made


def took(
    net: World,
    address: str,
    port: int,
    protocol: str = "tcp",
    *,
    shared: tuple[int, ...] = (),
    both: bool = False,
    listens: bool = True,
) -> socket.socket | None:
    """What another program gets there; None when the port is in use. `shared` are options that let others be beside it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = net.socket(HOST, KINDS[protocol], family)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    for option in shared:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        made.bind((address, port))
        if protocol == "tcp" and listens:
            made.listen()
    except OSError as error:
        made.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return made


SHARING = [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("shared", SHARING, ids=len)
def test_nobody_gets_a_port_that_is_held(net: World, protocol: str, shared: tuple[int, ...]) -> None:
    net.proxies.set(ME, [Forward(protocol, "0.0.0.0", 8080), Forward(protocol, "127.0.0.1", 8081)])  # type: ignore[arg-type]
    for address, port in (("0.0.0.0", 8080), ("127.0.0.1", 8080), ("0.0.0.0", 8081), ("127.0.0.1", 8081)):
        assert took(net, address, port, protocol, shared=shared) is None
    assert took(net, "::", 8080, protocol, shared=shared, both=True) is None
    for address, port in (("::", 8080), ("127.0.0.2", 8081)):
        free = took(net, address, port, protocol, shared=shared)
        assert free is not None, "what is not held is anybody's"
        free.close()
    net.proxies.set(ME, [])
    for port in (8080, 8081):
        assert took(net, "0.0.0.0", port, protocol, shared=shared)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_localhost_is_proxied_beside_a_hold_of_all_addresses(net: World, protocol: str) -> None:
    server = net.socket(HOST, KINDS[protocol])
    server.bind((TARGET, 0))
    if protocol == "tcp":
        server.listen()
    target = server.getsockname()[1]
    hold = Forward(protocol, "::", 8080)  # type: ignore[arg-type]
    lead = Forward(protocol, "::1", 8080, TARGET, target)  # type: ignore[arg-type]
    wide = Forward(protocol, "::", 8080, TARGET, target)  # type: ignore[arg-type]
    # In whatever order they are asked for, and whatever was there before.
    for wanted in ([lead], [lead, hold], [wide], [hold, lead], [hold], [lead, hold], [hold], [wide], [lead]):
        net.proxies.set(ME, wanted)
        assert net.proxies.get(ME) == tuple(wanted)
        answer(net, server, protocol, there=hold is not wanted[0] or len(wanted) > 1)
        for shared in SHARING:
            assert took(net, "::1", 8080, protocol, shared=shared) is None
            if wanted != [lead]:
                assert took(net, "::", 8080, protocol, shared=shared) is None
    with pytest.raises(Conflict, match=ME):
        net.proxies.set(YOU, [hold])
    net.proxies.set(ME, [hold])
    with pytest.raises(Conflict, match=ME):
        net.proxies.set(YOU, [lead])
    answer(net, server, protocol, there=False)


def answer(net: World, server: socket.socket, protocol: str, *, there: bool) -> None:
    with net.inside(HOST, lambda: socket.socket(socket.AF_INET6, KINDS[protocol])) as client:
        client.settimeout(5)
        if not there:
            if protocol == "tcp":
                with pytest.raises(ConnectionRefusedError):
                    client.connect(("::1", 8080))
            return
        client.connect(("::1", 8080))
        client.send(b"hello")
        if protocol == "tcp":
            with server.accept()[0] as accepted:
                assert accepted.recv(10) == b"hello"
        else:
            assert server.recv(10) == b"hello"


def test_connections_are_not_in_the_way(net: World) -> None:
    """A service that was ended leaves some, and any program may begin one at a port that is free."""
    service = took(net, "127.0.0.1", 8080, shared=(socket.SO_REUSEADDR,))
    assert service is not None
    client = net.socket(HOST, socket.SOCK_STREAM)
    client.connect(("127.0.0.1", 8080))
    accepted = service.accept()[0]
    begun = client.getsockname()[1]
    wanted = [HELD4, Forward("tcp", "0.0.0.0", begun)]
    with pytest.raises(Conflict, match=r"8080/tcp at 0\.0\.0\.0 is taken: a process on the host has it"):
        net.proxies.set(ME, wanted)
    service.close()
    net.proxies.set(ME, wanted)
    assert net.proxies.get(ME) == tuple(wanted)
    client.send(b"still")
    assert accepted.recv(10) == b"still"
    net.proxies.set(ME, [])
    accepted.close()
    client.recv(1)
    client.close()  # which leaves 8080 waiting for a minute
    net.proxies.set(ME, wanted)
    for port in (8080, begun):
        for shared in SHARING:
            assert took(net, "127.0.0.1", port, shared=shared) is None


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("listens", [True, False])
def test_who_is_bound_keeps_the_port(net: World, protocol: str, listens: bool) -> None:
    connection = took(net, "127.0.0.1", 0)
    assert connection is not None
    mine = Forward(protocol, "0.0.0.0", 8081)  # type: ignore[arg-type]
    net.proxies.set(ME, [mine])
    stranger = took(net, "127.0.0.1", 8080, protocol, listens=listens)
    assert stranger is not None
    with pytest.raises(Conflict, match=f"8080/{protocol} at 0.0.0.0 is taken: a process on the host has it"):
        net.proxies.set(ME, [mine, Forward(protocol, "0.0.0.0", 8080)])  # type: ignore[arg-type]
    assert net.proxies.get(ME) == (mine,)
    assert took(net, "127.0.0.1", 8081, protocol) is None
    stranger.close()
    net.proxies.set(ME, [Forward(protocol, "0.0.0.0", 8080)])  # type: ignore[arg-type]


def test_what_the_host_does_not_have_is_told(net: World) -> None:
    with pytest.raises(
        FailedPrecondition, match=r"80/tcp at 198\.51\.100\.1 cannot be published: the host has no such address"
    ):
        net.proxies.set(ME, [HELD4, Forward("tcp", "198.51.100.1", 80)])
    assert net.proxies.get(ME) == ()
    assert took(net, "0.0.0.0", 8080)


def test_a_killed_process_holds_again_what_nobody_took(net: World) -> None:
    other = Forward("udp", "0.0.0.0", 8080)
    net.proxies.set(ME, [HELD4, HELD6, other])
    net.proxies.set(YOU, [Forward("tcp", "0.0.0.0", 8081)])
    net.kill()
    taken = took(net, "127.0.0.1", 8080, "udp")
    gone = took(net, "127.0.0.1", 8081)
    assert taken is not None
    assert gone is not None
    net.sandbox(2, MemberNames("n", ("second",), ("10.0.1.3",)))
    assert net.proxies.get(ME) == (HELD4, HELD6)
    assert net.proxies.get(YOU) == ()
    for address in ("0.0.0.0", "::"):
        assert took(net, address, 8080) is None
    taken.close()
    net.kill()
    net.sandbox(2, MemberNames("n", ("second",), ("10.0.1.4",)))
    assert net.proxies.get(ME) == (HELD4, HELD6, other), "as it was told, and not as it had it last"


def test_what_comes_without_a_rule_does_not_pile_up(net: World) -> None:
    net.proxies.set(ME, [Forward("udp", "0.0.0.0", 8080)])
    client = net.socket(HOST)
    for _ in range(1000):
        client.sendto(bytes(1000), ("127.0.0.1", 8080))
    [line] = [line for line in net.run("cat", "/proc/net/udp", sandbox=HOST).splitlines() if ":1F90" in line]
    assert int(line.split()[4].partition(":")[2], 16) < 8192
    made = net.socket(HOST, socket.SOCK_STREAM)
    net.proxies.set(ME, [HELD4])
    with pytest.raises(ConnectionRefusedError):
        made.connect(("127.0.0.1", 8080))


def test_what_is_held_is_no_listener_but_what_others_hold_is(net: World) -> None:
    net.proxies.set(ME, [HELD4, HELD6, Forward("udp", "0.0.0.0", 53), Forward("tcp", "::1", 8080, TARGET, 80)])
    held = took(net, "127.0.0.1", 8082, listens=False)
    assert held is not None
    ours, all_of = net.inside(HOST, lambda: (HostListeners(net.client.pid)(), all_listeners()))
    assert {one.port for one in all_of} == {8080, 53, 8082}
    assert [(one.protocol, one.address, one.port) for one in ours] == [("tcp", "127.0.0.1", 8082)]
    whose = HostListeners(net.client.pid).whose
    said = net.inside(HOST, lambda: whose([HELD4, HELD6, Forward("tcp", "0.0.0.0", 8082)]))
    assert said.startswith("the host's port 8082/tcp is in use: ")
    assert said.endswith("has it at 127.0.0.1")
    assert net.inside(HOST, lambda: whose([HELD4, Forward("udp", "0.0.0.0", 8082), Forward("tcp", "::", 8082)])) == ""


def test_thousands_are_held_at_once_and_cheap(net: World) -> None:
    many = [Forward(protocol, "0.0.0.0", port) for protocol in ("tcp", "udp") for port in range(10000, 12000)]  # type: ignore[arg-type]
    net.proxies.set(ME, many[:10])
    before, begin = net.memory(), time.perf_counter()
    net.proxies.set(ME, many)
    took_ms = 1000 * (time.perf_counter() - begin) / len(many)
    each = (net.memory() - before) * 1024 / len(many)
    assert len(net.proxies.get(ME)) == len(many)
    print(f"\n{took_ms:.3f} ms and {each:.0f} bytes a port")
    assert took_ms < 0.3, "0.04 on an idle machine"
    assert each < 4096
    begin = time.perf_counter()
    net.proxies.set(ME, [])
    assert time.perf_counter() - begin < 1


def test_there_is_a_bound_and_what_does_not_fit_is_not_there(short_path: Path, instance: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    del hard
    engine_limit = process._SPARE + 40
    with world(short_path, instance) as net:
        script = (
            f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({engine_limit}, {engine_limit}))\n"
            f"client.names.set(SandboxNames('{1:064x}', Path('{net.netns(HOST)}'), ()))\n"
            "print('done', flush=True)"
        )
        with net.engine(script) as engine:
            assert engine.stdout is not None
            assert engine.stdout.readline() == b"done\n"
        many = [Forward("tcp", "0.0.0.0", port) for port in range(10000, 10060)]
        with pytest.raises(ResourceExhausted, match="descriptors"):
            net.proxies.set(ME, many)
        assert net.proxies.get(ME) == ()
        net.proxies.set(ME, many[:20])
        assert len(net.proxies.get(ME)) == 20
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft
