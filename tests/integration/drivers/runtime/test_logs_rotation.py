"""Rotation and following while a real conmon writes."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from drivers.logs.file import FileLogs
from drivers.logs.interface import LogEntry
from drivers.runtime.conmon import supervisor
from drivers.runtime.layout import Layout
from drivers.runtime.oci import OciRuntime
from tests.tasks import stopped, task, until

pytestmark = pytest.mark.host


def numbers(entries: list[LogEntry]) -> list[int]:
    return [int(entry.data) for entry in entries if entry.stream == "stdout"]


def test_no_line_is_lost_over_many_rotations(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    config = task(rootfs, "sh", "-c", "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo $i; done")
    runtime.create(config)
    followed: list[LogEntry] = []
    done = threading.Event()
    follower = threading.Thread(
        target=lambda: followed.extend(logs.read(config.id, follow=True, stopped=done.is_set)), daemon=True
    )
    follower.start()
    runtime.start(config.id)
    rotations = 0
    while runtime.state(config.id).pid is not None:  # type: ignore[union-attr]
        rotations += logs.rotate(config.id, max_size=20_000, max_files=1000)
    stopped(runtime, config.id)
    done.set()
    follower.join(20)
    assert rotations > 10
    assert numbers(list(logs.read(config.id))) == list(range(1, 40001))
    assert numbers(followed) == list(range(1, 40001))
    assert numbers(list(logs.read(config.id, tail=25000))) == list(range(15001, 40001))
    assert logs.rotate(config.id, max_size=0, max_files=3) is False
    logs.delete(config.id)
    assert os.listdir(short_path / "s/tasks" / config.id) == ["record.json"]


def test_parts_of_lines_go_on_over_rotations(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    # Pieces without a newline, each as large as the buffer of the supervisor or odd; then the end of the line.
    script = "for i in 1 2 3; do seq -s , 1 40000; done; echo -n odd; sleep 0.1; echo ' end'; echo err >&2"
    config = task(rootfs, "sh", "-c", script)
    runtime.create(config)
    runtime.start(config.id)
    rotations = 0
    while runtime.state(config.id).pid is not None:  # type: ignore[union-attr]
        rotations += logs.rotate(config.id, max_size=10_000, max_files=1000)
    stopped(runtime, config.id)
    assert rotations > 2
    line = ",".join(map(str, range(1, 40001))).encode() + b"\n"
    entries = list(logs.read(config.id))
    assert [entry.data for entry in entries if entry.stream == "stdout"] == [line, line, line, b"odd end\n"]
    assert [entry.data for entry in entries if entry.stream == "stderr"] == [b"err\n"]


def test_a_supervisor_that_is_slow_to_open_the_new_file_is_asked_once(
    runtime: OciRuntime, rootfs: Path, short_path: Path
) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    config = task(rootfs, "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; exec sleep 100")
    runtime.create(config)
    pid = supervisor(Layout(short_path / "s", short_path / "r").bundle(config.id))
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        runtime.start(config.id)
        assert logs.rotate(config.id, max_size=-1, max_files=10)
        for _ in range(3):
            assert not logs.rotate(config.id, max_size=-1, max_files=10)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: numbers(list(logs.read(config.id, tail=1))) == [3000])
    assert numbers(list(logs.read(config.id))) == list(range(1, 3001))


def test_only_so_many_files_are_kept(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    config = task(rootfs, "sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done")
    runtime.create(config)
    runtime.start(config.id)
    folder = short_path / "s/tasks" / config.id
    for _ in range(6):
        until(lambda: logs.rotate(config.id, max_size=5_000, max_files=3))
    assert sorted(os.listdir(folder)) == ["log", "log.1", "log.2", "record.json"]
    runtime.delete(config.id)
    assert not folder.exists()


def test_a_rotation_cut_short_goes_on(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    config = task(rootfs, "sh", "-c", "trap 'echo late; exit 0' TERM; echo early; while :; do sleep 0.05; done")
    runtime.create(config)
    runtime.start(config.id)
    log = short_path / "s/tasks" / config.id / "log"
    until(lambda: b"early" in log.read_bytes())
    log.rename(log.with_name("log.1"))  # and killed before conmon was told
    assert [entry.data for entry in logs.read(config.id)] == [b"early\n"]
    assert logs.rotate(config.id, max_size=1 << 20, max_files=3)
    runtime.kill(config.id, signal.SIGTERM)
    stopped(runtime, config.id)
    assert log.exists()
    assert [entry.data for entry in logs.read(config.id)] == [b"early\n", b"late\n"]


def test_following_ends_when_the_task_is_gone(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    logs = FileLogs(short_path / "s", short_path / "r")
    config = task(rootfs, "sh", "-c", "echo -n no newline; sleep 100")
    runtime.create(config)
    runtime.start(config.id)
    log = short_path / "s/tasks" / config.id / "log"
    until(lambda: log.stat().st_size > 0)
    time.sleep(0.1)
    followed: list[LogEntry] = []
    follower = threading.Thread(target=lambda: followed.extend(logs.read(config.id, follow=True)))
    follower.start()
    time.sleep(0.2)
    runtime.delete(config.id)
    follower.join(5)
    assert not follower.is_alive()
    assert [entry.data for entry in followed] == [b"no newline"]
