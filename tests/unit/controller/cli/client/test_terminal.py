"""A user's terminal joined to a process: a real pty on one side, a real process on the other."""

import os
import pty
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli.commandline.call import Call
from resources.errors import FailedPrecondition
from tests.unit.controller.cli.clients import command, terminal, until

AddVerb = Callable[[Callable[[Call], int]], None]


class Process:
    """A stream (controller.interface.Stream) to a process of this host, by pipes or a pty of its own."""

    def __init__(self, *args: str, tty: bool = False) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.killed: list[int] = []
        self.closed_stdin = threading.Event()
        self._epoll = select.epoll()
        if tty:
            master, slave = pty.openpty()
            self._child = subprocess.Popen(args, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
            os.close(slave)
            self._input, self._outputs = master, {master: "stdout"}
        else:
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(args, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
            assert self._child.stdin
            assert self._child.stdout
            assert self._child.stderr
            self._input = self._child.stdin.fileno()
            self._outputs = {self._child.stdout.fileno(): "stdout", self._child.stderr.fileno(): "stderr"}
        for fd in self._outputs:
            self._epoll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def read(self) -> tuple[str, bytes] | None:
        while self._outputs:
            for fd, _ in self._epoll.poll():
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    data = b""
                if data:
                    return self._outputs[fd], data
                self._epoll.unregister(fd)
                del self._outputs[fd]
        return None

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._input, rest) :]
            except OSError as error:
                raise FailedPrecondition("standard input of the process is closed") from error

    def close_stdin(self) -> None:
        self.closed_stdin.set()
        if self._child.stdin:
            self._child.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def wait(self) -> int:
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def kill(self, signal: int) -> None:
        self.killed.append(signal)
        self._child.send_signal(signal)

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._epoll.close()
        if self._child.stdin is None:
            os.close(self._input)


@pytest.fixture
def join(verb: AddVerb) -> Callable[..., list[Process]]:
    """Add a verb `join` that joins a process; the processes it made."""

    def add(*args: str, tty: bool = False, stdin: bool = True, detachable: bool = False) -> list[Process]:
        made: list[Process] = []

        def join(call: Call) -> int:
            process = Process(*args, tty=tty)
            made.append(process)
            try:
                return call.session.interact(process, tty=tty, stdin=stdin, detachable=detachable)
            finally:
                process.close()

        verb(join)
        return made

    return add


def test_keys_reach_the_process_and_the_terminal_is_as_before(server: Path, join: Callable[..., list[Process]]) -> None:
    made = join("sh", "-c", "stty -echo raw; echo ready; head -c 4 | od -An -tx1; exit 5", tty=True)
    with terminal(command(server, "join")) as user:
        until(lambda: user.shows(b"ready") and user.raw)
        user.type(b"a\x03\x1ab")  # Ctrl-C and Ctrl-Z are the process'
        assert user.client.wait(10) == 5
        assert user.shows(b"61 03 1a 62")
        assert user.as_before
    assert made[0].sizes[0] == (24, 80)


def test_a_resized_window_resizes_the_process(server: Path, join: Callable[..., list[Process]]) -> None:
    made = join("cat", tty=True)
    with terminal(command(server, "join")) as user:
        until(lambda: user.raw)
        user.size(50, 132)
        user.client.send_signal(signal.SIGWINCH)
        until(lambda: made[0].sizes[-1] == (50, 132))
        user.type(b"\x04")
        assert user.client.wait(10) == 0


def test_the_leave_keys_leave_and_only_they(server: Path, join: Callable[..., list[Process]]) -> None:
    made = join("sh", "-c", "stty -echo raw; echo ready; cat", tty=True, detachable=True)
    with terminal(command(server, "join")) as user:
        until(lambda: user.shows(b"ready") and user.raw)
        user.type(b"\x10")
        user.type(b"x")
        until(lambda: user.shows(b"\x10x"))
        user.type(b"\x10")
        user.type(b"\x11")
        assert user.client.wait(10) == 0
        assert user.as_before
    assert made[0].killed == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_is_ended_leaves_no_raw_terminal(
    server: Path, join: Callable[..., list[Process]], number: signal.Signals
) -> None:
    made = join("cat", tty=True)
    with terminal(command(server, "join")) as user:
        until(lambda: user.raw)
        user.client.send_signal(number)
        assert user.client.wait(10) == 128 + number
        assert user.as_before
    until(lambda: made[0].killed == [signal.SIGKILL])


def test_much_goes_in_and_comes_out_with_end_of_input(server: Path, join: Callable[..., list[Process]]) -> None:
    made = join("cat")
    data = os.urandom(1 << 20) * 12
    answer = subprocess.run(command(server, "join"), input=data, capture_output=True, timeout=60, check=False)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout == data
    assert made[0].closed_stdin.is_set()


def test_both_streams_stay_apart(server: Path, join: Callable[..., list[Process]]) -> None:
    join("sh", "-c", "echo out; echo err >&2; kill -TERM $$", stdin=False)
    answer = subprocess.run(command(server, "join"), capture_output=True, timeout=60, check=False)
    assert (answer.stdout, answer.stderr, answer.returncode) == (b"out\n", b"err\n", 128 + 15)


def test_input_nobody_wants_is_not_taken(server: Path, join: Callable[..., list[Process]]) -> None:
    join("true", stdin=False)
    script = f"{' '.join(map(_quoted, command(server, 'join')))}; cat"
    answer = subprocess.run(["sh", "-c", script], input=b"for the next\n", capture_output=True, timeout=60, check=False)
    assert answer.stdout == b"for the next\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_reads_nothing_does_not_hold_the_user(
    server: Path, join: Callable[..., list[Process]], number: signal.Signals
) -> None:
    made = join("sleep", "60")
    with subprocess.Popen(command(server, "join"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        os.set_blocking(client.stdin.fileno(), False)
        until(lambda: made and _full(client.stdin.fileno()))
        client.send_signal(number)
        assert client.wait(10) == (130 if number == signal.SIGINT else -number)
    until(lambda: made[0].killed == [signal.SIGKILL])


def _full(fd: int) -> bool:
    try:
        os.write(fd, bytes(1 << 20))
    except BlockingIOError:
        return True
    return False


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
