"""What every prober does, the twin in memory and the real one against real servers in the sandbox."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.interface import ProbeAnswer, Prober, SandboxDriver
from drivers.network.sandbox.fake import FakeProber, FakeSandboxes
from drivers.network.sandbox.namespaces import NetnsSandboxes
from drivers.network.sandbox.prober import SandboxProber
from resources.errors import InvalidArgument

ONE, TWO, PORT = "1" * 64, "2" * 64, 8080


class Subject:
    """A prober, sandboxes ONE and TWO, and a way to have a server with one answer in a sandbox; None never answers."""

    def __init__(self, prober: Prober, serve: Callable[[str, int, int | None], None]) -> None:
        self.prober = prober
        self.serve = serve


class Servers:
    def __init__(self, sandboxes: SandboxDriver) -> None:
        self._sandboxes = sandboxes
        self._listeners: list[socket.socket] = []
        self._unanswered: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def serve(self, sandbox: str, port: int, status: int | None) -> None:
        found = self._sandboxes.inspect(sandbox)
        assert found is not None
        assert found.netns is not None
        with open(found.netns) as namespace:
            listener = run_in(namespace.fileno(), Namespace.NETWORK, lambda: socket.create_server(("127.0.0.1", port)))
        self._listeners.append(listener)
        self._threads.append(threading.Thread(target=self._answer, args=(listener, status)))
        self._threads[-1].start()

    def _answer(self, listener: socket.socket, status: int | None) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if status is None:
                self._unanswered.append(connection)
            else:
                with connection:
                    connection.recv(4096)
                    connection.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok".encode())

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()
        for connection in self._unanswered:
            connection.close()


@pytest.fixture(params=["fake", pytest.param("netns", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest, short_path: Path, instance: str) -> Iterator[Subject]:
    sandboxes: SandboxDriver
    if request.param == "fake":
        sandboxes = FakeSandboxes()
        fake = FakeProber(sandboxes)

        def serve(sandbox: str, port: int, status: int | None) -> None:
            if status is None:
                fake.hang(sandbox, port)
            else:
                fake.listen(sandbox, port, status)

        sandboxes.create(ONE)
        sandboxes.create(TWO)
        yield Subject(fake, serve)
        return
    sandboxes = NetnsSandboxes(short_path / "r", instance)
    sandboxes.create(ONE)
    sandboxes.create(TWO)
    servers = Servers(sandboxes)
    yield Subject(SandboxProber(sandboxes), servers.serve)
    servers.close()
    for sandbox in (ONE, TWO):
        sandboxes.delete(sandbox)


def test_where_nobody_listens(subject: Subject) -> None:
    refused = ProbeAnswer(False, "connection refused")
    assert subject.prober.http(ONE, PORT, "/", 2) == refused
    assert subject.prober.tcp(ONE, PORT, 2) == refused


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (204, True), (302, True), (399, True), (400, False)])
def test_the_status_decides(subject: Subject, status: int, healthy: bool) -> None:
    subject.serve(ONE, PORT, status)
    assert subject.prober.http(ONE, PORT, "/health?x=1", 5) == ProbeAnswer(healthy, f"HTTP {status}")
    assert subject.prober.http(ONE, PORT, "/", 5).healthy is healthy
    assert subject.prober.tcp(ONE, PORT, 5) == ProbeAnswer(True, "connected")


def test_a_sandbox_is_probed_and_not_its_neighbour(subject: Subject) -> None:
    subject.serve(ONE, PORT, 200)
    subject.serve(TWO, PORT, 503)
    assert subject.prober.http(ONE, PORT, "/", 5).healthy
    assert subject.prober.http(TWO, PORT, "/", 5) == ProbeAnswer(False, "HTTP 503")
    assert not subject.prober.tcp(TWO, PORT + 1, 5).healthy


def test_no_answer_in_time(subject: Subject) -> None:
    subject.serve(ONE, PORT, None)
    assert subject.prober.http(ONE, PORT, "/", 0.2) == ProbeAnswer(False, "no answer in time")
    assert subject.prober.tcp(ONE, PORT, 2).healthy


def test_a_sandbox_that_is_gone(subject: Subject) -> None:
    gone = ProbeAnswer(False, "the sandbox has no network namespace")
    assert subject.prober.http("3" * 64, PORT, "/", 2) == gone
    assert subject.prober.tcp("3" * 64, PORT, 2) == gone


@pytest.mark.parametrize("path", ["", "x", "/a b", "/a\r\nHost: evil", "/a\tb", "/\0", "http://other/"])
def test_what_is_no_path_is_refused(subject: Subject, path: str) -> None:
    with pytest.raises(InvalidArgument):
        subject.prober.http(ONE, PORT, path, 2)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(subject: Subject, port: int) -> None:
    with pytest.raises(InvalidArgument):
        subject.prober.http(ONE, port, "/", 2)
    with pytest.raises(InvalidArgument):
        subject.prober.tcp(ONE, port, 2)


def test_what_is_no_sandbox_is_refused(subject: Subject) -> None:
    with pytest.raises(InvalidArgument):
        subject.prober.tcp("../x", PORT, 2)
