"""Ports that the resolver process carries from the host's network to a container's address."""

import contextlib
import hashlib
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.network.names import process
from drivers.network.names.interface import Forward, MemberNames
from resources.errors import Conflict
from tests.integration.drivers.network.resolving import HOST, World, until, world

pytestmark = pytest.mark.host
WEB = f"{1:064x}"
TARGET = "127.0.0.1"
"""The container listens in the host's namespace here: how packets get to it is another driver's business."""
ME, YOU = "a" * 32, "b" * 32


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        made.sandbox(1, MemberNames("n", ("web",), ("10.0.1.2",)))
        yield made


def listening(net: World, kind: int = socket.SOCK_STREAM, address: str = TARGET) -> tuple[socket.socket, int]:
    made = net.socket(HOST, kind, socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        made.listen(256)
    return made, int(made.getsockname()[1])


def connected(net: World, port: int, address: str = "::1") -> socket.socket:
    made = net.socket(HOST, socket.SOCK_STREAM, socket.AF_INET6)
    made.connect((address, port))
    return made


def tcp(port: int, target_port: int, address: str = "::1", target: str = TARGET) -> Forward:
    return Forward("tcp", address, port, target, target_port)


def received(one: socket.socket) -> bytes:
    data = b""
    while part := one.recv(65536):
        data += part
    return data


def test_bytes_go_both_ways_and_ends_are_passed_on(net: World) -> None:
    server, port = listening(net)
    net.proxies.set(ME, (tcp(8080, port),))
    client = connected(net, 8080)
    accepted, _ = server.accept()
    with accepted:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert received(accepted) == b"question"
        time.sleep(0.05)
        accepted.sendall(b"answer after the end of the question")
        accepted.shutdown(socket.SHUT_WR)
        assert received(client) == b"answer after the end of the question"
    other = connected(net, 8080)
    accepted, _ = server.accept()
    with accepted:
        accepted.shutdown(socket.SHUT_WR)
        assert received(other) == b""
        other.sendall(b"still")
        other.close()
        assert received(accepted) == b"still"


def test_a_hundred_megabytes_arrive_whole_and_wait_for_the_slow(net: World) -> None:
    server, port = listening(net)
    net.proxies.set(ME, (tcp(8080, port),))
    before = net.memory()
    chunk, count = os.urandom(1 << 20), 100
    client = connected(net, 8080)
    client.settimeout(30)
    accepted, _ = server.accept()
    accepted.settimeout(30)
    digest = hashlib.sha256()

    def read() -> None:
        time.sleep(0.5)  # meanwhile nothing may pile up in the process
        while data := accepted.recv(1 << 18):
            digest.update(data)
        accepted.sendall(b"done")
        accepted.close()

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    started = time.monotonic()
    grown = 0
    for number in range(count):
        client.sendall(chunk)
        if number % 20 == 0:
            grown = max(grown, net.memory() - before)
    client.shutdown(socket.SHUT_WR)
    assert received(client) == b"done"
    reader.join()
    assert digest.digest() == hashlib.sha256(chunk * count).digest()
    assert grown < 4096
    assert time.monotonic() - started < 30


def test_an_ipv6_target_and_one_that_refuses(net: World) -> None:
    server, port = listening(net, address="::1")
    net.proxies.set(ME, (tcp(8080, port, target="::1"), tcp(8081, 1)))
    client = connected(net, 8080)
    accepted, _ = server.accept()
    with accepted:
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        # A reset is passed on as one: what came is not all there is.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):  # of the first read, or while it still connects
        connected(net, 8081).recv(1)


def test_connections_of_ports_that_stay_go_on(net: World) -> None:
    server, port = listening(net)
    other, other_port = listening(net)
    net.proxies.set(ME, (tcp(8080, port), tcp(8081, port)))
    stays, goes = connected(net, 8080), connected(net, 8081)
    pairs = [server.accept()[0] for _ in range(2)]
    stays.sendall(b"a")
    net.proxies.set(ME, (tcp(8080, port), tcp(8082, port)))
    net.proxies.set(YOU, (tcp(8083, port),))
    assert goes.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connected(net, 8081)
    stays.sendall(b"b")
    until(lambda: any(one.fileno() >= 0 and _peek(one) == b"ab" for one in pairs))
    # Another target under the same port.
    net.proxies.set(ME, (tcp(8080, other_port),))
    assert stays.recv(1) == b""
    fresh = connected(net, 8080)
    accepted, _ = other.accept()
    with accepted:
        fresh.sendall(b"c")
        assert accepted.recv(1) == b"c"
    net.proxies.set(ME, ())
    with pytest.raises(ConnectionRefusedError):
        connected(net, 8080)
    for one in pairs:
        one.close()


def _peek(one: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return one.recv(10, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""


def test_ipv4_of_the_same_port_is_left_to_others(net: World) -> None:
    server, port = listening(net)
    net.proxies.set(ME, (tcp(8080, port, "::"), Forward("udp", "::", 8080, TARGET, port)))
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        theirs = net.socket(HOST, kind)
        theirs.bind(("0.0.0.0", 8080))
    assert connected(net, 8080).getpeername()[0] == "::1"
    server.accept()[0].close()


def test_a_port_in_use_is_named_and_all_stays_as_it_was(net: World) -> None:
    server, port = listening(net)
    taken = net.socket(HOST, socket.SOCK_STREAM, socket.AF_INET6)
    taken.bind(("::1", 9090))
    taken.listen()
    net.proxies.set(ME, (tcp(8080, port),))
    client = connected(net, 8080)
    accepted, _ = server.accept()
    with pytest.raises(Conflict, match="port 9090/tcp at ::1 is taken: a process on the host"):
        net.proxies.set(ME, (tcp(8081, port), tcp(9090, port)))
    with pytest.raises(ConnectionRefusedError):
        connected(net, 8081)
    with accepted:
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
    # What had to make room for it listens again.
    with pytest.raises(Conflict):
        net.proxies.set(ME, (tcp(8080, port, "::"), tcp(9090, port)))
    again = connected(net, 8080)
    accepted, _ = server.accept()
    with accepted:
        again.sendall(b"y")
        assert accepted.recv(1) == b"y"


def test_datagrams_find_their_way_back(net: World) -> None:
    server, port = listening(net, socket.SOCK_DGRAM)
    net.run("ip", "addr", "add", "fd00:1::1/128", "dev", "lo", "nodad", sandbox=HOST)
    until(lambda: "fd00:1::1" in net.run("ip", "-6", "route", "show", "table", "local", sandbox=HOST))
    net.proxies.set(ME, (Forward("udp", "::", 5353, TARGET, port),))
    clients = [net.socket(HOST, socket.SOCK_DGRAM, socket.AF_INET6) for _ in range(3)]
    clients[0].bind(("::1", 0))
    for number, client in enumerate(clients):
        # Connected: an answer from another address than was asked would not be taken.
        client.connect(("::1" if number else "fd00:1::1", 5353))
        client.send(b"hello %d" % number)
    seen = {}
    for _ in clients:
        data, asker = server.recvfrom(100)
        seen[data] = asker
        server.sendto(data.upper(), asker)
    assert len(set(seen.values())) == 3
    for number, client in enumerate(clients):
        assert client.recv(100) == b"HELLO %d" % number
    big = os.urandom(60000)
    clients[0].send(big)
    assert server.recvfrom(65535)[0] == big
    server.close()
    for _ in range(3):
        clients[0].send(b"into the void")
        time.sleep(0.01)
    assert net.proxies.get(ME) == (Forward("udp", "::", 5353, TARGET, port),)


def test_datagram_clients_are_bounded(net: World) -> None:
    server, port = listening(net, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    net.proxies.set(ME, (Forward("udp", "::1", 5353, TARGET, port),))
    fds = Path(f"/proc/{net.pid()}/fd")
    before = len(os.listdir(fds))
    for _ in range(1500):
        with net.inside(HOST, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as client:
            client.sendto(b"x", ("::1", 5353))
            server.recv(1)  # one after another: the kernel drops what a slow process does not take
    # Some had the address of an earlier one, and some descriptor of another kind may have come or gone.
    assert 1000 < len(os.listdir(fds)) - before < 1030
    net.proxies.set(ME, (Forward("udp", "::1", 5353, TARGET, port), tcp(1, 1)))
    assert 1000 < len(os.listdir(fds)) - before < 1030
    net.proxies.set(ME, ())
    assert len(os.listdir(fds)) <= before


def test_a_killed_process_listens_again(net: World) -> None:
    server, port = listening(net)
    forwards = (tcp(8080, port), Forward("udp", "::1", 8080, TARGET, port))
    net.proxies.set(ME, forwards)
    client = connected(net, 8080)
    accepted, _ = server.accept()
    accepted.close()
    net.kill()
    assert client.recv(1) == b""
    assert net.proxies.get(ME) == ()
    net.inside(HOST, lambda: net.proxies.set(YOU, (tcp(8081, port),)))
    assert net.proxies.get(ME) == forwards
    again = connected(net, 8080)
    accepted, _ = server.accept()
    with accepted:
        again.sendall(b"x")
        assert accepted.recv(1) == b"x"


def test_thousands_of_connections_and_names_still(net: World) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1500, hard // 6)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count + 1000), hard))
    clients, accepted = [], []
    try:
        server, port = listening(net)
        net.proxies.set(ME, (tcp(8080, port),))
        before = net.memory()

        def connect() -> None:
            for _ in range(count):
                one = socket.socket(socket.AF_INET6)
                one.settimeout(10)
                one.connect(("::1", 8080))
                clients.append(one)

        thread = threading.Thread(target=lambda: net.inside(HOST, connect))
        thread.start()
        server.settimeout(10)
        for _ in range(count):
            accepted.append(server.accept()[0])
        thread.join()
        for number, one in enumerate(clients):
            one.sendall(number.to_bytes(4, "big"))
        numbers = set()
        for one in accepted:
            one.settimeout(10)
            numbers.add(int.from_bytes(one.recv(4), "big"))
        assert numbers == set(range(count))
        assert net.memory() - before < 6 * count  # KiB
        asked = time.monotonic()
        assert net.ask(WEB, "web").addresses == ["10.0.1.2"]
        assert time.monotonic() - asked < 0.2
    finally:
        for one in (*clients, *accepted):
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fds = Path(f"/proc/{net.pid()}/fd")
    until(lambda: len(os.listdir(fds)) < 40)


def test_without_descriptors_connections_wait_and_names_do_not(net: World) -> None:
    server, port = listening(net)
    forwards = (tcp(8080, port), Forward("udp", "::1", 8080, TARGET, port))
    net.proxies.set(ME, forwards)
    net.kill()
    folder = str(net.run_root / "resolver")
    net.run("prlimit", "--nofile=300:300", sys.executable, "-I", "-S", process.__file__, folder, "few", sandbox=HOST)
    assert net.proxies.get(ME) == forwards
    clients = [connected(net, 8080) for _ in range(100)]
    server.settimeout(0.5)
    accepted = []
    with contextlib.suppress(TimeoutError):
        while True:
            accepted.append(server.accept()[0])
    assert 40 < len(accepted) < 100
    datagram = net.socket(HOST, socket.SOCK_DGRAM, socket.AF_INET6)
    datagram.sendto(b"lost", ("::1", 8080))
    assert net.ask(WEB, "web", tcp=True).addresses == ["10.0.1.2"]
    net.sandbox(2, MemberNames("n", ("second",), ("10.0.1.3",)))
    assert net.ask(f"{2:064x}", "web").addresses == ["10.0.1.2"]
    for one in (*accepted, *clients[: len(accepted)]):
        one.close()
    server.settimeout(5)
    accepted = [server.accept()[0] for _ in clients[len(accepted) :]]
    for one in accepted:
        one.close()


def test_an_address_that_the_host_does_not_have(net: World) -> None:
    with pytest.raises(Exception, match="port 80/tcp at 2001:db8::1 cannot be published: the host has no such address"):
        net.proxies.set(ME, (replace(tcp(80, 80), address="2001:db8::1"),))
    assert net.proxies.get(ME) == ()
