"""What every snapshot driver does, whatever it is made of. The contract is drivers/snapshots/interface.py."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.snapshots.fake import FakeSnapshotter
from drivers.snapshots.interface import SnapshotInfo, SnapshotKind, Snapshotter
from drivers.snapshots.overlay import OverlaySnapshotter
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound

ACTIVE, COMMITTED, VIEW = SnapshotKind.ACTIVE, SnapshotKind.COMMITTED, SnapshotKind.VIEW


@pytest.fixture(params=["overlay", "fake"])
def snapshotter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Snapshotter]:
    made: Snapshotter = OverlaySnapshotter(tmp_path / "s") if request.param == "overlay" else FakeSnapshotter(tmp_path)
    yield made
    made.close()


def committed(snapshotter: Snapshotter, name: str, parent: str = "") -> str:
    snapshotter.prepare(f"key-{name}", parent)
    snapshotter.commit(name, f"key-{name}")
    return name


def test_nothing_is_there_at_first(snapshotter: Snapshotter) -> None:
    assert snapshotter.stat("x") is None
    assert list(snapshotter.walk()) == []
    snapshotter.remove("x")


def test_a_life(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("k", "")
    assert snapshotter.stat("k") == SnapshotInfo("k", "", ACTIVE)
    (snapshotter.directory("k") / "file").write_text("x")
    snapshotter.commit("layer", "k")
    assert snapshotter.stat("k") is None
    assert snapshotter.stat("layer") == SnapshotInfo("layer", "", COMMITTED)
    assert snapshotter.usage("layer").inodes >= 1
    snapshotter.prepare("c", "layer")
    assert snapshotter.stat("c") == SnapshotInfo("c", "layer", ACTIVE)
    snapshotter.remove("c")
    snapshotter.remove("layer")
    assert list(snapshotter.walk()) == []


def test_prepare_again_keeps_the_content(snapshotter: Snapshotter) -> None:
    first = snapshotter.prepare("k", "")
    (snapshotter.directory("k") / "file").write_text("x")
    assert snapshotter.prepare("k", "") == first == snapshotter.mounts("k")
    assert (snapshotter.directory("k") / "file").read_text() == "x"


def test_a_key_is_one_thing(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "p")
    snapshotter.prepare("k", "")
    with pytest.raises(Conflict):
        snapshotter.prepare("k", "p")
    with pytest.raises(Conflict):
        snapshotter.view("k", "")
    with pytest.raises(Conflict):
        snapshotter.prepare("p", "")
    with pytest.raises(InvalidArgument):
        snapshotter.prepare("", "")


def test_parents_must_be_committed(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("active", "")
    with pytest.raises(FailedPrecondition):
        snapshotter.prepare("k", "active")
    with pytest.raises(NotFound):
        snapshotter.prepare("k", "absent")
    assert snapshotter.stat("k") is None


def test_lower_folders_are_the_stack_from_the_top(snapshotter: Snapshotter) -> None:
    parent = ""
    directories: list[Path] = []
    for i in range(4):
        snapshotter.prepare(f"k{i}", parent)
        directories.insert(0, snapshotter.directory(f"k{i}"))
        snapshotter.commit(f"l{i}", f"k{i}")
        parent = f"l{i}"
    [mount] = snapshotter.prepare("c", parent)
    assert list(mount.lower) == directories
    [view] = snapshotter.view("v", parent)
    assert list(view.lower)[-4:] == directories
    assert "ro" in view.options


def test_commit_twice_is_one_snapshot(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "l")
    snapshotter.prepare("again", "")
    snapshotter.commit("l", "again")
    assert [info.key for info in snapshotter.walk()] == ["l"]
    committed(snapshotter, "m", "l")
    snapshotter.prepare("other", "")
    with pytest.raises(Conflict):
        snapshotter.commit("m", "other")
    assert snapshotter.stat("other") is not None


def test_commit_onto_another_parent(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("k2", "")
    (snapshotter.directory("k2") / "file").write_text("x")
    with pytest.raises(NotFound):
        snapshotter.commit("l2", "k2", parent="l1")
    committed(snapshotter, "l1")
    snapshotter.commit("l2", "k2", parent="l1")
    assert snapshotter.stat("l2") == SnapshotInfo("l2", "l1", COMMITTED)
    [mount] = snapshotter.prepare("c", "l2")
    assert (mount.lower[0] / "file").read_text() == "x"
    assert len(mount.lower) == 2


def test_what_cannot_be_committed(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "l")
    snapshotter.view("v", "l")
    with pytest.raises(FailedPrecondition):
        snapshotter.commit("x", "v")
    for absent in ("absent", "l"):
        with pytest.raises(NotFound):
            snapshotter.commit("x", absent)


def test_parents_stay_while_they_are_needed(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "l")
    snapshotter.prepare("c", "l")
    with pytest.raises(FailedPrecondition, match="parent"):
        snapshotter.remove("l")
    snapshotter.remove("c")
    snapshotter.remove("l")


def test_what_only_active_ones_have(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "l")
    for call in (snapshotter.mounts, snapshotter.directory):
        for key in ("l", "absent"):
            with pytest.raises(NotFound):
                call(key)
    with pytest.raises(NotFound):
        snapshotter.usage("absent")


def test_many_threads(snapshotter: Snapshotter) -> None:
    committed(snapshotter, "base")
    errors: list[BaseException] = []

    def life(number: int) -> None:
        try:
            for _ in range(5):
                snapshotter.prepare(f"own{number}", "base")
                snapshotter.prepare("shared", "base")
                snapshotter.prepare(f"up{number}", "base")
                snapshotter.commit("same", f"up{number}")
                snapshotter.remove(f"own{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=life, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {info.key for info in snapshotter.walk()} == {"base", "shared", "same"}
