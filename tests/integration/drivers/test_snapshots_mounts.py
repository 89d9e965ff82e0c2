"""Mounts of snapshots on the real kernel, by fsopen(2) and by mount(2), and openat2."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel import mount as mounting
from drivers.kernel.mount import is_mounted, mount, mounts, unmount
from drivers.kernel.openat2 import Resolve, openat2
from drivers.snapshots.interface import Mount
from drivers.snapshots.overlay import OverlaySnapshotter
from resources.errors import FailedPrecondition, ResourceExhausted, Unsupported

pytestmark = pytest.mark.host


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a target with spaces\tand\\more"
    path.mkdir()
    yield path
    while is_mounted(path):
        unmount(path)


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[OverlaySnapshotter]:
    made = OverlaySnapshotter(tmp_path / ("s" * 150))
    yield made
    made.close()


def stack(snapshotter: OverlaySnapshotter, height: int) -> str:
    parent = ""
    for i in range(height):
        snapshotter.prepare(f"k{i}", parent)
        (snapshotter.directory(f"k{i}") / f"f{i}").write_text(str(i))
        snapshotter.commit(f"l{i}", f"k{i}")
        parent = f"l{i}"
    return parent


@pytest.mark.parametrize("old_kernel", [False, True])
@pytest.mark.parametrize("height", [0, 1, 2, 120])
def test_layers_are_seen_and_changes_stay_in_the_snapshot(
    snapshotter: OverlaySnapshotter, target: Path, height: int, old_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old_kernel:
        monkeypatch.setattr(mounting, "_FSOPEN", 9999)  # a system call that no kernel has: ENOSYS
    parent = stack(snapshotter, height)
    [description] = snapshotter.prepare("c", parent)
    mount(description, target)
    assert is_mounted(target)
    assert len(os.listdir(target)) == height
    (target / "new").write_text("x")
    if height:
        (target / "f0").unlink()
    unmount(target, detach=False)
    assert not is_mounted(target)
    assert (snapshotter.directory("c") / "new").read_text() == "x"
    mount(description, target)
    assert (target / "new").exists()
    assert not (target / "f0").exists()
    unmount(target)
    [view] = snapshotter.view("v", parent)
    mount(view, target)
    assert len(os.listdir(target)) == height
    with pytest.raises(OSError) as caught:
        (target / "x").touch()
    assert caught.value.errno == errno.EROFS
    unmount(target)


def test_renaming_a_folder_of_a_layer_leaves_no_redirect(snapshotter: OverlaySnapshotter, target: Path) -> None:
    snapshotter.prepare("k", "")
    (snapshotter.directory("k") / "d").mkdir()
    snapshotter.commit("l", "k")
    mount(snapshotter.prepare("c", "l")[0], target)
    with pytest.raises(OSError) as caught:
        (target / "d").rename(target / "e")
    assert caught.value.errno == errno.EXDEV
    unmount(target)


def test_a_redirect_that_an_image_planted_is_not_followed(snapshotter: OverlaySnapshotter, target: Path) -> None:
    snapshotter.prepare("k", "")
    (snapshotter.directory("k") / "secret").mkdir()
    (snapshotter.directory("k") / "secret" / "x").touch()
    snapshotter.commit("l", "k")
    snapshotter.prepare("k2", "l")
    planted = snapshotter.directory("k2") / "planted"
    planted.mkdir()
    os.setxattr(planted, "trusted.overlay.redirect", b"/secret")
    snapshotter.commit("l2", "k2")
    mount(snapshotter.prepare("c", "l2")[0], target)
    try:
        seen = os.listdir(target / "planted")
    except OSError:
        seen = []
    unmount(target)
    assert seen == []


def test_other_mounts_and_their_flags(tmp_path: Path, target: Path) -> None:
    mount(Mount("tmpfs", "tmpfs", ("nosuid", "nodev", "size=64k", "mode=0711")), target)
    [info] = [m for m in mounts() if m.target == str(target)]
    assert {"nosuid", "nodev"} <= set(info.options)
    assert target.stat().st_mode & 0o777 == 0o711
    other = tmp_path / "other"
    other.mkdir()
    mount(Mount("bind", str(target), ("bind", "ro", "rprivate")), other)
    with pytest.raises(OSError):
        (other / "x").touch()
    (target / "x").touch()
    assert (other / "x").exists()
    unmount(other)
    unmount(target)
    unmount(target)


def test_refusals_say_what_and_why(tmp_path: Path, target: Path) -> None:
    with pytest.raises(FailedPrecondition, match="No such file"):
        mount(Mount("bind", str(tmp_path / "absent"), ("bind",)), target)
    with pytest.raises(Unsupported):
        mount(Mount("nosuchfs", "x"), target)
    with pytest.raises(FailedPrecondition, match="absent"):
        mount(Mount("overlay", "overlay", (), (tmp_path / "absent", tmp_path)), target)
    with pytest.raises((FailedPrecondition, ResourceExhausted)):
        mount(Mount("tmpfs", "tmpfs", ("size=" + "1" * 5000,)), target)
    assert not is_mounted(target)


def test_a_busy_mount_is_told(target: Path) -> None:
    mount(Mount("tmpfs", "tmpfs"), target)
    with (target / "open").open("w"), pytest.raises(FailedPrecondition, match="busy"):
        unmount(target, detach=False)
    unmount(target, detach=False)


def test_openat2_stays_below(tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "out").symlink_to("/etc")
    (tmp_path / "root" / "up").symlink_to("../..")
    root = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    try:
        inside = openat2("out", os.O_RDONLY, dir_fd=root, resolve=Resolve.IN_ROOT)
        assert os.fstat(inside).st_ino == (tmp_path / "root" / "etc").stat().st_ino
        os.close(inside)
        for path, resolve, code in (
            ("..", Resolve.BENEATH, errno.EXDEV),
            ("out", Resolve.BENEATH, errno.EXDEV),
            ("up", Resolve.BENEATH, errno.EXDEV),
            ("out", Resolve.NO_SYMLINKS, errno.ELOOP),
            ("absent", Resolve.IN_ROOT, errno.ENOENT),
            ("a\0b", Resolve.IN_ROOT, errno.EINVAL),
        ):
            with pytest.raises(OSError) as caught:
                openat2(path, os.O_RDONLY, dir_fd=root, resolve=resolve)
            assert caught.value.errno == code
    finally:
        os.close(root)
