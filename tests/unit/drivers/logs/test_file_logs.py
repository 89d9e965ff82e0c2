"""Reading CRI logs: parts, rotated files, tails, hostile content."""

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.logs.file import FileLogs

TASK = "ab" * 32
T = "2026-01-02T03:04:05.123456789+00:00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "s/tasks" / TASK
    path.mkdir(parents=True)
    return path


def logs(folder: Path) -> FileLogs:
    return FileLogs(folder.parents[1], folder.parents[2] / "r")


def data(folder: Path, **how: object) -> list[bytes]:
    return [entry.data for entry in logs(folder).read(TASK, **how)]  # type: ignore[arg-type]


def test_no_log_has_no_entries(folder: Path) -> None:
    assert data(folder) == []
    assert data(folder, tail=5) == []


def test_time_stream_and_data(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout F a b  c\n{T} stderr F \n")
    first, second = logs(folder).read(TASK)
    assert first.time == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert (first.stream, first.data) == ("stdout", b"a b  c\n")
    assert (second.stream, second.data) == ("stderr", b"\n")


def test_parts_are_joined_each_stream_for_itself(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout P he\n{T} stderr P x\n{T} stdout P l\n{T} stderr F y\n{T} stdout F lo\n")
    assert data(folder) == [b"xy\n", b"hello\n"]


def test_a_part_without_an_end_comes_last_without_a_newline(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout P prompt> \n{T} stderr F e\n")
    assert data(folder) == [b"e\n", b"prompt> "]


def test_a_line_over_the_limit_comes_in_parts(folder: Path) -> None:
    part = "x" * 8000
    with open(folder / "log", "w") as file:
        for _ in range(400):
            file.write(f"{T} stdout P {part}\n")
        file.write(f"{T} stdout F end\n")
    found = data(folder)
    assert b"".join(found) == b"x" * 8000 * 400 + b"end\n"
    assert len(found) == 4
    assert max(map(len, found)) < 1024 * 1024 + 8001


def test_malformed_lines_are_skipped(folder: Path) -> None:
    good = f"{T} stdout F good\n".encode()
    bad = [b"\n", b"x\n", b"\0" * 100 + b"\n", b"2026 stdout F no\n", b"2026-01-02T03:04:05 stdout F naive\n"]
    bad += [f"{T} stdin F x\n".encode(), f"{T} stdout Q x\n".encode(), b"\xff\xfe stdout F x\n"]
    (folder / "log").write_bytes(good.join([b"", *bad, b""]))
    assert data(folder) == [b"good\n"] * (len(bad) + 1)


def test_hostile_bytes_come_through_as_they_are(folder: Path) -> None:
    line = b"\x1b]52;c;x\x07 \xff \r " + T.encode() + b" stdout F fake"
    (folder / "log").write_bytes(T.encode() + b" stdout F " + line + b"\n")
    assert data(folder) == [line + b"\n"]


def test_an_incomplete_line_is_not_read_yet(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout F whole\n{T} stdout F hal")
    assert data(folder) == [b"whole\n"]


def test_rotated_files_come_first_in_the_order_of_numbers(folder: Path) -> None:
    for number in (11, 10, 9, 2, 1):
        (folder / f"log.{number}").write_text(f"{T} stdout F {number}\n")
    (folder / "log.x").write_text("not one of them")
    (folder / "log").write_text(f"{T} stdout F now\n")
    assert data(folder) == [b"11\n", b"10\n", b"9\n", b"2\n", b"1\n", b"now\n"]


def test_a_part_goes_on_in_the_next_file(folder: Path) -> None:
    (folder / "log.1").write_text(f"{T} stdout P he\n")
    (folder / "log").write_text(f"{T} stdout F llo\n")
    assert data(folder) == [b"hello\n"]


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 999, 1000, 1001, 2999, 3000, 5000])
@pytest.mark.parametrize("width", [1, 70, 8000])
def test_the_tail_is_the_end_of_the_whole(folder: Path, tail: int, width: int) -> None:
    count = 3000 if width < 100 else 300
    lines = [f"{T} stdout F {n} {'y' * width}\n" for n in range(count)]
    third = count // 3
    (folder / "log.2").write_text("".join(lines[:third]))
    (folder / "log.1").write_text("".join(lines[third : 2 * third]))
    (folder / "log").write_text("".join(lines[2 * third :]))
    everything = data(folder)
    assert len(everything) == count
    assert data(folder, tail=tail) == (everything[-tail:] if tail else [])


def test_the_tail_counts_joined_lines(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout F a\n" + f"{T} stdout P b\n" * 50 + f"{T} stdout F c\n{T} stdout F d\n")
    assert data(folder, tail=2) == [b"b" * 50 + b"c\n", b"d\n"]


def test_the_tail_counts_a_line_without_an_end(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout F a\n{T} stdout F b\n{T} stdout P prompt> \n")
    assert data(folder, tail=1) == [b"prompt> "]
    assert data(folder, tail=2) == [b"b\n", b"prompt> "]
    assert data(folder, tail=0) == []


def test_since(folder: Path) -> None:
    (folder / "log").write_text("".join(f"2026-01-02T03:04:0{n}.5+02:00 stdout F {n}\n" for n in range(6)))
    assert data(folder, since=datetime(2026, 1, 2, 1, 4, 3, 500000, tzinfo=UTC)) == [b"3\n", b"4\n", b"5\n"]


def test_following_reads_what_comes_over_rotations(folder: Path) -> None:
    (folder / "log").write_text(f"{T} stdout F 1\n")
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            with open(folder / "log", "a") as file:
                file.write(f"{T} stdout F 2\n")
            (folder / "log").rename(folder / "log.1")
            (folder / "log").write_text(f"{T} stdout F 3\n")
        if asked == 3:
            (folder / "log.1").rename(folder / "log.2")
            (folder / "log").rename(folder / "log.1")
            (folder / "log").write_text(f"{T} stdout F 4\n")
            (folder / "log.2").unlink()
        return asked > 3

    assert data(folder, follow=True, stopped=stopped) == [b"1\n", b"2\n", b"3\n", b"4\n"]


@pytest.mark.parametrize("tail", [None, 5000])
def test_no_file_is_left_out_when_names_move_on_while_it_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tail: int | None
) -> None:
    for number in range(3):
        (folder / f"log.{3 - number}").write_text(f"{T} stdout F {number}\n")
    (folder / "log").write_text(f"{T} stdout F 3\n")
    left = 3

    def rotating_open(path: Path, *how: object, **more: object) -> object:
        nonlocal left
        if left:
            left -= 1
            for number in range(len(list(folder.iterdir())) - 1, 0, -1):
                (folder / f"log.{number}").rename(folder / f"log.{number + 1}")
            (folder / "log").rename(folder / "log.1")
            (folder / "log").write_text(f"{T} stdout F {6 - left}\n")
        return open(path, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("drivers.logs.file.open", rotating_open, raising=False)
    # Without a tail the end was looked for before the first file was opened.
    assert data(folder, tail=tail) == [b"%d\n" % number for number in range(7 if tail else 4)]
    assert left == 0


def test_since_within_the_tail(folder: Path) -> None:
    (folder / "log").write_text("".join(f"2026-01-02T03:04:0{n}+00:00 stdout F {n}\n" for n in range(9)))
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert data(folder, since=since, tail=2) == [b"7\n", b"8\n"]
    assert data(folder, since=since, tail=8) == [b"5\n", b"6\n", b"7\n", b"8\n"]


def test_a_huge_line_is_read_in_bounded_memory(folder: Path) -> None:
    part = f"{T} stdout P {'x' * 8000}\n"
    with open(folder / "log", "w") as file:
        for _ in range(8):
            file.write(part * 1000)
    tracemalloc.start()
    try:
        total = sum(len(entry.data) for entry in logs(folder).read(TASK))
        last = list(logs(folder).read(TASK, tail=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 8 * 8_000_000
    assert len(last) == 1
    assert peak < 8 << 20


def test_nothing_is_rotated_when_nobody_writes(folder: Path) -> None:
    (folder / "log").write_text("x" * 1000)
    assert logs(folder).rotate(TASK, max_size=10, max_files=3) is False
    assert (folder / "log").stat().st_size == 1000


def test_delete_takes_every_file_and_no_other(folder: Path) -> None:
    for name in ("log", "log.1", "log.22", "record.json"):
        (folder / name).write_text("")
    logs(folder).delete(TASK)
    assert [p.name for p in folder.iterdir()] == ["record.json"]
    logs(folder).delete(TASK)


def test_the_size_is_that_of_the_file_written_to(folder: Path) -> None:
    assert logs(folder).size(TASK) == 0
    (folder / "log.1").write_text("x" * 7)
    assert logs(folder).size(TASK) == 7
    (folder / "log").write_text("x" * 3)
    assert logs(folder).size(TASK) == 3


@pytest.mark.parametrize("tail", [None, 2])
def test_reading_ends_though_somebody_writes_faster(folder: Path, tail: int | None) -> None:
    (folder / "log").write_text("".join(f"{T} stdout F {number}\n" for number in range(5)))
    found = []
    for entry in logs(folder).read(TASK, tail=tail):
        found.append(entry.data)
        with open(folder / "log", "a") as file:
            file.write(f"{T} stdout F more\n" * 3)
        assert len(found) < 50
    assert found == [b"%d\n" % number for number in range(5)][-(tail or 5) :]
