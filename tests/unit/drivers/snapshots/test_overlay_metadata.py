"""What the overlay driver keeps on disk: crashes at any point, options, the root of a new snapshot."""

import os
import sqlite3
from pathlib import Path

import pytest

from drivers.kernel.mount import parse_mountinfo
from drivers.snapshots.overlay import OverlaySnapshotter
from resources.errors import DataLoss


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    first = OverlaySnapshotter(tmp_path)
    first.prepare("k", "")
    first.commit("l", "k")
    mounts = first.prepare("c", "l")
    first.close()
    again = OverlaySnapshotter(tmp_path)
    assert again.mounts("c") == mounts
    assert {info.key for info in again.walk()} == {"l", "c"}
    again.close()


def test_directories_that_nobody_knows_go(tmp_path: Path) -> None:
    snapshotter = OverlaySnapshotter(tmp_path)
    snapshotter.prepare("k", "")
    # What a kill leaves between the directory and its record, and between the record's end and the directory's.
    (tmp_path / "snapshots" / "unknown" / "fs").mkdir(parents=True)
    (tmp_path / "trash" / "old" / "fs").mkdir(parents=True)
    assert snapshotter.cleanup() == 2
    assert os.listdir(tmp_path / "trash") == []
    assert len(os.listdir(tmp_path / "snapshots")) == 1
    assert snapshotter.directory("k").is_dir()
    snapshotter.close()


def test_removing_leaves_no_directory_however_large(tmp_path: Path) -> None:
    snapshotter = OverlaySnapshotter(tmp_path)
    for key, count in (("small", 3), ("large", 500)):
        snapshotter.prepare(key, "")
        for i in range(count):
            (snapshotter.directory(key) / str(i)).touch()
        snapshotter.remove(key)
    snapshotter.cleanup()
    snapshotter.close()
    assert os.listdir(tmp_path / "snapshots") == os.listdir(tmp_path / "trash") == []


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    OverlaySnapshotter(tmp_path)
    assert sqlite3.connect(tmp_path / "metadata.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)
    driver = OverlaySnapshotter(tmp_path)
    assert driver._metadata._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_damaged_metadata_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_bytes(b"no database" * 100)
    with pytest.raises(DataLoss, match=r"metadata\.db"):
        OverlaySnapshotter(tmp_path)


def test_the_tree_is_closed_to_others_and_roots_follow_the_parent(tmp_path: Path) -> None:
    snapshotter = OverlaySnapshotter(tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    snapshotter.prepare("k", "")
    assert snapshotter.directory("k").stat().st_mode & 0o7777 == 0o755
    snapshotter.directory("k").chmod(0o1711)
    snapshotter.commit("l", "k")
    [mount] = snapshotter.prepare("c", "l")
    assert snapshotter.directory("c").stat().st_mode & 0o7777 == 0o1711
    assert {"redirect_dir=nofollow", "metacopy=off", "index=off"} <= set(mount.options)
    snapshotter.close()


def test_mountinfo_is_decoded() -> None:
    line = rb"36 35 98:0 /mnt1 /a\040b\011c\134d rw,noatime master:1 shared:2 - ext\0404 /dev/root rw,errors=continue"
    line += b"\nodd\n"
    [info] = parse_mountinfo(line)
    assert (info.id, info.parent, info.target, info.type) == (36, 35, "/a b\tc\\d", "ext 4")
    assert (info.optional, info.options, info.super_options) == (
        ("master:1", "shared:2"),
        ("rw", "noatime"),
        ("rw", "errors=continue"),
    )
