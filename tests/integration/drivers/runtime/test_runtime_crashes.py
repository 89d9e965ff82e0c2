"""Engines, supervisors and OCI runtimes killed at any point: what lives goes on, what is left is found or removed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.kernel.cgroup import Cgroup, detect
from drivers.kernel.process import boot_id, is_alive, processes
from drivers.runtime import conmon
from drivers.runtime.interface import TaskStatus
from drivers.runtime.layout import Layout
from drivers.runtime.observe import read_oci_state
from drivers.runtime.oci import OciRuntime
from drivers.runtime.record import read_record
from drivers.runtime.starting import let_go
from resources.errors import Conflict
from tests.tasks import stopped, task, until

pytestmark = pytest.mark.host

KERNEL = tuple(int(n) for n in os.uname().release.split(".")[:2])
CHECKOUT = Path(__file__).resolve().parents[4]
ENGINE = """
import os, signal, sys
from pathlib import Path
from drivers.runtime.oci import OciRuntime
from tests.tasks import task
base, rootfs, instance, preferred, count = sys.argv[1:]
runtime = OciRuntime(Path(base) / "s", Path(base) / "r", instance, preferred)
for number in range(int(count)):
    config = task(Path(rootfs), "sh", "-c", f"sleep 3; exit {number + 1}")
    print("creating", config.id, flush=True)
    runtime.create(config)
    runtime.start(config.id)
    state = runtime.state(config.id)
    print("running", config.id, state.pid, state.start_time, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def engine(runtime: OciRuntime, short_path: Path, rootfs: Path, instance: str, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", ENGINE, str(short_path), str(rootfs), instance, runtime.info().name, str(count)]
    return subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def test_the_next_engine_finds_every_task_with_pid_start_time_and_later_the_code(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    child = engine(runtime, short_path, rootfs, instance, 5)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    told = [line.split()[1:] for line in out.splitlines() if line.startswith("running")]
    assert len(told) == 5
    following = OciRuntime(short_path / "s", short_path / "r", instance, runtime.info().name)
    try:
        found = {state.id: state for state in following.list()}
        for task_id, pid, start in told:
            state = found[task_id]
            assert (state.pid, state.start_time) == (int(pid), int(start))
            assert state.status is TaskStatus.RUNNING
            assert state.supervised
        for number, (task_id, _, _) in enumerate(told):
            assert stopped(following, task_id).exit_code == number + 1
    finally:
        following.close()


def test_exits_while_no_engine_runs_are_known(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    child = engine(runtime, short_path, rootfs, instance, 2)
    out, _ = child.communicate(timeout=60)
    told = [line.split()[1:] for line in out.splitlines() if line.startswith("running")]
    until(lambda: not any(is_alive(int(pid), int(start)) for _, pid, start in told))
    assert [stopped(runtime, task_id).exit_code for task_id, _, _ in told] == [1, 2]


def test_an_engine_killed_at_any_time_leaves_what_cleanup_removes(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    layout = Layout(short_path / "s", short_path / "r")
    for delay in (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08):
        child = engine(runtime, short_path, rootfs, instance, 100)
        assert child.stdout is not None
        task_id = child.stdout.readline().split()[1]
        time.sleep(delay)
        child.kill()
        child.wait()
        child.stdout.close()
        # The same task is made again by the next engine, whatever the last one left half done.
        state = runtime.state(task_id)
        if state is None or state.status in (TaskStatus.PREPARED, TaskStatus.CREATED):
            runtime.create(task(rootfs, "sh", "-c", "exit 9", id=task_id))
            runtime.start(task_id)
            assert stopped(runtime, task_id).exit_code in (1, 9)
        runtime.cleanup([])
        assert runtime.list() == []
        assert not list(conmon.supervisors(layout)), f"left after {delay} s"
        assert not (short_path / "r/tasks").exists() or os.listdir(short_path / "r/tasks") == []
        assert os.listdir(short_path / "s/tasks") == []
        for root in runtime._hierarchies.roots:
            assert not (root / instance).exists(), f"{root} left after {delay} s"


def test_a_supervisor_or_runtime_killed_during_create_leaves_nothing(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    layout = Layout(short_path / "s", short_path / "r")
    for victim in ("conmon", runtime.info().name) * 4:
        child = engine(runtime, short_path, rootfs, instance, 100)
        assert child.stdout is not None
        task_id = child.stdout.readline().split()[1]
        deadline = time.monotonic() + 5
        killed = False
        while not killed and time.monotonic() < deadline:
            for process in processes():
                ours = str(short_path) in " ".join(process.arguments)
                if ours and os.path.basename(process.arguments[0]) == victim:
                    try:
                        os.kill(process.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    killed = True
                    break
        child.kill()
        child.wait()
        child.stdout.close()
        assert killed
        runtime.cleanup([])
        assert runtime.state(task_id) is None
        assert not list(conmon.supervisors(layout))
        for root in runtime._hierarchies.roots:
            assert not (root / instance).exists()


def test_an_engine_killed_within_start_leaves_a_task_that_runs(
    runtime: OciRuntime, rootfs: Path, short_path: Path
) -> None:
    config = task(rootfs, "sleep", "100")
    runtime.create(config)
    runtime.start(config.id)
    started = runtime.state(config.id)
    assert started is not None
    fifo = short_path / "r/oci" / config.id / "exec.fifo"
    assert not fifo.exists()
    os.mkfifo(fifo, 0o600)  # as if it had been killed before the fifo was removed
    found = runtime.state(config.id)
    assert found is not None
    assert (found.status, found.pid, found.start_time) == (TaskStatus.RUNNING, started.pid, started.start_time)
    assert found.started_at is not None
    runtime.start(config.id)
    with pytest.raises(Conflict):
        runtime.create(config)


def test_many_starts_of_one_task_at_once_are_one(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    for _ in range(5):
        config = task(rootfs, "sh", "-c", "exit 7")
        runtime.create(config)
        state = runtime.state(config.id)
        assert state is not None
        assert state.pid is not None
        fifo, pid = short_path / "r/oci" / config.id / "exec.fifo", state.pid
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, f=fifo, p=pid: let_go(runtime.info().name, p, f), range(8)))
        assert stopped(runtime, config.id).exit_code == 7
        runtime.delete(config.id)


def test_a_task_outlives_its_supervisor_and_its_code_is_known(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    config = task(rootfs, "sh", "-c", "sleep 1; exit 42")
    runtime.create(config)
    runtime.start(config.id)
    bundle = Layout(short_path / "s", short_path / "r").bundle(config.id)
    pid = conmon.supervisor(bundle)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: conmon.supervisor(bundle) is None)
    state = runtime.state(config.id)
    assert state is not None
    assert (state.status, state.supervised) == (TaskStatus.RUNNING, False)
    ended = stopped(runtime, config.id)
    if KERNEL >= (6, 15):
        assert (ended.exit_code, ended.exit_known) == (42, True)
        until(lambda: bundle.exit_file.exists())
        following = OciRuntime(short_path / "s", short_path / "r", instance, runtime.info().name)
        known = following.state(config.id)
        following.close()
        assert known is not None
        assert known.exit_code == 42
    else:
        assert (ended.exit_code, ended.exit_known) in ((42, True), (None, False))


QUIET, WRITING = "sleep {pause}; exit {code}", "while sleep 0.005; do echo line || exit 43; done"


@pytest.mark.parametrize("program", [QUIET, WRITING], ids=["quiet", "writing"])
def test_the_code_of_a_task_whose_supervisor_was_killed_is_right_or_unknown(
    runtime: OciRuntime, rootfs: Path, short_path: Path, program: str
) -> None:
    layout = Layout(short_path / "s", short_path / "r")
    wanted: dict[str, set[int]] = {}
    for number in range(30):
        # The pauses spread the exits over the kills: before, while and after the supervisor dies.
        code = number + 1
        config = task(rootfs, "sh", "-c", program.format(pause=0.2 + number * 0.01, code=code))
        runtime.create(config)
        runtime.start(config.id)
        # A shell that writes to a pipe nobody reads dies of it, or sees it and ends with the code it was told.
        wanted[config.id] = {code} if program is QUIET else {43, 128 + signal.SIGPIPE}
    for task_id in wanted:
        pid = conmon.supervisor(layout.bundle(task_id))
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    ended = {task_id: stopped(runtime, task_id, 30) for task_id in wanted}
    for task_id, state in ended.items():
        assert state.exit_known == (state.exit_code is not None)
        if state.exit_known:
            assert state.exit_code in wanted[task_id], f"{state.exit_code}, not {wanted[task_id]}"
    unknown = [state.id for state in ended.values() if not state.exit_known]
    if KERNEL >= (6, 15):
        assert not unknown, f"{len(unknown)} of {len(ended)} codes are not known"


def test_a_code_nobody_saw_is_unknown_and_not_zero(
    runtime: OciRuntime, rootfs: Path, short_path: Path, instance: str
) -> None:
    config = task(rootfs, "sleep", "0.5")
    runtime.create(config)
    runtime.start(config.id)
    layout = Layout(short_path / "s", short_path / "r")
    pid = conmon.supervisor(layout.bundle(config.id))
    assert pid is not None
    runtime.close()  # no engine and no supervisor: only the kernel saw it, and nobody asked
    os.kill(pid, signal.SIGKILL)
    task_state = read_oci_state(layout.oci, config.id)
    assert task_state is not None
    until(lambda: not Path(f"/proc/{task_state.pid}").exists(), timeout=30)  # reaped by whoever is its parent now
    following = OciRuntime(short_path / "s", short_path / "r", instance, runtime.info().name)
    ended = following.state(config.id)
    assert ended is not None
    assert (ended.status, ended.exit_code, ended.exit_known) == (TaskStatus.STOPPED, None, False)
    following.record_exit(config.id)
    first, second = following.state(config.id), following.state(config.id)
    assert first == second
    following.cleanup([])
    following.close()


def test_a_pid_that_is_another_process_now_is_not_ours(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    config = task(rootfs, "sleep", "100")
    runtime.create(config)
    runtime.start(config.id)
    state = runtime.state(config.id)
    assert state is not None
    directory = short_path / "r/oci" / config.id
    for name in ("status", "state.json"):
        if (directory / name).exists():
            text = (directory / name).read_text()
            (directory / name).write_text(text.replace(str(state.start_time), str((state.start_time or 0) + 1)))
    other = runtime.state(config.id)
    assert other is not None
    assert other.status is TaskStatus.STOPPED
    assert other.pid is None
    assert not other.exit_known


def test_a_reboot_is_told_from_an_exit(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    ran, never, ended = task(rootfs, "sleep", "100"), task(rootfs, "sleep", "100"), task(rootfs, "sh", "-c", "exit 5")
    for config in (ran, never, ended):
        runtime.create(config)
    for config in (ran, ended):
        runtime.start(config.id)
    stopped(runtime, ended.id)
    runtime.record_exit(ended.id)
    kept = short_path / "kept"
    shutil.copytree(short_path / "s", kept)
    for config in (ran, never, ended):
        runtime.delete(config.id)
    for config in (ran, never, ended):
        record = kept / "tasks" / config.id / "record.json"
        record.write_text(record.read_text().replace(boot_id(), "0" * 8))
    rebooted = OciRuntime(kept, short_path / "r2", "probe", runtime.info().name)
    states = {state.id: state for state in rebooted.list()}
    rebooted.close()
    assert (states[ran.id].status, states[ran.id].rebooted) == (TaskStatus.STOPPED, True)
    assert (states[ran.id].exit_code, states[ran.id].exit_known) == (None, False)
    assert (states[never.id].status, states[never.id].rebooted) == (TaskStatus.PREPARED, False)
    assert (states[ended.id].status, states[ended.id].exit_code) == (TaskStatus.STOPPED, 5)
    assert (states[ended.id].rebooted, states[ended.id].recorded) == (False, True)


def test_a_damaged_record_hides_nothing_and_can_be_deleted(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    good, bad = task(rootfs, "sleep", "100"), task(rootfs, "sleep", "100")
    for config in (good, bad):
        runtime.create(config)
        runtime.start(config.id)
    (short_path / "s/tasks" / bad.id / "record.json").write_bytes(b"{\0")
    states = {state.id: state for state in runtime.list()}
    assert states[good.id].status is TaskStatus.RUNNING
    assert "damaged" in states[bad.id].error
    runtime.delete(bad.id)
    assert [state.id for state in runtime.list()] == [good.id]
    assert read_record(short_path / "s/tasks" / bad.id / "record.json") is None


def test_a_trial_whose_folder_is_gone_leaves_no_group(runtime: OciRuntime, instance: str) -> None:
    group = Cgroup(detect(), f"/{instance}/probe-abcd1234")
    group.create()
    runtime.cleanup([])
    assert not group.exists()
