"""Commands that wait: they end in time, say why, and survive whatever becomes of the engine they wait for."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, Document, container, document, text
from tests.integration.command.outside import process, running, until
from tests.integration.command.test_engine_death import engines, kill_engine
from tests.machines import Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]
NOBODY = "localhost:1/nobody/serves:1"


@pytest.fixture
def apart(machines: Machines, engine: Callable[..., Engine], images: Path) -> Client:
    """An engine with a network of its own, which has the image already."""
    one = Client(engine(machines.host.prefix), "default")
    one.apply()
    return one


class Command(subprocess.Popen[str]):
    def __init__(self, client: Client, *words: str, stdin: str = "") -> None:
        super().__init__(
            [*client.command, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(stdin)
            self.stdin.close()
        self.stdin = None

    def line(self, seconds: float = 20) -> str:
        """Of its errors."""
        assert self.stderr is not None
        assert select.select([self.stderr], [], [], seconds)[0], "it says nothing"
        return self.stderr.readline()


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    made: list[Command] = []
    yield made
    for one in made:
        if one.poll() is None:
            one.kill()
            one.communicate()


def image(name: str, reference: str) -> Document:
    return document("Image", name, **{"from": {"registry": reference}})


def applied(client: Client, *documents: Document, flags: tuple[str, ...] = ()) -> tuple[int, str, float]:
    begun = time.monotonic()
    answer = client("apply", "-f", "-", *flags, check=False, stdin=text(*documents))
    return answer.returncode, answer.stdout + answer.stderr, time.monotonic() - begun


def test_a_registry_that_nobody_serves_is_given_up_after_ten_seconds(apart: Client) -> None:
    web = container("web", image={"name": "far"})
    code, said, took = applied(apart, image("far", NOBODY), web)
    assert code == 1, said
    assert 9 < took < 30, (took, said)
    assert "image/far failed: " in said
    assert "the engine keeps trying" in said
    assert "container/web failed: image/far is not ready" in said
    lines = [line for line in said.splitlines() if not line.startswith("lading: ")]
    assert len(lines) == len(set(lines)), said


def test_a_timeout_is_kept_though_errors_come_and_go(apart: Client) -> None:
    code, said, took = applied(apart, image("far", NOBODY), flags=("--timeout", "5s"))
    assert code == 4, said
    assert 4.5 < took < 8, (took, said)


def test_a_pull_that_fails_is_one_event(apart: Client) -> None:
    applied(apart, image("far", NOBODY))
    events = apart("events", "image/far").stdout.splitlines()
    failed = [line for line in events if "  Failed  " in line]
    assert len(failed) == 1, events
    assert len([line for line in events if "  StartPull  " in line]) > 1


def test_a_deletion_does_not_repeat_what_was_wrong_before(apart: Client) -> None:
    applied(apart, image("far", NOBODY), flags=("--timeout", "9s"))
    assert "tried again" in apart("describe", "image/far").stdout
    answer = apart("delete", "image/far")
    assert answer.stdout.splitlines()[-1] == "image/far  Deleted"
    assert "tried again" not in answer.stdout + answer.stderr


def test_a_shutdown_is_told_to_those_who_wait(apart: Client, commands: list[Command]) -> None:
    apart.apply(container("web"))
    codes = {"apply": 1, "wait": 125, "logs": 1, "exec": 125}
    waits = {
        "apply": Command(apart, "apply", "-f", "-", stdin=text(image("far", NOBODY))),
        "wait": Command(apart, "wait", "web"),
        "logs": Command(apart, "logs", "-f", "web"),
        "exec": Command(apart, "exec", "web", "--", "sleep", "60"),
    }
    commands += waits.values()
    time.sleep(2)
    one = apart.process("web")
    apart("shutdown")
    for name, command in waits.items():
        said = command.communicate(timeout=20)[1]
        assert (command.returncode, "the engine was shut down" in said) == (codes[name], True), (name, said)
        assert "What runs goes on" in said
    assert one.alive
    assert apart.process("web") == one


def test_a_killed_engine_is_told_to_those_who_wait(alone: Client, commands: list[Command]) -> None:
    alone.apply(container("web"))
    pid = alone.engine.pid
    waits = [Command(alone, "wait", "web"), Command(alone, "apply", "-f", "-", stdin=text(image("far", NOBODY)))]
    commands += waits
    time.sleep(1)
    kill_engine(alone)
    for command, code in zip(waits, (125, 1), strict=True):
        said = command.communicate(timeout=20)[1]
        assert command.returncode == code, said
        assert f"the engine (pid {pid}) ended before the command did" in said
    assert "started an engine" in alone("get", "all").stderr


@pytest.mark.parametrize("round_", range(3))
def test_commands_that_come_as_the_engine_is_killed_find_another(
    alone: Client, commands: list[Command], round_: int
) -> None:
    """Killed just before, while or after they connect: they are answered, or say that it died under them."""
    alone("get", "all")
    for step in range(6):
        crowd = [Command(alone, "get", "all") for _ in range(4)]
        commands += crowd
        time.sleep(0.01 * step + 0.005 * round_)
        for one in engines(alone):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        for command in crowd:
            _, said = command.communicate(timeout=60)
            died = "ended before the command did" in said
            killed = "was ended by signal 9" in said
            assert command.returncode == 0 or died or killed, said
            assert "serves" not in said, said


def test_many_that_find_no_engine_while_the_first_of_theirs_is_killed(alone: Client, commands: list[Command]) -> None:
    crowd = [Command(alone, "get", "all") for _ in range(4)]
    commands += crowd
    until(lambda: engines(alone))
    time.sleep(0.5)
    os.kill(engines(alone)[0].pid, signal.SIGKILL)
    outputs = [one.communicate(timeout=90)[1] for one in crowd]
    failed = [said for one, said in zip(crowd, outputs, strict=True) if one.returncode]
    assert all("ended by signal 9" in said or "ended before" in said for said in failed), outputs
    assert len(failed) <= 1, outputs
    until(lambda: [one.pid for one in engines(alone)] == [alone.engine.pid], what="only one is left")


def test_a_stopped_engine_is_named_and_goes_on(alone: Client, commands: list[Command]) -> None:
    alone.apply(container("web"))
    pid = alone.engine.pid
    assert pid
    waiting = Command(alone, "wait", "web")
    commands.append(waiting)
    time.sleep(0.5)
    os.kill(pid, signal.SIGSTOP)
    try:
        fresh = Command(alone, "get", "container")
        commands.append(fresh)
        for command in (fresh, waiting):
            said = command.line()
            assert f"the engine (pid {pid}) does not answer: it is stopped. `kill -CONT {pid}`" in said
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "web" in fresh.communicate(timeout=20)[0]
    assert fresh.returncode == 0
    alone("stop", "web")
    waiting.communicate(timeout=20)
    assert waiting.returncode == 137


def test_a_stopped_engine_that_is_killed_frees_its_clients(alone: Client, commands: list[Command]) -> None:
    alone("get", "all")
    pid = alone.engine.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    crowd = [Command(alone, "get", "all") for _ in range(4)]
    commands += crowd
    time.sleep(1)
    os.kill(pid, signal.SIGKILL)
    outputs = [one.communicate(timeout=60) for one in crowd]
    assert [one.returncode for one in crowd] == [0] * 4, outputs
    assert process(pid) is None


def test_a_socket_that_nobody_listens_at_is_no_engine(alone: Client) -> None:
    alone("get", "all")
    kill_engine(alone)
    assert (alone.engine.run_root / "command.sock").exists()
    assert "started an engine" in alone("get", "all").stderr


def test_a_hundred_clients_at_once_are_answered(alone: Client, commands: list[Command]) -> None:
    alone("get", "all")
    crowd = [Command(alone, "get", "all") for _ in range(100)]
    commands += crowd
    assert {one.communicate(timeout=60)[1] for one in crowd} == {"nothing in namespace default\n"}
    assert {one.returncode for one in crowd} == {0}


@pytest.mark.parametrize("words", [["run", "nginx"], ["get", "container", "--wacth"], ["help", "aply"], ["get", "-h"]])
def test_a_wrong_command_line_starts_no_engine(alone: Client, words: list[str]) -> None:
    answer = alone(*words, check=False)
    assert answer.returncode == (0 if "-h" in words else 2)
    assert not running(str(alone.engine.root), " serve ")
    assert not alone.engine.root.exists()
