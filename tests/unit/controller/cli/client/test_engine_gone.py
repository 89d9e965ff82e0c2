"""A client and an engine that dies, stands still or has no room: what the user hears, and what is done all the same."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.cli.commandline.call import Call
from controller.cli.server.listener import CommandServer
from controller.cli.wire import frames
from resources.errors import Cancelled
from tests.unit.controller.cli.clients import CHECKOUT, call, until
from tests.unit.controller.cli.fakes import FakeBackend

AddVerb = Callable[[Callable[[Call], int]], None]
BEGUN = frames.frame(frames.OUT)
DONE = BEGUN + frames.frame(frames.OUT, b"hello\n") + frames.frame(frames.EXIT, b"0")
STOPS = """
import os, signal, socket, sys
door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1])
door.listen(int(sys.argv[2]))
print("there", flush=True)
if sys.argv[3]:
    os.kill(os.getpid(), signal.SIGSTOP)
held = []
while True:
    one = door.accept()[0]
    held.append(one)
    one.recv(4096)
    one.sendall(bytes.fromhex(sys.argv[4]))
"""
HASTY = (
    f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); "
    "from controller.cli.client import connection, conversation; connection.CONNECT_SECONDS = 1; "
    "conversation.SILENCE = 1; conversation._GIVEN_UP = 4; "
    "from controller.cli import main; sys.exit(main.main(sys.argv[1:]))"
)


@contextmanager
def engine(run_root: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Says one of these to each client, and closes; the requests it read."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(run_root / "command.sock"))
        door.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = door.accept()
                with connection:
                    seen.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield seen
        thread.join(10)
    (run_root / "command.sock").unlink()


@contextmanager
def still(run_root: Path, *, backlog: int = 5, stopped: bool = True, says: bytes = DONE) -> Iterator[int]:
    """An engine that is stopped, or says no more than this; its pid."""
    path = str(run_root / "command.sock")
    words = [sys.executable, "-c", STOPS, path, str(backlog), "stopped" if stopped else "", says.hex()]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if stopped:
            until(lambda: " T " in Path(f"/proc/{process.pid}/stat").read_text())
        try:
            yield process.pid
        finally:
            process.kill()


def hasty(run_root: Path, *argv: str) -> "subprocess.Popen[bytes]":
    """A client that soon looks what is the matter."""
    words = [sys.executable, "-IS", "-c", HASTY, "--run-root", str(run_root), "--root", str(run_root), *argv]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_an_engine_that_ends_before_it_begins_is_followed_by_the_next(short_path: Path) -> None:
    with engine(short_path, b"", b"", DONE) as seen:
        answer = call(short_path, "get", "container")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"hello\n", b"")
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]


def test_one_that_never_begins_is_not_tried_for_ever(short_path: Path) -> None:
    with engine(short_path, b"", b"", b""):
        answer = call(short_path, "get", "container")
    assert answer.returncode == 1
    assert answer.stderr.startswith(b"lading: 3 engines have ended before they took the command")


@pytest.mark.parametrize(("verb", "code"), [("apply", 1), ("exec", 125), ("wait", 125), ("attach", 125)])
def test_one_that_ends_midway_is_named_and_nothing_is_done_twice(short_path: Path, verb: str, code: int) -> None:
    with engine(short_path, BEGUN + frames.frame(frames.OUT, b"half\n")) as seen:
        answer = call(short_path, verb, "web", "ls")
    assert (answer.returncode, answer.stdout, len(seen)) == (code, b"half\n", 1)
    assert answer.stderr.startswith(f"lading: the engine (pid {os.getpid()}) ended before the command did".encode())
    assert b"What runs goes on" in answer.stderr


def test_one_that_is_stopped_is_named_and_heard_when_it_goes_on(short_path: Path) -> None:
    with still(short_path) as pid, hasty(short_path, "get", "container") as client:
        assert client.stderr is not None
        said = client.stderr.readline().decode()
        assert f"the engine (pid {pid}) does not answer: it is stopped" in said
        assert f"kill -CONT {pid}" in said
        os.kill(pid, signal.SIGCONT)
        output, more = client.communicate(timeout=10)
    assert (client.returncode, output, more) == (0, b"hello\n", b"")


def test_one_that_is_stopped_later_is_named_and_waited_for(short_path: Path) -> None:
    with still(short_path, stopped=False, says=BEGUN) as pid, hasty(short_path, "get", "container") as client:
        time.sleep(1.3)
        os.kill(pid, signal.SIGSTOP)
        assert client.stderr is not None
        assert f"the engine (pid {pid}) does not answer: it is stopped".encode() in client.stderr.readline()
        time.sleep(3)
        assert client.poll() is None
        client.send_signal(signal.SIGINT)  # one is enough: nobody would hear of it
        assert client.wait(5) == 130


def test_one_that_says_nothing_rightly_is_not_spoken_of(short_path: Path) -> None:
    with still(short_path, stopped=False, says=BEGUN), hasty(short_path, "get", "container") as client:
        time.sleep(3.5)
        client.kill()
        assert client.communicate(timeout=10) == (b"", b"")


def test_one_that_never_begins_is_waited_for_only_so_long(short_path: Path) -> None:
    with still(short_path, stopped=False, says=b"") as pid, hasty(short_path, "get", "container") as client:
        _, said = client.communicate(timeout=20)
    assert client.returncode == 1
    first, last = said.decode().splitlines()
    assert f"the engine (pid {pid}) has not answered for 1 s" in first
    assert f"kill -9 {pid}" in first
    assert "was waited for 4 s; nothing was done" in last


def test_one_that_takes_nobody_in_does_not_hold_its_clients(short_path: Path) -> None:
    with still(short_path, backlog=0) as pid:
        waiting = []
        for _ in range(2):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            if one.connect_ex(str(short_path / "command.sock")):
                break
        with hasty(short_path, "get", "container") as client:
            assert b"takes no command in: it is stopped, or has too many" in client.communicate(timeout=20)[1]
        assert client.returncode == 1
        (short_path / "engine.lock").write_text(f"{pid}\n")
        with hasty(short_path, "get", "container") as client:
            assert f"(pid {pid}) does not answer: it is stopped".encode() in client.communicate(timeout=20)[1]
        for one in waiting:
            one.close()


def test_an_engine_short_of_files_or_threads_goes_on_listening(
    server: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, lacking = socket.socket.accept, [OSError(24, "Too many open files"), OSError(12, "Cannot allocate memory")]

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        if lacking:
            raise lacking.pop()
        return plain(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    assert call(server, "version").returncode == 0  # the one it waited for already
    assert call(server, "version").returncode == 0
    assert lacking == []
    begin, failing = threading.Thread.start, [1]

    def start(self: threading.Thread) -> None:
        if self.name == "command" and failing:
            failing.pop()
            raise RuntimeError("can't start new thread")
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    refused = call(server, "version")
    assert (refused.returncode, b"can begin no more threads; try again" in refused.stderr) == (1, True)
    assert call(server, "version").returncode == 0


@pytest.mark.parametrize(("name", "code"), [("lingers", 1), ("exec", 125)])
def test_an_engine_that_is_shut_down_says_so_to_all(
    short_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, verb: AddVerb, name: str, code: int
) -> None:
    begun = threading.Event()

    def lingers(call: Call) -> int:
        begun.set()
        until(call.session.cancelled)
        raise Cancelled("interrupted")

    lingers.__name__ = name
    verb(lingers)
    server = CommandServer(short_path, backend)
    server.start()
    with hasty(short_path, name) as client:
        assert begun.wait(10)
        server.stop()
        _, said = client.communicate(timeout=10)
    assert client.returncode == code
    assert said.startswith(b"lading: the engine was shut down before the command had ended. What runs goes on")


def test_many_that_do_not_leave_hold_the_end_up_only_once(
    short_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, verb: AddVerb
) -> None:
    monkeypatch.setattr("controller.cli.server.listener._LEAVE_SECONDS", 0.5)
    release, begun = threading.Event(), []

    def stubborn(call: Call) -> int:
        begun.append(1)
        release.wait(20)
        return 0

    verb(stubborn)
    server = CommandServer(short_path, backend)
    server.start()
    clients = [hasty(short_path, "stubborn") for _ in range(4)]
    until(lambda: len(begun) == 4)
    before = time.monotonic()
    server.stop()
    assert time.monotonic() - before < 1.5
    release.set()
    for one in clients:
        one.communicate(timeout=10)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["run", "nginx"], 2, "there is no command 'run'"),
        (["get", "container", "--wacth"], 2, "did you mean --watch?"),
        (["get"], 2, "too few words; usage: lading get KIND"),
        (["apply"], 2, "which manifests?"),
        (["apply", "-f", "x", "--timeout", "soon"], 2, "--timeout: 'soon' is not a duration"),
        (["apply", "-f", "x", "--once", "--onec"], 2, "there is no flag --onec"),
        (["apply", "-f", "x", "-n", "No/pe"], 2, "--namespace 'No/pe' is not a name"),
        (["delete"], 2, "say what to delete"),
        (["help", "aply"], 2, "did you mean apply?"),
        (["shutdown", "--now"], 2, "there is no flag --now"),
        (["serve", "--bakground"], 2, "did you mean --background?"),
        (["plan", "--exit-cod"], 1, "did you mean --exit-code?"),
        (["exec", "web"], 125, "usage: lading exec"),
        (["get", "nosuch"], 1, "there is no kind 'nosuch'"),
        (["get", "container,nosuch"], 1, "there is no kind 'nosuch'"),
        (["get", "pods"], 1, "lists containers"),
        (["describe", "web", "nosuch/web"], 1, "there is no kind 'nosuch'"),
        (["delete", "nosuch/web"], 1, "there is no kind 'nosuch'"),
        (["get", "-vh"], 0, ""),
        (["apply", "--once", "--help"], 0, ""),
    ],
)
def test_what_is_wrong_in_the_command_line_starts_nothing(
    short_path: Path, argv: list[str], code: int, said: str
) -> None:
    answer = call(short_path / "r", "--root", str(short_path / "s"), *argv)
    assert (answer.returncode, said in answer.stderr.decode()) == (code, True), answer.stderr
    assert list(short_path.iterdir()) == []
    assert answer.stderr.count(b"\n") == (1 if code else 0)
