"""What containers and others send that no well-meaning program would."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.network.names.interface import NAME_SERVER, MemberNames
from tests.integration.drivers.network.resolving import (
    UPSTREAM,
    World,
    question,
    until,
    world,
)

pytestmark = pytest.mark.host
FRONT = "n-front"


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        yield made


def test_garbage_on_the_control_socket_harms_nobody(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    pid = net.pid()
    for data in (
        b"\xff" * 100,
        b"\0\0\0\2{}" * 50,
        b"\0\0\0\4null",
        b'\0\0\0\x22{"op":"names.get","id":["x"]} '.ljust(38),
        b"\0\0\0\x10" + b"[" * 16,
    ):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(net.run_root / "resolver" / "control.sock"))
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            one.settimeout(2)
            while one.recv(65536):
                pass
    assert net.names.get(web) is not None
    assert net.pid() == pid


def test_a_flood_is_bounded_and_others_are_answered(net: World) -> None:
    flooding = net.sandbox(1, MemberNames(FRONT, ("flood",), ("10.0.1.1",)), servers=("127.0.0.9",))
    calm = net.sandbox(2, MemberNames(FRONT, ("calm",), ("10.0.1.2",)))
    before = net.memory()
    answers = 0
    ending = threading.Event()
    one = net.socket(flooding)
    one.connect((NAME_SERVER, 53))
    one.setblocking(False)

    def flood() -> None:
        nonlocal answers
        data = question("calm")
        while not ending.is_set():
            for _ in range(50):
                try:
                    one.send(data)
                    one.recv(512)
                    answers += 1
                except BlockingIOError:
                    continue
            time.sleep(0.002)

    thread = threading.Thread(target=flood)
    thread.start()
    started = time.monotonic()
    try:
        slowest = 0.0
        while time.monotonic() - started < 2:
            asked = time.monotonic()
            assert net.ask(calm, "flood").addresses == ["10.0.1.1"]
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.01)
    finally:
        ending.set()
        thread.join()
    assert slowest < 0.5
    assert 1000 < answers <= 250 + 1000 * 2.5
    assert net.memory() < before + 4096


def answered(net: World, sandbox_id: str) -> bool:
    """One question may be lost to what the sandbox itself has sent before."""
    one = net.socket(sandbox_id)
    one.settimeout(0.3)
    one.connect((NAME_SERVER, 53))
    one.send(question("calm"))
    try:
        return one.recv(512)[-4:] == bytes((10, 0, 1, 2))
    except TimeoutError:
        return False


def test_hostile_packets_harm_nobody(net: World) -> None:
    net.upstream(lambda data, tcp: os.urandom(40))
    evil = net.sandbox(1, MemberNames(FRONT, ("evil",), ("10.0.1.1",)), servers=(UPSTREAM,))
    calm = net.sandbox(2, MemberNames(FRONT, ("calm",), ("10.0.1.2",)))
    pid, before = net.pid(), net.memory()
    one = net.socket(evil)
    one.connect((NAME_SERVER, 53))
    packets = [
        b"", b"\0", b"\0" * 12, b"\xff" * 512, b"\0" * 60000, question("evil")[:-1], question("evil") + b"\0",
        question("x")[:12] + b"\xc0\x0c\0\1\0\1", question("x")[:12] + b"\x01a\xc0\x0c\0\1\0\1",
        question("x")[:12] + b"\x3f" * 300, question(".".join(["a"] * 120)), question("a" * 63 + ".x"),
        question("evil", 255), question("evil", 252), bytes((1, 2, 0x81, 0)) + question("evil")[4:],
        question("\0.example"), question("-rf./etc/passwd.%s%n"),
    ]  # fmt: skip
    for number in range(100_000):
        data = packets[number % len(packets)] if number % 3 else os.urandom(number % 90)
        one.send(data, socket.MSG_DONTWAIT)
        if not number % 5000:
            assert net.ask(calm, "evil").addresses == ["10.0.1.1"]
    streams = []
    for number in range(60):
        stream = net.socket(evil, socket.SOCK_STREAM)
        stream.connect((NAME_SERVER, 53))
        streams.append(stream)
        try:
            stream.sendall(b"\xff\xff" + b"x" * 100 if number % 2 else os.urandom(200))
        except OSError:
            continue
    until(lambda: answered(net, evil), 5)
    assert net.pid() == pid
    assert net.memory() < before + 4096
    log = (net.run_root / "resolver" / "log").read_text()
    assert "failed" not in log
