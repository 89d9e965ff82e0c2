"""The event log: durable, resumable, bounded; a sequence number never comes twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from controller.interface import EngineEvent
from controller.reports.events import EventStore
from resources.kinds import Kind
from resources.meta import Key
from tests.unit.controller.making import NOW, ref

KEY = Key(kind=Kind.CONTAINER, uid="a" * 32)
WEB = ref("container/web")


def opened(path: Path, **options: object) -> EventStore:
    return EventStore(path / "events.db", lambda key: WEB, **options)  # type: ignore[arg-type]


def test_events_are_read_in_order_from_any_number_also_by_the_next_engine(tmp_path: Path) -> None:
    log = opened(tmp_path, now=lambda: NOW)
    log.emit(KEY, "StartTask", "started", pid=4711, path=Path("/x"))
    log.emit(KEY, "Deleted", "gone", text="ü\n\x1b[31m")
    first, second = log.read()
    assert first == EngineEvent(first.sequence, NOW, KEY, WEB, "StartTask", "started", {"pid": 4711, "path": "/x"})
    assert second.data == {"text": "ü\n\x1b[31m"}
    assert log.read(first.sequence) == [second]
    assert log.read(limit=1) == [first]
    log.close()
    again = opened(tmp_path, now=lambda: NOW)
    assert again.read() == [first, second]
    again.emit(KEY, "StartTask", "again")
    assert [event.sequence for event in again.read()] == [first.sequence, second.sequence, second.sequence + 1]


def test_numbers_never_go_back_with_the_clock_or_with_a_lost_file(tmp_path: Path) -> None:
    now = NOW
    log = opened(tmp_path, now=lambda: now)
    for _ in range(5):
        log.emit(KEY, "A", "")
    now = NOW - timedelta(days=1)
    log.emit(KEY, "A", "")
    numbers = [event.sequence for event in log.read()]
    assert numbers == sorted(set(numbers))
    log.close()
    for file in tmp_path.iterdir():
        file.unlink()
    now = NOW + timedelta(seconds=1)
    again = opened(tmp_path, now=lambda: now)
    again.emit(KEY, "A", "")
    assert again.read()[0].sequence > numbers[-1]


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.emit(KEY, "A", "")
    log.close()
    (tmp_path / "events.db").write_bytes(b"damaged" * 1000)
    again = opened(tmp_path)
    assert again.read() == []
    again.emit(KEY, "B", "")
    assert [event.reason for event in again.read()] == ["B"]
    assert (tmp_path / "events.db.damaged").exists()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    log = opened(tmp_path, kept=10)
    for number in range(100):
        log.emit(KEY, "A", str(number))
    found = [int(event.message) for event in log.read()]
    assert found[-1] == 99
    assert 10 <= len(found) < 20
    assert found == list(range(found[0], 100))


def test_the_name_it_had_last_is_told_when_it_is_gone(tmp_path: Path) -> None:
    names = {KEY: WEB}
    log = EventStore(tmp_path / "events.db", names.get)
    log.emit(KEY, "Started", "")
    names.clear()
    log.emit(KEY, "Deleted", "")
    log.emit(Key(kind=Kind.VOLUME, uid="b"), "Deleted", "")
    assert [event.ref for event in log.read()] == [WEB, WEB, None]


def test_emit_never_raises(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.emit(KEY, "A", "\ud800")
    log.close()
    log.emit(KEY, "A", "")
    log.close()


def test_followers_get_every_event_once_and_soon(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.emit(KEY, "Old", "")
    start = log.latest()
    stop = threading.Event()
    seen: list[list[str]] = [[] for _ in range(3)]

    def collect(into: list[str]) -> None:
        for event in log.follow(start, stop.is_set):
            into.append(event.message)

    followers = [threading.Thread(target=collect, args=(into,)) for into in seen]
    writers = [
        threading.Thread(target=lambda n=n: [log.emit(KEY, "A", f"{n}-{i}") for i in range(200)])  # type: ignore[misc]
        for n in range(4)
    ]
    for thread in (*followers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(len(into) < 800 for into in seen):
        time.sleep(0.01)
    begun = time.monotonic()
    log.emit(KEY, "A", "last")
    while time.monotonic() < deadline and any("last" not in into for into in seen):
        time.sleep(0.001)
    assert time.monotonic() - begun < 0.4, "a follower is woken, it does not poll"
    stop.set()
    for thread in followers:
        thread.join()
    expected = {f"{n}-{i}" for n in range(4) for i in range(200)} | {"last"}
    for into in seen:
        assert len(into) == 801
        assert set(into) == expected


def test_a_follower_ends_with_the_log(tmp_path: Path) -> None:
    log = opened(tmp_path)
    ended = threading.Event()

    def follow() -> None:
        list(log.follow(log.latest(), lambda: False))
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    log.close()
    assert ended.wait(5)


WRITER = """
import sys
from pathlib import Path
from controller.reports.events import EventStore
from resources.kinds import Kind
from resources.meta import Key
log = EventStore(Path(sys.argv[1]), lambda key: None)
number = 0
while True:
    number += 1
    log.emit(Key(kind=Kind.CONTAINER, uid="u"), "A", str(number))
    print(log.latest(), flush=True)
"""


@pytest.mark.parametrize("after", [1, 40])
def test_what_was_emitted_survives_a_kill(tmp_path: Path, after: int) -> None:
    path = tmp_path / "events.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(after)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.wait()
    log = EventStore(path, lambda key: None)
    kept = [event.sequence for event in log.read()]
    assert kept[: len(told)] == told
    log.emit(KEY, "B", "")
    assert log.latest() > kept[-1]
