"""Client and server as they meet: over a real socket, the client a process of its own."""

import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.cli.commandline.call import Call
from controller.cli.server.listener import CommandServer
from controller.cli.wire import frames
from resources.errors import Cancelled, FailedPrecondition, NotFound
from tests.unit.controller.cli.clients import call, command, until
from tests.unit.controller.cli.fakes import FakeBackend

AddVerb = Callable[[Callable[[Call], int]], None]
HEAVY = {
    "json",
    "re",
    "os",
    "enum",
    "socket",
    "signal",
    "argparse",
    "site",
    "typing",
    "subprocess",
    "pydantic",
    "threading",
}


def test_the_client_starts_on_next_to_nothing(server: Path) -> None:
    answer = subprocess.run(command(server, "version", options=("-X", "importtime")), capture_output=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.decode().splitlines()}
    assert {"controller.cli.main", "controller.cli.client.conversation", "_socket"} <= imported
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith(("resources", "manifests", "drivers", "pydantic"))}


def test_output_and_exit_code_are_the_commands(server: Path, verb: AddVerb) -> None:
    def speak(call: Call) -> int:
        call.session.out("to the left\n")
        call.session.err(b"to the right\xff\n")
        return 42

    verb(speak)
    answer = call(server, "speak")
    assert (answer.stdout, answer.stderr, answer.returncode) == (b"to the left\n", b"to the right\xff\n", 42)


def test_what_the_client_is_comes_across(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    seen: list[Any] = []

    def look(call: Call) -> int:
        session = call.session
        seen.extend([list(session.argv), session.cwd, session.stdin_tty, session.stdout_tty, session.color])
        seen.append(session.variable("LADING_TEST_COLOUR"))
        seen.append(session.variable("LADING_TEST_NOTHING"))
        seen.append(session.variables()["LADING_TEST_COLOUR"])
        return 0

    verb(look)
    argument = os.fsdecode(b"caf\xe9\n")
    answer = call(server, "look", argument, cwd=tmp_path, env={**os.environ, "LADING_TEST_COLOUR": "bl\udce9u"})
    assert answer.returncode == 0, answer.stderr
    assert seen[0][-1] == argument
    assert seen[1:] == [str(tmp_path), False, False, False, "bl\udce9u", None, "bl\udce9u"]


def test_a_slow_terminal_holds_the_command_up(server: Path, verb: AddVerb) -> None:
    made: list[int] = []

    def flood(call: Call) -> int:
        for _ in range(1000):
            call.session.out(b"x" * 65536)
            made.append(1)
        return 0

    verb(flood)
    with subprocess.Popen(command(server, "flood"), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        until(lambda: made)
        count = -1
        while count != len(made):  # until it makes no more
            count = len(made)
            time.sleep(0.2)
        assert count < 100
        assert sum(len(part) for part in iter(lambda: client.stdout.read(1 << 20), b"")) == 1000 * 65536
    assert client.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_leaves_cancels_its_command(server: Path, verb: AddVerb, number: signal.Signals) -> None:
    ended = threading.Event()
    begun = threading.Event()

    def linger(call: Call) -> int:
        begun.set()
        try:
            until(call.session.cancelled)
            raise Cancelled("interrupted")
        finally:
            ended.set()

    verb(linger)
    with subprocess.Popen(command(server, "linger"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert begun.wait(10)
        client.send_signal(number)
        assert ended.wait(10)
        _, said = client.communicate(timeout=10)
    assert client.returncode == (130 if number == signal.SIGINT else -number)
    assert said == b""


def test_a_second_interrupt_does_not_wait_for_the_engine(server: Path, verb: AddVerb) -> None:
    begun, release = threading.Event(), threading.Event()

    def stubborn(call: Call) -> int:
        begun.set()
        release.wait(20)
        return 0

    verb(stubborn)
    with subprocess.Popen(command(server, "stubborn"), stderr=subprocess.PIPE) as client:
        assert begun.wait(10)
        client.send_signal(signal.SIGINT)
        time.sleep(0.1)
        client.send_signal(signal.SIGINT)
        assert client.wait(5) == 130
    release.set()


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly(server: Path, verb: AddVerb) -> None:
    ended = threading.Event()

    def endless(call: Call) -> int:
        try:
            while True:
                call.session.out("y\n" * 1000)
        finally:
            ended.set()

    verb(endless)
    with subprocess.Popen(command(server, "endless"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert client.stdout.read(4) == b"y\ny\n"
        client.stdout.close()
        assert ended.wait(10)
        assert client.stderr.read() == b""
    assert client.returncode == 141


def test_who_says_nothing_is_cut_off(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.cli.server.listener._HELLO_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(server / "command.sock"))
        silent.sendall(b"r\0\0")
        silent.settimeout(10)
        assert silent.recv(10) == b""


def test_there_is_a_limit_to_commands_at_once(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.cli.server.listener._MAX_COMMANDS", 1)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(server / "command.sock"))
        until(lambda: call(server, "version").returncode == 1)
        assert call(server, "version").stderr.startswith(b"lading: 1 commands are under way; try again")
    until(lambda: call(server, "version").returncode == 0)


def test_errors_are_told_without_a_traceback(server: Path, verb: AddVerb) -> None:
    def fails(call: Call) -> int:
        raise FailedPrecondition("the sky \x1b[2J fell", hint="put it back")

    def breaks(call: Call) -> int:
        raise ValueError("a flaw of ours")

    def together(call: Call) -> int:
        raise ExceptionGroup("several", [NotFound("one"), ExceptionGroup("more", [NotFound("two")])])

    for made in (fails, breaks, together):
        verb(made)
    assert call(server, "fails").stderr == b"lading: the sky \\x1b[2J fell (put it back)\n"
    assert call(server, "together").stderr == b"lading: one\nlading: two\n"
    answer = call(server, "breaks")
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert b"ValueError: a flaw of ours" in answer.stderr
    assert b"Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"r\xff\xff\xff\xff",
        frames.frame(frames.OUT, b"hello"),
        frames.frame(frames.REQUEST, b"\xff" * 40),
        frames.frame(frames.REQUEST, frames.pack("6", "1", "", "-1", "0", "", "version")),
        frames.frame(frames.REQUEST, frames.pack("²", "1", "", "0", "0", "", "version")),
        frames.frame(frames.REQUEST, frames.pack("9" * 5000, "1", "", "0", "0", "", "version")),
        frames.frame(frames.REQUEST, frames.pack("900", "1", "", "0", "0", "", "version")),
        frames.frame(frames.REQUEST, frames.pack("6", "1", "", "9" * 30, "0", "", "version")),
    ],
)
def test_who_does_not_speak_the_language_is_cut_off_alone(
    server: Path, sent: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(server / "command.sock"))
        stranger.sendall(sent)
        stranger.settimeout(10)
        assert stranger.recv(100) == b""
    assert call(server, "version").returncode == 0
    assert "Traceback" not in capsys.readouterr().out


def test_another_version_is_told_so(server: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(server / "command.sock"))
        other.sendall(frames.frame(frames.REQUEST, frames.pack("6", "99", "", "0", "0", "", "version")))
        other.settimeout(10)
        said = b"".join(iter(lambda: other.recv(1000), b""))
    assert b"of another version" in said
    assert said.endswith(frames.frame(frames.EXIT, b"1"))


def test_a_client_that_says_what_it_was_not_asked_is_cancelled(server: Path, verb: AddVerb) -> None:
    ended = threading.Event()

    def listens(call: Call) -> int:
        until(call.session.cancelled)
        ended.set()
        return 0

    verb(listens)
    with socket.socket(socket.AF_UNIX) as chatty:
        chatty.connect(str(server / "command.sock"))
        chatty.sendall(frames.frame(frames.REQUEST, frames.pack("6", "1", "", "0", "0", "", "listens")))
        chatty.sendall(frames.frame(frames.DATA, b"x" * 1000))
        assert ended.wait(10)


def test_the_socket_is_for_root_and_the_group_alone(server: Path) -> None:
    assert stat.S_IMODE((server / "command.sock").stat().st_mode) == 0o660
    assert sorted(path.name for path in server.iterdir()) == ["command.sock"]


def test_a_long_run_root_is_no_hindrance(short_path: Path, backend: FakeBackend) -> None:
    deep = short_path / ("d" * 100) / "r"
    deep.mkdir(parents=True)
    server = CommandServer(deep, backend)
    server.start()
    try:
        assert call(deep, "version", "-o", "json").returncode == 0
    finally:
        server.stop()
    assert list(deep.iterdir()) == []


def test_stopping_cancels_what_is_under_way_and_lets_it_say_so(
    short_path: Path, backend: FakeBackend, verb: AddVerb
) -> None:
    begun = threading.Event()

    def waits(call: Call) -> int:
        begun.set()
        until(call.session.cancelled)
        call.session.err("cut short\n")
        return 7

    verb(waits)
    server = CommandServer(short_path, backend)
    server.start()
    with subprocess.Popen(command(short_path, "waits"), stderr=subprocess.PIPE) as client:
        assert begun.wait(10)
        server.stop()
        assert client.communicate(timeout=10)[1] == b"cut short\n"
    assert client.returncode == 7


def test_commands_that_need_no_engine_do_without(short_path: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("apiVersion: lading/v1\nkind: Config\nmetadata: {name: c}\nspec: {data: {a: b}}\n")
    assert call(short_path, "version").stdout.endswith(b"no engine runs\n")
    assert call(short_path, "--help").stdout.startswith(b"lading: ")
    assert call(short_path, "shutdown").stdout == b"no engine runs\n"
    answer = call(short_path, "get", "container", env={**os.environ, "LADING_NO_START": "1"})
    assert (answer.returncode, answer.stderr[:24]) == (1, b"lading: no engine runs, ")
    assert call(short_path, "validate", "-f", str(tmp_path)).stdout == b"1 manifest is valid\n"
    assert b'"$schema"' in call(short_path, "schema").stdout
    assert list(short_path.iterdir()) == []


def test_a_socket_that_was_removed_comes_back(short_path: Path, backend: FakeBackend) -> None:
    server = CommandServer(short_path, backend)
    server.start()
    assert not server.listen_again()
    (short_path / "command.sock").unlink()
    assert server.listen_again()
    assert call(short_path, "version").returncode == 0
    server.stop()
    assert not (short_path / "command.sock").exists()
