"""The life of a task on the real kernel, under crun and under runc."""

import os
import signal
from pathlib import Path

import pytest

from drivers.kernel.process import start_time
from drivers.runtime.interface import Limits, LogConfig, TaskStatus
from drivers.runtime.oci import OciRuntime
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound
from tests.tasks import new_id, spec, stopped, task, until

pytestmark = pytest.mark.host


def test_a_task_runs_once_through_its_whole_life(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    config = task(rootfs, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert runtime.state(config.id) is None
    runtime.create(config)
    created = runtime.state(config.id)
    assert created is not None
    assert created.status is TaskStatus.CREATED
    assert created.pid is not None
    assert created.start_time == start_time(created.pid)
    runtime.start(config.id)
    assert next(iter(runtime.exits())) == config.id
    ended = stopped(runtime, config.id)
    assert (ended.exit_code, ended.exit_known, ended.oom_killed, ended.recorded) == (3, True, False, False)
    assert ended.started_at is not None
    assert ended.finished_at is not None
    runtime.record_exit(config.id)
    recorded = runtime.state(config.id)
    assert recorded is not None
    assert recorded.recorded
    assert (recorded.exit_code, recorded.finished_at) == (3, ended.finished_at)
    log = (short_path / "s/tasks" / config.id / "log").read_text()
    assert " stdout F out\n" in log
    assert " stderr F err\n" in log
    runtime.delete(config.id, record=False)
    kept = runtime.state(config.id)
    assert kept is not None
    assert (kept.status, kept.exit_code, kept.applied) == (TaskStatus.PREPARED, 3, {"image": "busybox"})
    runtime.delete(config.id)
    assert runtime.state(config.id) is None
    assert runtime.list() == []
    runtime.delete(config.id)


def test_a_signal_death_is_128_and_the_signal(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sleep", "100")
    runtime.create(config)
    runtime.start(config.id)
    runtime.kill(config.id, signal.SIGKILL)
    assert stopped(runtime, config.id).exit_code == 137
    runtime.kill(config.id, signal.SIGKILL)  # gone: fine


def test_every_process_of_a_task_is_signalled(runtime: OciRuntime, rootfs: Path) -> None:
    forever = "while :; do sleep 0.05; done"
    script = f"trap 'exit 7' TERM; sh -c \"trap 'exit 0' TERM; {forever}\" & {forever}"
    config = task(rootfs, "sh", "-c", script)
    runtime.create(config)
    runtime.start(config.id)
    until(lambda: runtime.stats(config.id).get("pids", 0) >= 3)
    runtime.kill(config.id, signal.SIGTERM, everything=True)
    assert stopped(runtime, config.id).exit_code == 7


def test_an_attempt_replaces_the_one_before_on_the_same_log(
    runtime: OciRuntime, rootfs: Path, short_path: Path
) -> None:
    config = task(rootfs, "sh", "-c", "echo first; exit 1")
    runtime.create(config)
    runtime.start(config.id)
    stopped(runtime, config.id)
    again = task(rootfs, "sh", "-c", "echo second; exit 0", id=config.id, attempt=2)
    runtime.create(again)
    runtime.start(config.id)
    ended = stopped(runtime, config.id)
    assert (ended.attempt, ended.exit_code) == (2, 0)
    lines = (short_path / "s/tasks" / config.id / "log").read_text().splitlines()
    assert [line.split(" ", 3)[3] for line in lines] == ["first", "second"]


def test_create_again_is_fine_before_the_start_and_a_conflict_after(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sleep", "100")
    runtime.create(config)
    first = runtime.state(config.id)
    runtime.create(config)
    assert runtime.state(config.id) == first
    runtime.start(config.id)
    runtime.start(config.id)
    with pytest.raises(Conflict):
        runtime.create(config)


def test_pause_and_resume(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sh", "-c", "while :; do sleep 0.01; done")
    runtime.create(config)
    with pytest.raises(FailedPrecondition):
        runtime.pause(config.id)
    runtime.start(config.id)
    before = runtime.state(config.id)
    runtime.pause(config.id)
    runtime.pause(config.id)
    paused = runtime.state(config.id)
    assert before is not None
    assert paused is not None
    assert (paused.status, paused.pid, paused.start_time) == (TaskStatus.PAUSED, before.pid, before.start_time)
    used = runtime.stats(config.id)["cpu_nanos"]
    assert runtime.stats(config.id)["cpu_nanos"] == used
    runtime.resume(config.id)
    resumed = runtime.state(config.id)
    assert resumed is not None
    assert resumed.status is TaskStatus.RUNNING
    runtime.pause(config.id)
    runtime.kill(config.id, signal.SIGKILL)
    assert stopped(runtime, config.id).exit_code == 137


def test_limits_are_set_changed_and_read_back(runtime: OciRuntime, rootfs: Path) -> None:
    first = Limits(
        memory=64 << 20, memory_reservation=32 << 20, swap=0, cpu_millis=500, cpu_shares=512, cpuset="0", pids=33
    )
    config = task(rootfs, "sleep", "100", limits=first)
    runtime.create(config)
    runtime.start(config.id)
    state = runtime.state(config.id)
    assert state is not None
    assert state.limits is not None
    assert {k: getattr(state.limits, k) for k in ("memory", "swap", "cpu_millis", "cpu_shares", "cpuset", "pids")} == {
        "memory": 64 << 20,
        "swap": 0,
        "cpu_millis": 500,
        "cpu_shares": 512,
        "cpuset": "0",
        "pids": 33,
    }
    for limits in (
        Limits(memory=100_000_000, swap=1 << 20, cpu_millis=1500, cpu_shares=2048, cpuset="0-1", pids=44),
        Limits(memory=32 << 20, swap=0, pids=10),
        Limits(),
    ):
        runtime.update(config.id, limits)
        now = runtime.state(config.id)
        assert now is not None
        assert now.limits is not None
        for name in ("memory", "memory_reservation", "swap", "cpu_millis", "pids"):
            assert getattr(now.limits, name) == getattr(limits, name), name
        assert now.limits.cpu_shares == (limits.cpu_shares or 1024)
        assert (now.pid, now.start_time) == (state.pid, state.start_time)


def test_a_limit_below_use_is_refused_by_name(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=8M count=1; sleep 100")
    runtime.create(config)
    runtime.start(config.id)
    runtime.update(config.id, Limits(memory=64 << 20, pids=10))
    with pytest.raises(FailedPrecondition, match="cpuset"):
        runtime.update(config.id, Limits(memory=64 << 20, pids=10, cpuset="4000"))
    state = runtime.state(config.id)
    assert state is not None
    assert state.status is TaskStatus.RUNNING


def test_an_out_of_memory_death_is_told(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", limits=Limits(memory=16 << 20, swap=0))
    runtime.create(config)
    runtime.start(config.id)
    ended = stopped(runtime, config.id, timeout=30)
    assert (ended.exit_code, ended.oom_killed) == (137, True)


def test_stats_count(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sh", "-c", "while :; do :; done")
    assert runtime.stats(config.id) == {}
    runtime.create(config)
    runtime.start(config.id)
    until(lambda: runtime.stats(config.id)["cpu_nanos"] > 50_000_000)
    assert runtime.stats(config.id)["pids"] == 1
    assert runtime.stats(config.id)["memory"] > 0


def test_records_and_notes(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sleep", "100")
    with pytest.raises(NotFound):
        runtime.annotate(config.id, {"a": 1})
    runtime.record_failure(config.id, 1, "no such image")
    failed = runtime.state(config.id)
    assert failed is not None
    assert (failed.status, failed.attempt, failed.error) == (TaskStatus.PREPARED, 1, "no such image")
    runtime.create(config)
    runtime.start(config.id)
    runtime.annotate(config.id, {"health": "good"})
    runtime.annotate(config.id, {"asked": {"stop": True}})
    runtime.record_applied(config.id, {"image": "busybox", "labels": {"a": "b"}})
    state = runtime.state(config.id)
    assert state is not None
    assert state.error == ""
    assert state.notes == {"health": "good", "asked": {"stop": True}}
    assert state.applied == {"image": "busybox", "labels": {"a": "b"}}
    with pytest.raises(FailedPrecondition):
        runtime.record_exit(config.id)


def test_a_missing_executable_is_named_and_leaves_nothing(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "/bin/nosuch")
    with pytest.raises(FailedPrecondition, match="nosuch"):
        runtime.create(config)
    state = runtime.state(config.id)
    assert state is not None
    assert state.status is TaskStatus.PREPARED
    assert state.limits is None


def test_what_cannot_be_a_task_is_refused_before_a_path_is_built(runtime: OciRuntime, rootfs: Path) -> None:
    for bad in ("", "../../etc", "A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 1_000_000):
        with pytest.raises(InvalidArgument):
            runtime.create(task(rootfs, "true", id=bad))
        with pytest.raises(InvalidArgument):
            runtime.delete(bad)
    with pytest.raises(InvalidArgument):
        runtime.create(task(rootfs, "true", cgroup_parent="../x"))
    assert runtime.state(new_id()) is None


def test_annotations_hooks_and_a_spec_without_dev_are_refused(runtime: OciRuntime, rootfs: Path) -> None:
    base = spec(("true",))
    no_dev = {**base, "mounts": [m for m in base["mounts"] if m["destination"] != "/dev"]}
    for bad in ({**base, "annotations": {"run.oci.handler": "x"}}, {**base, "hooks": {"prestart": []}, "x": 1}, no_dev):
        if bad.get("hooks") is not None:
            bad["hooks"] = {"prestart": [{"path": "/bin/true"}]}
        with pytest.raises(InvalidArgument):
            runtime.create(task(rootfs, "true", spec=bad))


def test_a_task_that_logs_nothing_has_no_file(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    config = task(rootfs, "echo", "hello", log=LogConfig(driver="none"))
    runtime.create(config)
    runtime.start(config.id)
    stopped(runtime, config.id)
    assert os.listdir(short_path / "s/tasks" / config.id) == ["record.json"]


def test_cleanup_removes_strangers_and_spares_the_known(runtime: OciRuntime, rootfs: Path) -> None:
    kept, stranger = task(rootfs, "sleep", "100"), task(rootfs, "sleep", "100")
    for config in (kept, stranger):
        runtime.create(config)
        runtime.start(config.id)
    before = runtime.state(kept.id)
    assert runtime.cleanup([kept.id]) == 1
    assert runtime.state(stranger.id) is None
    assert runtime.state(kept.id) == before
    assert runtime.cleanup([kept.id]) == 0
