"""Files and folders of our own, and what somebody has put in their place."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.kernel import files
from drivers.network.names.pace import Pace
from drivers.network.names.snapshot import Snapshot
from drivers.network.ports.interface import PublishedPort
from drivers.network.ports.unfinished import Unfinished


def endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


KINDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "full folder": lambda path: (path / "a" / "b").mkdir(parents=True),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("/nowhere"),
    "endless": endless,
    "deep": lambda path: path.write_text("[" * 200_000),
}
PORT = PublishedPort(8080, 80, "", "tcp", "10.0.0.2", "")
kinds = pytest.mark.parametrize("kind", KINDS)
pytestmark = pytest.mark.timeout(20)


@kinds
def test_a_snapshot_is_read_past_it(tmp_path: Path, kind: str) -> None:
    snapshot = Snapshot(str(tmp_path))
    snapshot.save("names", "whole", {"a": 1})
    for name in ("one", ".new-one", ".new"):
        KINDS[kind](tmp_path / "names" / name)
    assert list(snapshot.load("names")) == [("whole", {"a": 1})]
    assert os.listdir(tmp_path / "names") == ["whole"]


@kinds
def test_it_is_written_and_removed_in_its_place(tmp_path: Path, kind: str) -> None:
    snapshot = Snapshot(str(tmp_path))
    for name in ("one", ".new-one"):
        KINDS[kind](tmp_path / "names" / name)
    snapshot.save("names", "one", {"a": 1})
    assert list(snapshot.load("names")) == [("one", {"a": 1})]
    (tmp_path / "names" / "one").unlink()
    KINDS[kind](tmp_path / "names" / "one")
    snapshot.remove("names", "one")
    assert os.listdir(tmp_path / "names") == []


@pytest.mark.parametrize("place", ["", "names", "proxies"])
def test_a_folder_is_made_in_its_place_and_no_link_followed(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    for kind in ("fifo", "dangling link", "link"):
        base = tmp_path / kind
        path = base / place
        path.parent.mkdir(exist_ok=True)
        KINDS[kind](path) if kind in KINDS else path.symlink_to(outside)
        snapshot = Snapshot(str(base))
        assert list(snapshot.load("names")) == []
        snapshot.save("names", "one", {})
        assert (base / "names" / "one").is_file()
    assert os.listdir(outside) == ["kept"]


def test_what_cannot_be_written_leaves_nothing_and_says_where(tmp_path: Path) -> None:
    name = "x" * 252
    with pytest.raises(OSError, match="too long") as raised:
        files.replace(str(tmp_path), name, b"data")
    assert files.reason(raised.value) == f"{tmp_path}/{name}: File name too long"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.replace(str(tmp_path / "file" / "below"), "one", b"data")
    assert os.listdir(tmp_path) == ["file"]


@kinds
def test_changes_of_ports_are_read_past_it(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "publishing"
    Unfinished(folder).begin("a" * 32, (), (PORT,))
    for name in ("b" * 32, f".new-{'c' * 32}"):
        KINDS[kind](folder / name)
    found = Unfinished(folder)
    assert list(found.owners()) == ["a" * 32]
    assert found.ports("a" * 32) == (PORT,)
    assert os.listdir(folder) == ["a" * 32]
    KINDS[kind](folder / ("d" * 32))
    found.begin("d" * 32, (), (PORT,))
    found.end("d" * 32)
    assert os.listdir(folder) == ["a" * 32]


@pytest.mark.parametrize("kind", ["fifo", "deep", "dangling link"])
def test_no_folder_of_ports_is_no_reason_to_fail(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "publishing"
    KINDS[kind](folder)
    changes = Unfinished(folder)
    assert list(changes.owners()) == []
    changes.begin("a" * 32, (), (PORT,))
    assert Unfinished(folder).ports("a" * 32) == (PORT,)


def test_a_link_in_place_of_that_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "publishing").symlink_to(outside)
    Unfinished(tmp_path / "publishing").begin("a" * 32, (), (PORT,))
    assert os.listdir(outside) == ["kept"]


def test_who_ends_again_and_again_is_started_less_and_less_until_there_is_calm() -> None:
    pace, now, pauses = Pace(), 100.0, []
    for _ in range(12):
        pauses.append(pace.left(now))
        now += pauses[-1]
        pace.begin(now)
    assert pauses == [0, 0, 0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    now += 30 + 11
    assert pace.left(now) == 0
    pace.begin(now)
    assert pace.left(now) == 0
