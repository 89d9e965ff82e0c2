"""The contract of log drivers, held on files and by the twin in memory."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drivers.logs.fake import FakeLogs
from drivers.logs.file import FileLogs
from drivers.logs.interface import LogDriver, LogEntry

TASK = "1" * 64
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Subject:
    def __init__(self, logs: LogDriver, root: Path) -> None:
        self.logs = logs
        self._folder = root / "tasks" / TASK
        self._count = 0

    def write(self, *lines: str, stream: str = "stdout") -> None:
        for line in lines:
            at = START + timedelta(seconds=self._count)
            self._count += 1
            if isinstance(self.logs, FakeLogs):
                self.logs.write(TASK, f"{line}\n".encode(), stream, at)
                continue
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "log").open("a") as file:
                file.write(f"{at.isoformat()} {stream} F {line}\n")

    def read(self, **how: object) -> list[str]:
        return [entry.data.decode().strip() for entry in self.logs.read(TASK, **how)]  # type: ignore[arg-type]


@pytest.fixture(params=["fake", "files"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    logs: LogDriver = FakeLogs() if request.param == "fake" else FileLogs(tmp_path / "s", tmp_path / "r")
    return Subject(logs, tmp_path / "s")


def test_what_is_absent(subject: Subject) -> None:
    assert subject.read() == subject.read(tail=3) == subject.read(follow=True, stopped=lambda: True) == []
    assert subject.logs.size(TASK) == 0
    assert not subject.logs.rotate(TASK, max_size=0, max_files=3)
    subject.logs.delete(TASK)


def test_entries_in_order(subject: Subject) -> None:
    subject.write("a")
    subject.write("b", stream="stderr")
    assert list(subject.logs.read(TASK)) == [
        LogEntry(START, "stdout", b"a\n"),
        LogEntry(START + timedelta(seconds=1), "stderr", b"b\n"),
    ]
    assert subject.logs.size(TASK) > 0


def test_tail_and_since(subject: Subject) -> None:
    subject.write("a", "b", "c", "d")
    assert subject.read(tail=2) == ["c", "d"]
    assert subject.read(tail=0) == []
    assert subject.read(tail=9) == ["a", "b", "c", "d"]
    assert subject.read(since=START + timedelta(seconds=1)) == ["b", "c", "d"]
    assert subject.read(tail=3, since=START + timedelta(seconds=2)) == ["c", "d"]


def test_following_reads_on_until_it_is_stopped(subject: Subject) -> None:
    subject.write("a", "b")
    seen: list[str] = []

    for entry in subject.logs.read(TASK, tail=1, follow=True, stopped=lambda: len(seen) >= 3):
        seen.append(entry.data.decode().strip())
        if len(seen) < 3:
            subject.write(f"after {seen[-1]}")
    assert seen == ["b", "after b", "after after b"]


def test_a_deleted_log(subject: Subject) -> None:
    subject.write("a")
    subject.logs.delete(TASK)
    assert subject.read() == []
    assert subject.logs.size(TASK) == 0
