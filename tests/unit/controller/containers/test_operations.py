import io
import os
import signal
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.containers.operations import ContainerOperations
from controller.containers.processes import process_table
from drivers.copy.copier import TreeCopier
from drivers.logs.fake import FakeLogs
from drivers.runtime.fake import FakeHost, FakeRuntime
from drivers.runtime.interface import ProcessConfig, TaskConfig, TaskState, TaskStatus
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import Kind
from resources.meta import Key
from resources.object import Object
from tests.unit.controller.cli.fakes import FakeObjects, ref

WEB = ref(Kind.CONTAINER, "web")
BEGIN = datetime(2030, 1, 31, tzinfo=UTC)


class FakeEventSink:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        self.said.append((reason, message))


class World:
    """One container, `web`, whose process is this one."""

    def __init__(self) -> None:
        self.executed: list[ProcessConfig] = []
        self.objects, self.logs, self.events = FakeObjects(), FakeLogs(), FakeEventSink()
        self.runtime = FakeRuntime(FakeHost(), self._execute)
        self.operations = ContainerOperations(self.objects, self.runtime, self.logs, TreeCopier(), self.events)
        security = {"capabilities": {"drop": ["ALL"], "add": ["KILL"]}, "noNewPrivileges": False}
        self.item: Object = self.objects.add(Kind.CONTAINER, "web", {"image": "nginx", "security": security})

    def _execute(self, process: ProcessConfig) -> tuple[int, bytes, bytes]:
        self.executed.append(process)
        return 3, b"out", b"err"

    def task(self, incarnation: int = 1, status: TaskStatus = TaskStatus.RUNNING, **more: Any) -> str:
        task_id = f"{self.item.metadata.uid}{incarnation:032x}"
        account = {"uid": 101, "gid": 102, "groups": [44], "home": "/srv"}
        applied = {"spec": self.item.effective.full(), "account": account}
        pid = os.getpid() if status is TaskStatus.RUNNING else None
        state = TaskState(task_id, status, applied, 1, pid=pid, start_time=1, **more)
        self.runtime.host.tasks[task_id] = state
        self.runtime.host.configs[task_id] = TaskConfig(task_id, {}, Path("/"), "default", applied, 1)
        return task_id

    def exec(self, *args: str, **changes: Any) -> Any:
        options = {"env": {}, "user": "", "working_dir": "", "tty": False, "stdin": True, "rows": 0, "columns": 0}
        return self.operations.exec(WEB, args, **{**options, **changes})

    def lines(self, stopped: Callable[[], bool] = lambda: False, **changes: Any) -> list[bytes]:
        options = {"tail": None, "since": None, "follow": False, "all_tasks": False}
        return [data for _, _, data in self.operations.logs(WEB, **{**options, **changes}, stopped=stopped)]


@pytest.fixture
def world() -> World:
    return World()


def test_an_exec_is_as_confined_as_the_container(world: World) -> None:
    world.task()
    assert world.exec("ls", "-l").wait() == 3
    process = world.executed[0]
    assert process.args == ("ls", "-l")
    assert (process.uid, process.gid, process.groups) == (101, 102, (44,))
    assert process.capabilities == ("CAP_KILL",)
    assert process.no_new_privileges is False
    assert (process.env, process.cwd, process.terminal) == ((), "", False)
    assert world.events.said == [("Exec", "'ls' was run in it")]


def test_an_exec_takes_what_is_asked_on_top(world: World) -> None:
    world.task()
    world.exec("sh", env={"A": "b"}, user="7:8", working_dir="/w", tty=True, rows=5, columns=9)
    process = world.executed[0]
    assert (process.uid, process.gid) == (7, 8)
    assert set(process.env) >= {"TERM=xterm", "A=b"}
    assert any(pair.startswith("HOME=") for pair in process.env)
    assert (process.cwd, process.terminal, process.rows, process.columns) == ("/w", True, 5, 9)


def test_an_exec_needs_a_user_that_is_there_and_a_command(world: World) -> None:
    world.task()
    with pytest.raises(FailedPrecondition, match="no user"):
        world.exec("ls", user="nobody-knows-me")
    with pytest.raises(InvalidArgument):
        world.exec()
    assert world.executed == []


def test_only_the_newest_incarnation_that_runs_is_meant(world: World) -> None:
    world.task(1, TaskStatus.STOPPED)
    world.task(2)
    world.task(3, TaskStatus.PREPARED)
    world.operations.kill(WEB, "SIGHUP")
    assert world.runtime.calls == [("kill", f"{world.item.metadata.uid}{2:032x}")]
    assert world.events.said == [("Signalled", "signal SIGHUP was sent to it")]


def test_what_does_not_run_or_is_not_there_is_said(world: World) -> None:
    with pytest.raises(FailedPrecondition, match="not there yet"):
        world.operations.attach(WEB)
    world.task(1, TaskStatus.STOPPED)
    with pytest.raises(FailedPrecondition, match="it ended with an exit code that is not known"):
        world.exec("ls")
    world.task(1, TaskStatus.STOPPED, exit_code=3)
    for ask in (lambda: world.exec("ls"), lambda: world.operations.stat(WEB, "/")):
        with pytest.raises(FailedPrecondition, match="it ended with exit code 3") as raised:
            ask()
        assert raised.value.hint == "`lading start web` runs it again"
    world.task(1, TaskStatus.PREPARED)
    with pytest.raises(FailedPrecondition, match="it is prepared"):
        world.exec("ls")
    with pytest.raises(NotFound):
        world.operations.kill(ref(Kind.CONTAINER, "other"), "KILL")
    world.task()
    with pytest.raises(InvalidArgument, match="is not a signal"):
        world.operations.kill(WEB, "SIGNOTHING")


def test_files_go_in_and_out_through_the_process_root(world: World, tmp_path: Path) -> None:
    world.task()
    (tmp_path / "file").write_bytes(b"content")
    assert (world.operations.stat(WEB, f"{tmp_path}/file") or {})["size"] == 7
    assert world.operations.stat(WEB, f"{tmp_path}/nothing") is None
    archive = b"".join(world.operations.copy_out(WEB, f"{tmp_path}/file"))
    (tmp_path / "into").mkdir()
    world.operations.copy_in(WEB, f"{tmp_path}/into", io.BytesIO(archive))
    assert (tmp_path / "into/file").read_bytes() == b"content"
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        assert read.getnames() == ["file"]
    assert [reason for reason, _ in world.events.said] == ["CopiedOut", "CopiedIn"]


def test_a_pid_that_became_another_process_is_not_entered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = world.task()
    before = world.runtime.host.tasks[task_id]
    states = iter([replace(before, start_time=2), None])
    monkeypatch.setattr(world.runtime, "state", lambda _: next(states))
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="has just ended"):
            world.operations.stat(WEB, "/")


def write(world: World, task_id: str, *numbers: int) -> None:
    for number in numbers:
        world.logs.write(task_id, f"{number}\n".encode(), at=BEGIN + timedelta(seconds=number))


def numbers(lines: list[bytes]) -> list[int]:
    return [int(line) for line in lines]


def test_logs_span_incarnations_when_asked(world: World) -> None:
    write(world, world.task(1, TaskStatus.STOPPED), 1, 2, 3)
    write(world, world.task(2, TaskStatus.STOPPED), 4, 5)
    write(world, world.task(3), 6, 7)
    assert numbers(world.lines()) == [6, 7]
    assert numbers(world.lines(all_tasks=True)) == [1, 2, 3, 4, 5, 6, 7]
    for tail in range(9):
        assert numbers(world.lines(all_tasks=True, tail=tail)) == [1, 2, 3, 4, 5, 6, 7][7 - min(tail, 7) :]
    assert numbers(world.lines(tail=1)) == [7]
    assert numbers(world.lines(all_tasks=True, since=BEGIN + timedelta(seconds=3))) == [3, 4, 5, 6, 7]


def test_logs_of_what_was_never_made_are_empty(world: World) -> None:
    assert world.lines() == []
    assert world.lines(all_tasks=True, tail=4) == []


def test_followed_logs_go_on_in_the_next_incarnation_until_it_is_deleted(world: World) -> None:
    first = world.task(1)
    write(world, first, 1, 2)
    got: list[bytes] = []

    def follow() -> None:
        for _, _, data in world.operations.logs(
            WEB, tail=1, since=None, follow=True, all_tasks=False, stopped=lambda: False
        ):
            got.append(data)
            if data == b"2\n":
                write(world, first, 3)
            elif data == b"3\n":
                del world.runtime.host.tasks[first]
                world.logs.delete(first)
                threading.Timer(0.2, lambda: write(world, world.task(2), 4, 5)).start()
            elif data == b"5\n":
                world.objects.remove(world.item.key)
                world.logs.delete(f"{world.item.metadata.uid}{2:032x}")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert numbers(got) == [2, 3, 4, 5]


def test_following_ends_when_nobody_wants_it(world: World) -> None:
    write(world, world.task(1), 1)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert numbers(world.lines(follow=True, stopped=stop.is_set)) == [1]


def test_usage_and_attach(world: World) -> None:
    task_id = world.task()
    assert world.operations.stats(WEB)["pids"] == 1
    stream = world.operations.attach(WEB)
    world.runtime.exit(task_id, 128 + signal.SIGTERM)
    assert stream.wait() == 143
    assert world.events.said == [("Attached", "somebody joined its streams")]


def test_the_process_table_has_all_of_a_cgroup() -> None:
    rows = process_table(os.getpid())
    own = next(row for row in rows if row["pid"] == os.getpid())
    assert own["user"] == os.geteuid()
    assert own["cpuTime"] > 0
    assert "python" in own["command"]
    assert process_table(2**22 - 1) == []
