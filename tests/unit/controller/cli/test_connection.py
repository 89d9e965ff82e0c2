"""Client and server as they meet: over a real socket, the client a process of its own."""

import io
import os
import signal
import socket
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.cli import frames
from controller.cli.call import Call
from controller.cli.server import CommandServer
from controller.cli.session import RemoteSession
from resources.errors import Cancelled, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
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
    assert {"controller.cli.main", "controller.cli.client", "_socket"} <= imported
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


def test_files_are_the_clients(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.yaml").write_bytes(b"a: 1")
    (tmp_path / "below/b.json").write_bytes(b"{}")
    (tmp_path / "below/ignored.txt").write_bytes(b"")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 8000)
    seen: list[Any] = []

    def reads(call: Call) -> int:
        session = call.session
        seen.append(session.find("."))
        seen.append(session.read("a.yaml", 100))
        seen.append(session.read("-", 1 << 20))
        content = session.digest("large")
        seen.append(content)
        seen.append(b"".join(session.send("large")) == bytes(range(256)) * 8000)
        session.write("new", b"n" * 700_000)
        for path, limit in (("nothing", 5), ("a.yaml", 3), ("below", 5), ("below/nothing.yaml", 5)):
            try:
                session.read(path, limit)
            except (NotFound, ResourceExhausted, InvalidArgument) as error:
                seen.append(type(error))
        return 0

    verb(reads)
    answer = call(server, "reads", cwd=tmp_path, input=b"from a pipe" * 50_000)
    assert answer.returncode == 0, answer.stderr
    assert seen[0] == ["./a.yaml", "./below/b.json"]
    assert seen[1:3] == [b"a: 1", b"from a pipe" * 50_000]
    assert (seen[3].size, len(seen[3].digest), seen[4]) == (256 * 8000, 71, True)
    assert seen[5:] == [NotFound, ResourceExhausted, InvalidArgument, NotFound]
    assert (tmp_path / "new").read_bytes() == b"n" * 700_000
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_folder_is_the_same_bytes_each_time_and_others_when_it_changed(
    server: Path, verb: AddVerb, tmp_path: Path
) -> None:
    for number in range(20):
        (tmp_path / f"f{number}").write_text(str(number))
    seen = []

    def digests(call: Call) -> int:
        seen.append((call.session.digest(str(tmp_path)), b"".join(call.session.send(str(tmp_path)))))
        return 0

    verb(digests)
    for change in (None, None, "more"):
        if change:
            (tmp_path / "f3").write_text(change)
        assert call(server, "digests").returncode == 0
    assert seen[0] == seen[1] != seen[2]
    assert len(seen[0][1]) == seen[0][0].size


def test_a_file_that_has_not_changed_is_not_read_again(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(b"one" * 1000)
    seen = []

    def digests(call: Call) -> int:
        seen.append(call.session.digest(str(archive)).digest)
        call.session.out(str(len(reads)))
        return 0

    reads: list[str] = []
    ask = RemoteSession._ask

    def counted(session: RemoteSession, *fields: str) -> list[bytes]:
        reads.extend(fields[:1] if fields[0] == "digest" else ())
        return ask(session, *fields)

    verb(digests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemoteSession, "_ask", counted)
        # What changed a moment ago may change again in the same tick, and is not remembered.
        assert [call(server, "digests").stdout for _ in range(2)] == [b"1", b"2"]
        patch.setattr("controller.cli.digests._GRAIN", 0)
        assert [call(server, "digests").stdout for _ in range(3)] == [b"3"] * 3
        archive.write_bytes(b"two" * 1000)
        assert [call(server, "digests").stdout for _ in range(2)] == [b"4", b"4"]
    assert len(set(seen[:5])) == 1 != len(set(seen))


def test_who_says_nothing_is_cut_off(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.cli.server._HELLO_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(server / "command.sock"))
        silent.sendall(b"r\0\0")
        silent.settimeout(10)
        assert silent.recv(10) == b""


def test_there_is_a_limit_to_commands_at_once(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.cli.server._MAX_COMMANDS", 1)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(server / "command.sock"))
        until(lambda: call(server, "version").returncode == 1)
    until(lambda: call(server, "version").returncode == 0)


def test_what_cannot_be_written_stops_the_sending(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    made = []

    def sends(call: Call) -> int:
        def chunks() -> Any:
            for number in range(500):
                made.append(number)
                yield b"x" * 65536

        with pytest.raises(NotFound):
            call.session.receive(str(tmp_path / "nowhere/deep"), chunks())
        call.session.out("and on it goes\n")
        return 0

    verb(sends)
    answer = call(server, "sends")
    assert (answer.returncode, answer.stdout) == (0, b"and on it goes\n")
    assert len(made) < 500


def test_content_that_is_cut_short_leaves_nothing(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    def halves(call: Call) -> int:
        def chunks() -> Any:
            yield b"x" * 100_000
            raise FailedPrecondition("the other half is gone")

        call.session.receive(str(tmp_path / "new"), chunks())
        return 0

    verb(halves)
    answer = call(server, "halves")
    assert (answer.returncode, answer.stderr) == (1, b"lading: the other half is gone\n")
    assert list(tmp_path.iterdir()) == []


def test_a_tar_is_taken_apart_or_passed_on(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(b"content" * 100_000)
    (tmp_path / "tree/link").symlink_to("deep/file")
    (tmp_path / "there").mkdir()

    def gathered(call: Call) -> int:
        source, *targets = call.arguments.words
        data = b"".join(call.session.pack(source, name="named"))
        for target in targets:
            call.session.receive(target, iter([data[:1000], data[1000:]]))
        return 0

    verb(gathered)
    answer = call(server, "gathered", "tree", "there", "other", "-", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    for copy in (tmp_path / "there/named", tmp_path / "other"):
        assert (copy / "deep/file").read_bytes() == b"content" * 100_000
        assert (copy / "link").readlink() == Path("deep/file")
    with tarfile.open(fileobj=io.BytesIO(answer.stdout)) as archive:
        assert archive.getnames() == ["named", "named/deep", "named/deep/file", "named/link"]
    answer = call(server, "gathered", "nothing", "there", cwd=tmp_path)
    assert answer.stderr == b"lading: nothing: no such file or directory\n"


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
        frames.frame(frames.REQUEST, frames.pack("900", "1", "", "0", "0", "", "version")),
        frames.frame(frames.REQUEST, frames.pack("6", "1", "", "9" * 30, "0", "", "version")),
    ],
)
def test_who_does_not_speak_the_language_is_cut_off_alone(server: Path, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(server / "command.sock"))
        stranger.sendall(sent)
        stranger.settimeout(10)
        assert stranger.recv(100) == b""
    assert call(server, "version").returncode == 0


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
