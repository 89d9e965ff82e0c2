"""Servers in a sandbox that answer what no server should."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.kernel.mount import unmount
from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.interface import ProbeAnswer
from drivers.network.sandbox.namespaces import NetnsSandboxes
from drivers.network.sandbox.prober import SandboxProber

pytestmark = pytest.mark.host
ONE, PORT = "c" * 64, 8080
Answer = Callable[[socket.socket], None]


@pytest.fixture
def sandboxes(short_path: Path, instance: str) -> Iterator[NetnsSandboxes]:
    driver = NetnsSandboxes(short_path / "r", instance)
    driver.create(ONE)
    yield driver
    driver.delete(ONE)


@pytest.fixture
def prober(sandboxes: NetnsSandboxes) -> SandboxProber:
    return SandboxProber(sandboxes)


@pytest.fixture
def serve(sandboxes: NetnsSandboxes) -> Iterator[Callable[..., None]]:
    """Serve one connection after another; `answer` gets each once its request was read."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def loop(listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                try:
                    answer(connection)
                except OSError:
                    continue

    def start(answer: Answer, address: str = "127.0.0.1") -> None:
        found = sandboxes.inspect(ONE)
        assert found is not None
        assert found.netns is not None
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with open(found.netns) as namespace:
            listener = run_in(
                namespace.fileno(), Namespace.NETWORK, lambda: socket.create_server((address, PORT), family=family)
            )
        listeners.append(listener)
        threads.append(threading.Thread(target=loop, args=(listener, answer)))
        threads[-1].start()

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n\r\n",
        b"\x1b]52;c;evil\x07 200 OK\r\n\r\n",
        b"HTTP/1.1 700 OK\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_unhealthy(prober: SandboxProber, serve: Callable[..., None], answer: bytes) -> None:
    serve(lambda connection: connection.sendall(answer))
    found = prober.http(ONE, PORT, "/", 5)
    assert not found.healthy
    assert found.message.isprintable()
    assert len(found.message) < 80


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n\nbody",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_what_real_servers_say_is_healthy(prober: SandboxProber, serve: Callable[..., None], answer: bytes) -> None:
    serve(lambda connection: connection.sendall(answer))
    assert prober.http(ONE, PORT, "/", 5) == ProbeAnswer(True, "HTTP 200")


def test_a_head_without_end_is_bounded(prober: SandboxProber, serve: Callable[..., None]) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sent += connection.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")

    serve(flood)
    found = prober.http(ONE, PORT, "/", 10)
    assert (found.healthy, found.message) == (False, "the head of the HTTP answer has more than 64 KiB")


def test_a_body_without_end_does_not_hold_the_verdict_up(prober: SandboxProber, serve: Callable[..., None]) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    serve(flood)
    assert prober.http(ONE, PORT, "/", 10) == ProbeAnswer(True, "HTTP 200")


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_slow_answer_ends_with_the_timeout(prober: SandboxProber, serve: Callable[..., None], piece: bytes) -> None:
    def dribble(connection: socket.socket) -> None:
        connection.sendall(piece)
        while True:
            connection.sendall(b"HTTP/1.1 100 x\r\n\r\n" if piece.endswith(b"\r\n\r\n") else b"H: x")
            time.sleep(0.02)

    serve(dribble)
    before = time.monotonic()
    found = prober.http(ONE, PORT, "/", 0.3)
    assert not found.healthy
    assert time.monotonic() - before < 3


def test_no_redirect_is_followed(prober: SandboxProber, serve: Callable[..., None]) -> None:
    connections = 0

    def redirect(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:8080/other\r\n\r\n")

    serve(redirect)
    assert prober.http(ONE, PORT, "/", 5) == ProbeAnswer(True, "HTTP 302")
    assert connections == 1


def test_a_server_on_ipv6_alone_is_found(prober: SandboxProber, serve: Callable[..., None]) -> None:
    serve(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), "::1")
    assert prober.http(ONE, PORT, "/", 5).healthy
    assert prober.tcp(ONE, PORT, 5).healthy


def test_a_full_backlog_ends_with_the_timeout(sandboxes: NetnsSandboxes, prober: SandboxProber) -> None:
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert found.netns is not None

    def fill() -> list[socket.socket]:
        listener = socket.create_server(("127.0.0.1", PORT), backlog=0)
        full = [listener]
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", PORT))
            full.append(one)
        return full

    with open(found.netns) as namespace:
        sockets = run_in(namespace.fileno(), Namespace.NETWORK, fill)
    before = time.monotonic()
    assert prober.tcp(ONE, PORT, 0.3) == ProbeAnswer(False, "no answer in time")
    assert time.monotonic() - before < 3
    for one in sockets:
        one.close()


def test_a_namespace_that_was_unmounted_is_not_taken_for_the_host(
    sandboxes: NetnsSandboxes, prober: SandboxProber
) -> None:
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert found.netns is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert prober.tcp(None, port, 5).healthy
        assert not prober.tcp(ONE, port, 5).healthy
        unmount(found.netns)
        assert prober.tcp(ONE, port, 5) == ProbeAnswer(False, "the sandbox has no network namespace")


def test_nothing_stays_open(prober: SandboxProber, serve: Callable[..., None]) -> None:
    serve(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    prober.http(ONE, PORT, "/", 5)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        assert prober.http(ONE, PORT, "/", 5).healthy
        assert not prober.tcp(ONE, PORT + 1, 5).healthy
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the server's last connection
