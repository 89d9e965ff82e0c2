"""The contract of the runtime driver, held by the real one and by the one in memory alike."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.runtime.fake import FakeRuntime
from drivers.runtime.interface import Limits, ProcessConfig, Runtime, TaskConfig, TaskState, TaskStatus
from drivers.runtime.oci import OciRuntime
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound
from tests.tasks import make_rootfs, new_id, spec, stopped, task


class Subject:
    """A runtime with a way to make tasks that sleep until they are killed."""

    def __init__(self, runtime: Runtime, rootfs: Path) -> None:
        self.runtime = runtime
        self.rootfs = rootfs

    def config(self, **changes: Any) -> TaskConfig:
        return task(self.rootfs, "sleep", "1000", **changes)

    def running(self, **changes: Any) -> TaskConfig:
        made = self.config(**changes)
        self.runtime.create(made)
        self.runtime.start(made.id)
        return made

    def state(self, task_id: str) -> TaskState:
        found = self.runtime.state(task_id)
        assert found is not None
        return found


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    runtime: Runtime
    if request.param == "fake":
        runtime = FakeRuntime()
    else:
        base: Path = request.getfixturevalue("short_path")
        runtime = OciRuntime(base / "s", base / "r", request.getfixturevalue("instance"))
    yield Subject(runtime, make_rootfs(tmp_path / "rootfs"))
    runtime.cleanup([])
    runtime.close()


def test_what_is_absent(subject: Subject) -> None:
    runtime, task_id = subject.runtime, new_id()
    assert runtime.state(task_id) is None
    assert runtime.list() == []
    assert runtime.stats(task_id) == {}
    runtime.kill(task_id, signal.SIGKILL)
    runtime.delete(task_id)
    runtime.delete(task_id, record=False)
    process = ProcessConfig(("true",), (), "/", 0, 0)
    for call in (
        lambda: runtime.start(task_id),
        lambda: runtime.pause(task_id),
        lambda: runtime.resume(task_id),
        lambda: runtime.update(task_id, Limits()),
        lambda: runtime.record_exit(task_id),
        lambda: runtime.record_applied(task_id, {}),
        lambda: runtime.annotate(task_id, {}),
        lambda: runtime.exec(task_id, process),
        lambda: runtime.attach(task_id),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(InvalidArgument):
        runtime.state("../x")


def test_states_in_order(subject: Subject) -> None:
    runtime, config = subject.runtime, subject.config()
    runtime.create(config)
    created = subject.state(config.id)
    assert (created.status, created.attempt, created.applied) == (TaskStatus.CREATED, 1, config.applied)
    assert created.pid is not None
    assert created.started_at is None
    runtime.start(config.id)
    running = subject.state(config.id)
    assert (running.status, running.pid, running.start_time) == (TaskStatus.RUNNING, created.pid, created.start_time)
    assert running.started_at is not None
    assert (running.exit_code, running.exit_known, running.supervised) == (None, False, True)
    runtime.pause(config.id)
    assert subject.state(config.id).status is TaskStatus.PAUSED
    runtime.resume(config.id)
    assert subject.state(config.id).status is TaskStatus.RUNNING
    runtime.kill(config.id, signal.SIGKILL)
    assert next(iter(runtime.exits())) == config.id
    ended = stopped(runtime, config.id)
    assert (ended.exit_code, ended.exit_known, ended.pid, ended.recorded) == (137, True, None, False)
    runtime.record_exit(config.id)
    runtime.record_exit(config.id)
    assert subject.state(config.id).recorded
    runtime.delete(config.id, record=False)
    prepared = subject.state(config.id)
    assert (prepared.status, prepared.exit_code, prepared.recorded) == (TaskStatus.PREPARED, 137, True)
    assert [state.id for state in runtime.list()] == [config.id]
    runtime.delete(config.id)
    assert runtime.state(config.id) is None


def test_start_wants_a_created_task(subject: Subject) -> None:
    config = subject.running()
    subject.runtime.start(config.id)
    subject.runtime.kill(config.id, signal.SIGKILL)
    stopped(subject.runtime, config.id)
    with pytest.raises(FailedPrecondition):
        subject.runtime.start(config.id)


def test_create_is_idempotent_and_a_running_task_a_conflict(subject: Subject) -> None:
    config = subject.config()
    subject.runtime.create(config)
    first = subject.state(config.id)
    subject.runtime.create(config)
    assert subject.state(config.id) == first
    subject.runtime.start(config.id)
    with pytest.raises(Conflict):
        subject.runtime.create(config)


def test_a_new_attempt_takes_the_place_of_a_stopped_one(subject: Subject) -> None:
    config = subject.running()
    subject.runtime.annotate(config.id, {"kept": 1})
    subject.runtime.kill(config.id, signal.SIGKILL)
    stopped(subject.runtime, config.id)
    subject.runtime.record_exit(config.id)
    subject.running(id=config.id, attempt=2, applied={"new": True})
    state = subject.state(config.id)
    assert (state.status, state.attempt, state.applied) == (TaskStatus.RUNNING, 2, {"new": True})
    assert (state.exit_code, state.recorded, state.notes) == (None, False, {"kept": 1})


def test_limits_and_records(subject: Subject) -> None:
    config = subject.running(limits=Limits(pids=50))
    before = subject.state(config.id)
    assert before.limits is not None
    assert before.limits.pids == 50
    subject.runtime.update(config.id, Limits(pids=60))
    subject.runtime.record_applied(config.id, {"a": [1, "x"]})
    subject.runtime.annotate(config.id, {"one": 1})
    subject.runtime.annotate(config.id, {"two": {"b": None}})
    after = subject.state(config.id)
    assert after.limits is not None
    assert after.limits.pids == 60
    assert (after.applied, after.notes) == ({"a": [1, "x"]}, {"one": 1, "two": {"b": None}})
    assert (after.pid, after.start_time) == (before.pid, before.start_time)
    with pytest.raises(FailedPrecondition):
        subject.runtime.record_exit(config.id)


def test_a_failure_is_recorded_with_its_attempt(subject: Subject) -> None:
    task_id = new_id()
    subject.runtime.record_failure(task_id, 1, "no image")
    state = subject.state(task_id)
    assert (state.status, state.attempt, state.error, state.exit_known) == (TaskStatus.PREPARED, 1, "no image", False)
    subject.running(id=task_id, attempt=2)
    assert subject.state(task_id).error == ""


def test_exec_and_attach_want_a_living_task(subject: Subject) -> None:
    config = subject.running()
    process = ProcessConfig(("true",), ("PATH=/bin",), "/", 0, 0)
    stream = subject.runtime.exec(config.id, process)
    assert stream.wait() == 0
    assert stream.read() is None
    stream.close()
    subject.runtime.pause(config.id)
    with pytest.raises(FailedPrecondition):
        subject.runtime.exec(config.id, process)
    attached = subject.runtime.attach(config.id)
    subject.runtime.kill(config.id, signal.SIGKILL)
    assert attached.wait() == 137
    attached.close()
    stopped(subject.runtime, config.id)
    for call in (lambda: subject.runtime.exec(config.id, process), lambda: subject.runtime.attach(config.id)):
        with pytest.raises(FailedPrecondition):
            call()


def test_what_opens_a_hole_is_refused(subject: Subject) -> None:
    base = spec(("true",))
    for bad in ({**base, "annotations": {"run.oci.handler": "x"}}, {**base, "mounts": []}):
        with pytest.raises(InvalidArgument):
            subject.runtime.create(subject.config(spec=bad))
    with pytest.raises(InvalidArgument):
        subject.runtime.create(subject.config(cgroup_parent="../x"))
    assert subject.runtime.list() == []


def test_cleanup_spares_the_known(subject: Subject) -> None:
    kept = subject.running()
    subject.running()
    assert subject.runtime.cleanup([kept.id]) == 1
    assert [state.id for state in subject.runtime.list()] == [kept.id]


def test_the_hints_end_with_the_runtime(subject: Subject) -> None:
    subject.runtime.close()
    assert list(subject.runtime.exits()) == []
