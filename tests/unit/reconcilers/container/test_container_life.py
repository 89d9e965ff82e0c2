"""States asked for, ends and restarts, with a clock that stands until it is moved."""

import signal
from datetime import timedelta
from typing import Any

import pytest

from drivers.images.interface import ImageConfig
from drivers.runtime.interface import TaskStatus
from reconcilers.interface import ChangeKind, Diff
from resources.object import Object
from tests.unit.reconcilers.container.worlds import World, container, held

ALWAYS = {"restart": {"policy": "always"}}


def running(**spec: Any) -> tuple[World, Any, Object]:
    world = World()
    loop, item = world.life(), container(**spec)
    loop.converge(item)
    assert world.running(item)
    return world, loop, item


def phase(loop: Any, item: Object) -> str:
    found: str = loop.status(item).phase
    return found


# ---- states


def test_a_stop_takes_the_time_it_is_given_and_no_longer() -> None:
    world, loop, item = running(stop={"timeout": "3s"})
    task_id = world.task(item).id
    world.runtime.stubborn.add(task_id)
    stopped = held(item, "stopped")
    diff = loop.converge(stopped)
    assert diff.wake_at == world.now + timedelta(seconds=3)
    assert phase(loop, stopped) == "Stopping"
    next_engine = world.life()
    world.runtime.stubborn.add(task_id)
    world.later(2.9)
    assert next_engine.converge(stopped).wake_at == diff.wake_at
    assert next_engine.acted == []
    world.later(0.1)
    next_engine.converge(stopped)
    task = world.task(item)
    assert (task.status, task.exit_code, task.recorded) == (TaskStatus.STOPPED, 137, True)
    assert next_engine.look(item.key, stopped) == Diff()
    status = next_engine.status(stopped)
    assert (status.phase, status.ready, status.fields["suspendedBy"]) == ("Stopped", False, "cli")
    assert status.fields["exitCode"] == 137


def test_a_stop_sends_the_signal_of_manifest_or_image() -> None:
    sent: list[int] = []
    for spec, image in (({"stop": {"signal": "USR1"}}, "SIGQUIT"), ({}, "SIGQUIT"), ({}, "")):
        world = World(config=ImageConfig(command=("x",), stop_signal=image))
        loop, item = world.life(), container(**spec)
        loop.converge(item)
        [action] = loop.look(item.key, held(item, "stopped")).actions
        sent.append(action.signal)
    assert sent == [signal.SIGUSR1, signal.SIGQUIT, signal.SIGTERM]


def test_a_stop_that_was_noted_but_not_sent_is_sent() -> None:
    world, loop, item = running()
    task = world.task(item)
    world.runtime.annotate(task.id, {"stop": {"attempt": 1, "at": world.now.isoformat()}})
    world.later(1)
    stopped = held(item, "stopped")
    loop.settle(stopped)
    assert world.task(item).exit_code == 128 + signal.SIGTERM


def test_stopped_then_started_runs_whatever_the_policy() -> None:
    world, loop, item = running()
    loop.settle(held(item, "stopped"))
    loop.converge(item)
    assert (world.running(item).attempt, phase(loop, item)) == (2, "Running")
    loop.settle(held(item, "stopped"))
    world.reboot()
    next_engine = world.life()
    assert next_engine.converge(held(item, "stopped")) == Diff()
    next_engine.converge(item)
    assert world.running(item).attempt == 3


def test_started_again_while_it_is_still_stopping() -> None:
    world, loop, item = running()
    task_id = world.task(item).id
    world.runtime.stubborn.add(task_id)
    loop.converge(held(item, "stopped"))
    diff = loop.converge(item)
    assert diff.waiting == "its process has not ended"
    loop.settle(item)
    assert (world.running(item).attempt, world.running(item).exit_code) == (2, None)


def test_a_stopped_container_is_stopped_for_the_policy_too() -> None:
    world, loop, item = running(**ALWAYS)
    stopped = held(item, "stopped")
    loop.settle(stopped)
    world.later(60)
    assert loop.converge(stopped) == Diff()
    world.reboot()
    assert world.life().converge(stopped) == Diff()
    assert world.task(item).status is TaskStatus.STOPPED


def test_paused_and_resumed() -> None:
    world, loop, item = running()
    paused = held(item, "paused")
    assert [c.kind for c in loop.look(item.key, paused).changes] == [ChangeKind.HOT]
    loop.converge(paused)
    assert (world.task(item).status, phase(loop, paused)) == (TaskStatus.PAUSED, "Paused")
    assert loop.look(item.key, paused) == Diff()
    assert loop.status(paused).condition("Ready").message == "paused by cli"
    loop.converge(item)
    assert world.running(item).attempt == 1


def test_a_paused_container_is_resumed_to_be_stopped() -> None:
    world, loop, item = running()
    loop.converge(held(item, "paused"))
    loop.converge(held(item, "stopped"))
    assert world.task(item).exit_code == 128 + signal.SIGTERM
    assert loop.acted[-4:] == ["ResumeTask", "SignalTask", "RecordExit", "RecordApplied"]


def test_created_is_made_and_not_started() -> None:
    world = World()
    loop, item = world.life(), container(state="created")
    assert loop.converge(item) == Diff()
    assert (world.task(item).status, phase(loop, item)) == (TaskStatus.CREATED, "Created")
    assert loop.status(item).condition("Ready").message == "its manifest says created"
    started = container(state="running")
    loop.converge(started)
    assert (world.running(item).attempt, world.running(item).applied["state"]) == (1, "running")
    loop.settle(item)
    assert phase(loop, item) == "Stopped"


def test_what_is_created_takes_a_change_before_it_is_started() -> None:
    world = World()
    loop = world.life()
    loop.converge(container(state="created"))
    item = container(resources={"pids": 7})
    loop.converge(item)
    assert (world.running(item).limits.pids, world.running(item).attempt) == (7, 2)


def test_stopped_from_the_start_is_nothing() -> None:
    world = World()
    loop, item = world.life(), container(state="stopped")
    assert loop.converge(item) == Diff()
    assert (world.left(), phase(loop, item)) == ([], "Stopped")
    assert loop.status(item).condition("Ready").message == "its manifest says stopped"


def test_a_stopped_container_of_an_older_manifest_goes() -> None:
    world, loop, item = running()
    loop.settle(held(item, "stopped"))
    changed = held(container(command=["other"]), "stopped")
    loop.settle(changed)
    assert world.left() == []
    hot = held(container(restart={"policy": "always"}), "stopped")
    assert loop.converge(hot) == Diff()


# ---- ends


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("always", 0, True),
        ("always", 1, True),
        ("unless-stopped", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
        ("on-failure", None, True),
        ("never", 0, False),
        ("never", 1, False),
    ],
)
@pytest.mark.parametrize("engine_away", [False, True])
def test_policies(policy: str, code: int | None, again: bool, engine_away: bool) -> None:
    world, loop, item = running(restart={"policy": policy})
    world.exit(item, code)
    loop = world.life() if engine_away else loop
    diff = loop.look(item.key, item)
    assert [(c.path, c.kind, c.drift) for c in diff.changes] == [("process", ChangeKind.RESTART, True)] * again
    loop.converge(item)
    if again:
        assert world.running(item).attempt == 2
        assert loop.status(item).fields["restarts"] == 1
        return
    status = loop.status(item)
    assert status.phase == ("Completed" if code == 0 else "Failed")
    assert (status.ready, status.fields["exitCode"]) == (code == 0, code)
    assert world.task(item).recorded
    assert loop.look(item.key, item) == Diff()


def test_restarts_wait_longer_and_longer_and_begin_anew_after_a_while_up() -> None:
    world, loop, item = running(restart={"policy": "always", "backoff": {"initial": "1s", "max": "3s"}})
    waits = []
    for _ in range(5):
        world.later(0.5)
        world.exit(item, 1)
        diff = loop.converge(item)
        waits.append((diff.wake_at - world.now).total_seconds() if diff.wake_at else 0)
        if diff.wake_at:
            assert phase(loop, item) == "Restarting"
            world.now = diff.wake_at - timedelta(milliseconds=1)
            assert world.life().converge(item).wake_at == diff.wake_at
            world.now = diff.wake_at
        loop = world.life()
        loop.converge(item)
        assert world.running(item)
    assert waits == [0, 1, 2, 3, 3]
    world.later(10)
    world.exit(item, 1)
    assert loop.converge(item).wake_at is None
    assert world.running(item).attempt == 7


def test_a_limit_of_restarts() -> None:
    world, loop, item = running(restart={"policy": "on-failure", "maxRetries": 2})
    for _ in range(3):
        world.exit(item, 1)
        loop.converge(item)
        world.later(1)
        loop.converge(item)
    status = loop.status(item)
    assert (status.phase, status.fields["restarts"]) == ("Failed", 2)
    assert "after 2 restarts" in status.condition("Ready").message
    assert loop.look(item.key, item) == Diff()
    loop.converge(container(restart={"policy": "on-failure", "maxRetries": 2}, restart_request="1"))
    assert world.running(item).applied["failures"] == 0


def test_a_new_manifest_ends_the_waiting_for_a_restart() -> None:
    world, loop, item = running(restart={"policy": "always", "backoff": {"initial": "30s", "max": "30s"}})
    for _ in range(2):
        world.exit(item, 1)
        loop.converge(item)
    assert phase(loop, item) == "Restarting"
    better = container(command=["better"])
    loop.settle(better)
    assert world.running(better)


@pytest.mark.parametrize(
    ("policy", "again"), [("always", True), ("unless-stopped", True), ("on-failure", True), ("never", False)]
)
def test_after_a_reboot(policy: str, again: bool) -> None:
    world, loop, item = running(restart={"policy": policy})
    world.reboot()
    loop = world.life()
    loop.converge(item)
    if again:
        assert world.running(item).attempt == 2
        assert world.mounts
        return
    status = loop.status(item)
    assert (status.phase, status.fields["exitCode"], status.ready) == ("Failed", "unknown", False)
    assert loop.look(item.key, item) == Diff()


def test_a_job_that_is_done_stays_done_until_it_is_another_or_asked_for_again() -> None:
    world, loop, item = running()
    world.exit(item, 0)
    loop.converge(item)
    assert loop.status(item).condition("Completed").status == "True"
    world.reboot()
    loop = world.life()
    assert loop.converge(item) == Diff()
    hot = container(restart={"policy": "on-failure"}, generation=2)
    loop.converge(hot)
    assert loop.status(hot).condition("Completed").status == "True"
    loop.blockers = ("image/box is not ready",)
    other = container(command=["next"], generation=3)
    assert loop.status(other).condition("Completed").status == "False"
    assert not loop.status(other).ready
    loop.blockers = ()
    loop.settle(other)
    assert phase(loop, other) == "Running"
    world.exit(other, 0)
    loop.converge(other)
    again = other.model_copy(update={"restart_request": "x"})
    loop.converge(again)
    assert world.running(again).attempt == 2


def test_what_is_killed_for_its_memory_says_so() -> None:
    world, loop, item = running()
    world.exit(item, 137, oom_killed=True)
    loop.converge(item)
    status = loop.status(item)
    assert (status.condition("Ready").reason, status.fields["oomKilled"]) == ("OOMKilled", True)
    assert world.events.reasons == ["OOMKilled"]


def test_a_process_that_dies_before_it_is_started_is_made_again() -> None:
    world = World()
    loop = world.life()
    loop.converge(container(state="created"))
    world.exit(container(), 137)
    item = container()
    loop.converge(item)
    assert world.running(item)
