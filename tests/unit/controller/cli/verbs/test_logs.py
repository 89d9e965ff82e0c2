"""logs: of one container, and of several."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from controller.cli.verbs.logs import _HELD
from resources.errors import DataLoss
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import NOW, FakeBackend, FakeSession, run, status

Written = tuple[datetime, str, bytes]
Stopped = Callable[[], bool]


@pytest.fixture
def web(backend: FakeBackend) -> Object:
    for name in ("database", "web"):
        item = backend.objects.add(Kind.CONTAINER, name, {"image": "nginx"})
        backend.objects.report(item, status())
    return item


def written(*lines: tuple[int, bytes], stream: str = "stdout") -> Callable[[Stopped], Iterator[Written]]:
    return lambda stopped: ((NOW + timedelta(seconds=second), stream, data) for second, data in lines)


def test_logs_keep_their_bytes_in_a_pipe_and_are_cleaned_on_a_terminal(backend: FakeBackend, web: Object) -> None:
    backend.operations.lines = [
        (NOW, "stdout", b"plain \xff\x1b]52;c;ZXZpbA==\x07\r\n"),
        (NOW, "stderr", b"\x1b[31mred\x1b[0m\n"),
    ]
    piped, seen = FakeSession("logs", "web"), FakeSession("logs", "web", "-t", tty=True)
    assert (run(backend, piped), run(backend, seen)) == (0, 0)
    assert (piped.stdout, piped.stderr) == (b"plain \xff\x1b]52;c;ZXZpbA==\x07\r\n", b"\x1b[31mred\x1b[0m\n")
    assert seen.text == "2030-01-31T12:00:00.000000+00:00 plain \ufffd\\x1b]52;c;ZXZpbA==\\x07\n"
    assert seen.errors == "2030-01-31T12:00:00.000000+00:00 red\n"


def test_logs_ask_for_what_the_flags_say(backend: FakeBackend, web: Object) -> None:
    assert (
        run(backend, FakeSession("logs", "web", "-f", "--tail", "5", "--since", "2030-01-31T13:00+01:00", "--all")) == 0
    )
    assert backend.operations.calls == [
        ("logs", "web", {"tail": 5, "since": NOW, "follow": True, "all_tasks": True}),
    ]
    for flags, said in ((["--tail", "-1"], "no number of lines"), (["--since", "soon"], "neither a duration")):
        user = FakeSession("logs", "web", *flags)
        assert run(backend, user) == 1
        assert said in user.errors


def test_of_several_each_line_has_its_name_and_all_are_in_order(backend: FakeBackend, web: Object) -> None:
    backend.operations.lines_of = {
        "web": written((1, b"one\n"), (3, b"three, which has no end")),
        "database": written((2, b"two\n"), (4, b"four\n")),
    }
    user = FakeSession("logs", "web", "database", "web", "--tail", "2")
    assert run(backend, user) == 0
    assert user.text == "web      | one\ndatabase | two\nweb      | three, which has no end\ndatabase | four\n"
    assert [(name, options["tail"]) for _, name, options in backend.operations.calls] == [("web", 2), ("database", 2)]
    assert user.errors == ""


def test_of_several_as_json_and_with_times(backend: FakeBackend, web: Object) -> None:
    backend.operations.lines_of = {"web": written((0, b"x\n"), stream="stderr"), "database": written()}
    user = FakeSession("logs", "web", "database", "-o", "json")
    assert run(backend, user) == 0
    assert json.loads(user.text) == {"time": NOW.isoformat(), "name": "web", "stream": "stderr", "data": "x\n"}
    user = FakeSession("logs", "web", "database", "-t", tty=True)
    assert run(backend, user) == 0
    assert user.errors == "web      | 2030-01-31T12:00:00.000000+00:00 x\n"


def test_several_are_followed_as_they_write(backend: FakeBackend, web: Object) -> None:
    go, threads = threading.Event(), threading.active_count()

    def slow(stopped: Stopped) -> Iterator[Written]:
        yield NOW, "stdout", b"early\n"
        assert go.wait(10)
        yield NOW, "stdout", b"late\n"

    def endless(stopped: Stopped) -> Iterator[Written]:
        while b"early" not in user.stdout:
            time.sleep(0.005)
        yield NOW, "stdout", b"between\n"
        while not stopped():
            go.set()
            time.sleep(0.005)

    backend.operations.lines_of = {"web": slow, "database": endless}
    user = FakeSession("logs", "-f", "web", "database")
    user.interrupted = lambda: b"late" in user.stdout
    assert run(backend, user) == 130
    assert user.text == "web      | early\ndatabase | between\nweb      | late\n"
    assert threading.active_count() == threads


def test_who_writes_faster_than_is_read_waits(backend: FakeBackend, web: Object) -> None:
    made: list[int] = []

    def flood(stopped: Stopped) -> Iterator[Written]:
        for number in range(100_000):
            made.append(number)
            yield NOW, "stdout", b"x\n"

    backend.operations.lines_of = {"web": flood, "database": written()}
    user = FakeSession("logs", "-f", "web", "database")
    seen: list[tuple[int, int]] = []

    def look() -> bool:
        lines = user.stdout.count(b"\n")
        if lines == 10:
            time.sleep(0.2)  # time enough for it to run ahead
            seen.append((lines, len(made)))
        return lines >= 10

    user.interrupted = look
    assert run(backend, user) == 130
    lines, ahead = seen[0]
    assert ahead <= lines + _HELD + 2


def test_followers_end_with_what_they_follow_and_say_what_went_wrong(backend: FakeBackend, web: Object) -> None:
    def broken(stopped: Stopped) -> Iterator[Written]:
        raise DataLoss("the log cannot be read")
        yield NOW, "stdout", b""

    backend.operations.lines_of = {"web": written((0, b"last\n")), "database": written()}
    user = FakeSession("logs", "-f", "web", "database")
    assert (run(backend, user), user.text) == (0, "web      | last\n")
    backend.operations.lines_of["database"] = broken
    user = FakeSession("logs", "-f", "web", "database")
    assert run(backend, user) == 1
    assert user.errors == "lading: the log cannot be read\n"


def test_one_that_is_not_there_is_named_before_anything_is_shown(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("logs", "web", "nobody")
    assert (run(backend, user), user.text) == (1, "")
    assert "there is no container/nobody" in user.errors
    assert backend.operations.calls == []
    many = FakeSession("logs", *(f"c{number}" for number in range(101)))
    assert run(backend, many) == 2
    assert "usage: lading logs NAME" in many.errors
