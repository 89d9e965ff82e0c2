"""What listens in a network namespace, as the kernel tells it."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.kernel.namespaces import Namespace, run_in_new
from drivers.network.netlink.messages import Netlink, Reply, Request
from drivers.network.ports import listeners
from drivers.network.ports.interface import Listener, SocketOwner
from drivers.network.sandbox.loopback import raise_loopback
from resources.errors import NotFound

pytestmark = pytest.mark.host


def inside(work: Callable[[], None]) -> None:
    def body() -> None:
        raise_loopback()
        work()

    run_in_new(Namespace.NETWORK, body)


def bound(
    address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM, *, v6_only: bool = False
) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if ":" in address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def inode(made: socket.socket) -> int:
    return os.fstat(made.fileno()).st_ino


def forget_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that was built without it."""

    whole = Netlink.dump

    def dump(self: Netlink, doing: str, request: Request, limit: int | None = None) -> list[Reply]:
        if request.kind == listeners._BY_FAMILY:
            raise NotFound(doing)
        return whole(self, doing, request, limit)

    monkeypatch.setattr(Netlink, "dump", dump)


@pytest.mark.parametrize("diag", [True, False])
def test_what_listens_and_what_does_not(diag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not diag:
        forget_sock_diag(monkeypatch)

    def work() -> None:
        assert listeners.all_listeners() == []
        made = [
            bound("0.0.0.0", 80),
            bound("127.0.0.1", 81),
            bound("::", 82),
            bound("::", 80, v6_only=True),
            bound("::ffff:127.0.0.1", 83),
            bound("::1", 84),
            bound("0.0.0.0", 53, socket.SOCK_DGRAM),
            bound("::1", 53, socket.SOCK_DGRAM, v6_only=True),
        ]
        client = socket.create_connection(("127.0.0.1", 80))
        talking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        talking.connect(("127.0.0.1", 53))
        unbound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        expected = {
            Listener("tcp", "0.0.0.0", 80, inode=inode(made[0])),
            Listener("tcp", "127.0.0.1", 81, inode=inode(made[1])),
            Listener("tcp", "::", 82, inode=inode(made[2])),
            Listener("tcp", "::", 80, v6_only=True, inode=inode(made[3])),
            Listener("tcp", "::ffff:127.0.0.1", 83, inode=inode(made[4])),
            Listener("tcp", "::1", 84, inode=inode(made[5])),
            Listener("udp", "0.0.0.0", 53, inode=inode(made[6])),
            Listener("udp", "::1", 53, inode=inode(made[7])),
        }
        if not diag:
            expected = {replace(one, v6_only=False) for one in expected}
        found = listeners.all_listeners()
        assert len(found) == len(expected)
        assert set(found) == expected
        places = {one.port: one.place for one in found if one.protocol == "tcp"}
        assert (places[82], places[84]) == ("", "::1")
        for one in (*made, client, talking, unbound):
            one.close()
        assert [one for one in listeners.all_listeners() if one.protocol == "udp"] == []

    inside(work)


SERVER = """
import socket, sys
made = socket.create_server(("127.0.0.1", 0))
open("/proc/self/comm", "wb").write(b"ev\\x1b[1m\\nil")
print(made.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_whose_it_is_and_that_the_stand_in_is_not_told() -> None:
    def work() -> None:
        own = bound("127.0.0.1", 81)
        command = [sys.executable, "-IS", "-c", SERVER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            found = {one.port: one for one in listeners.HostListeners(lambda: None)()}
            assert found.keys() == {81, port}
            assert listeners.owner(found[port]) == SocketOwner(server.pid, "ev?[1m?il")
            assert str(listeners.owner(found[81])).endswith(f" (pid {os.getpid()})")
            assert listeners.owner(replace(found[port], inode=0)) is None
            rest = listeners.HostListeners(lambda: server.pid)()
            assert [one.port for one in rest] == [81]
        assert listeners.owner(found[port]) is None, "it is gone"
        assert [one.port for one in listeners.HostListeners(lambda: server.pid)()] == [81]
        own.close()

    inside(work)


def test_five_thousand_sockets() -> None:
    def work() -> None:
        made = [bound("0.0.0.0", 1024 + number, socket.SOCK_DGRAM) for number in range(2500)]
        made += [bound("::", 4000 + number, socket.SOCK_DGRAM) for number in range(2500)]
        begin = time.perf_counter()
        found = listeners.all_listeners()
        took = time.perf_counter() - begin
        for one in made:
            one.close()
        assert len(found) == len(made)
        assert took < 0.1, "15 ms on an idle machine"

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, limits[1]), limits[1]))
    try:
        inside(work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_ports_the_administrator_reserves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def work() -> None:
        assert listeners.reserved_ports() == frozenset()
        Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text("8080,50000-50002\n")
        assert listeners.reserved_ports() == {8080, 50000, 50001, 50002}

    inside(work)
    monkeypatch.setattr(listeners, "_RESERVED", tmp_path / "none")
    assert listeners.reserved_ports() == frozenset()
