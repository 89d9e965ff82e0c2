"""Root file systems on the real kernel, from snapshots."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel.mount import mounts, unmount
from drivers.snapshots.interface import Mount
from drivers.snapshots.overlay import OverlaySnapshotter
from drivers.snapshots.rootfs import MountedRootFilesystems
from resources.errors import Unavailable

pytestmark = pytest.mark.host
TASK = "1" * 64


@pytest.fixture
def roots(short_path: Path) -> Iterator[MountedRootFilesystems]:
    made = MountedRootFilesystems(short_path / "r")
    yield made
    made.cleanup([])
    assert not [m for m in mounts() if m.target.startswith(str(short_path))]
    assert not (short_path / "r/rootfs").exists()


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[OverlaySnapshotter]:
    made = OverlaySnapshotter(tmp_path / "s")
    yield made
    made.close()


def test_a_snapshot_with_and_without_a_parent(roots: MountedRootFilesystems, snapshotter: OverlaySnapshotter) -> None:
    (roots.mount(TASK, snapshotter.prepare("k", "")) / "file").write_text("content")
    roots.unmount(TASK)
    snapshotter.commit("l", "k")
    root = roots.mount(TASK, snapshotter.prepare(TASK, "l"))
    (root / "file").write_text("changed")
    view = roots.mount(f"{TASK}.m1", snapshotter.view("v", "l"))
    assert (view / "file").read_text() == "content"
    with pytest.raises(OSError):
        (view / "file").write_text("x")
    for entry in [m for m in mounts() if m.target in (str(root), str(view))]:
        assert entry.optional == ()


def test_what_others_unmount_is_seen_and_mounted_again(
    roots: MountedRootFilesystems, snapshotter: OverlaySnapshotter
) -> None:
    description = snapshotter.prepare(TASK, "")
    (roots.mount(TASK, description) / "file").write_text("content")
    unmount(roots.path(TASK))
    assert roots.mounted() == frozenset()
    assert (roots.mount(TASK, description) / "file").read_text() == "content"
    unmount(roots.path(TASK).parent)  # the folder of all of them
    assert roots.mounted() == frozenset()
    assert (roots.mount(TASK, description) / "file").read_text() == "content"
    assert roots.mounted() == {TASK}


def test_the_kernels_reason_is_told_and_nothing_is_left(roots: MountedRootFilesystems, short_path: Path) -> None:
    good = Mount("tmpfs", "tmpfs")
    for bad in (
        Mount("bind", "/nonexistent/source", ("bind",)),
        Mount("nosuchfilesystem", "x"),
        Mount("overlay", "overlay", (), (Path("/nonexistent/lower"), Path("/"))),
    ):
        with pytest.raises(Unavailable, match=r"cannot mount .*: [A-Z]"):
            roots.mount(TASK, [good, bad])
        assert roots.mounted() == frozenset()
        assert not (short_path / "r/rootfs").exists()


def test_busy_ones_go_and_their_users_go_on(roots: MountedRootFilesystems, snapshotter: OverlaySnapshotter) -> None:
    root = roots.mount(TASK, snapshotter.prepare(TASK, ""))
    with (root / "held").open("w") as held:
        roots.unmount(TASK)
        assert not root.exists()
        held.write("content")
    assert (snapshotter.directory(TASK) / "held").read_text() == "content"


def test_several_mounts_on_one_another(roots: MountedRootFilesystems) -> None:
    roots.mount(TASK, [Mount("tmpfs", "tmpfs"), Mount("tmpfs", "tmpfs")])
    assert roots.mounted() == {TASK}
    roots.unmount(TASK)
    assert roots.mounted() == frozenset()
    assert not os.path.exists(roots.path(TASK))
