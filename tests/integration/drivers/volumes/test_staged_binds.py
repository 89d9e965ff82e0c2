"""Staged binds on the real kernel: nothing gets out of a volume, and nothing gets back to the host."""

import ctypes
import os
import secrets
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel.mount import MountInfo, mount, mounts, unmount
from drivers.snapshots.interface import Mount
from drivers.volumes.stage import BoundStage
from resources.errors import FailedPrecondition
from tests.integration.drivers.volumes.kills import at_every_step

pytestmark = pytest.mark.host
TASK = "1" * 64
_EXCHANGE = 2


@pytest.fixture
def stage(short_path: Path) -> Iterator[BoundStage]:
    made = BoundStage(short_path / "r")
    yield made
    for task_id in made.list():
        made.unstage(task_id)
    assert not [m for m in mounts() if m.target.startswith(f"{short_path}/r")]


@pytest.fixture
def volume(short_path: Path) -> Path:
    path = short_path / "volume"
    path.mkdir()
    return path


def entry_at(path: Path) -> MountInfo:
    [entry] = [m for m in mounts() if m.target == str(path)]
    return entry


def test_every_type_of_source(stage: BoundStage, volume: Path) -> None:
    (volume / "folder").mkdir()
    (volume / "file").write_text("content")
    os.mkfifo(volume / "fifo")
    os.mknod(volume / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(volume / "socket"))
        listener.listen()
        for name in ("folder", "file", "fifo", "null", "socket"):
            staged = stage.stage(TASK, name, volume / name)
            assert stat.S_IFMT(staged.lstat().st_mode) == stat.S_IFMT((volume / name).lstat().st_mode)
            assert staged.lstat().st_ino == (volume / name).lstat().st_ino
        with socket.socket(socket.AF_UNIX) as client:
            fd = os.open(staged.parent, os.O_PATH)
            client.connect(f"/proc/self/fd/{fd}/socket")
            os.close(fd)
    (staged.parent / "null").write_text("gone")
    assert (staged.parent / "null").read_text() == ""
    for name in ("folder", "file", "fifo", "socket"):
        assert {"nosuid", "nodev"} <= set(entry_at(staged.parent / name).options)
    assert "nosuid" in entry_at(staged.parent / "null").options


def test_what_the_operator_named_is_followed(stage: BoundStage, volume: Path, tmp_path: Path) -> None:
    (volume / "file").write_text("content")
    (tmp_path / "link").symlink_to(volume)
    assert (stage.stage(TASK, "m0", tmp_path / "link") / "file").read_text() == "content"


@pytest.mark.parametrize(
    "target", ["/", "/etc", "../../../../../etc", "/proc/self/root/etc", "sub/../../../etc", "/proc/self/cwd"]
)
def test_links_in_a_volume_end_in_it(stage: BoundStage, volume: Path, target: str) -> None:
    """VOL-01."""
    (volume / "sub").mkdir()
    (volume / "etc").mkdir()
    (volume / "etc/marker").touch()
    (volume / "marker").touch()
    (volume / "link").symlink_to(target)
    try:
        staged = stage.stage(TASK, "m0", volume, "link")
    except FailedPrecondition:
        return  # there is no such place in the volume
    assert (staged / "marker").exists()


def test_a_link_swapped_during_the_start_gets_nobody_out(stage: BoundStage, volume: Path) -> None:
    """VOL-01: a container exchanges a folder and a link to / as fast as it can."""
    (volume / "folder").mkdir()
    (volume / "marker").touch()
    (volume / "folder/marker").touch()
    (volume / "link").symlink_to("/")
    libc = ctypes.CDLL(None)
    done = threading.Event()
    names = os.fsencode(volume / "folder"), os.fsencode(volume / "link")

    def swap() -> None:
        while not done.is_set():
            libc.renameat2(-100, names[0], -100, names[1], ctypes.c_uint(_EXCHANGE))

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for number in range(1500):
            try:
                staged = stage.stage(
                    TASK, f"m{number % 10}", volume, f"folder/made{number}" if number % 3 else "folder"
                )
            except FailedPrecondition:
                continue
            inside = staged if number % 3 == 0 else volume
            assert (inside / "marker").exists()
            entry = entry_at(staged)
            assert entry.root.startswith(str(volume)) or entry.root.startswith(f"/{volume.name}")
            seen.add(entry.root)
    finally:
        done.set()
        thread.join()
    assert len(seen) > 2
    made = {name for folder, folders, _ in os.walk(volume) for name in folders if name.startswith("made")}
    assert made
    assert not [name for name in os.listdir("/") if name.startswith("made")]


def test_a_folder_inside_is_made_like_its_parent(stage: BoundStage, volume: Path) -> None:
    os.chown(volume, 70, 71)
    volume.chmod(0o2770)
    staged = stage.stage(TASK, "m0", volume, "a/b")
    status = staged.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (70, 71, 0o2770)
    (volume / "file").touch()
    (volume / "dangling").symlink_to("nowhere")
    for inner in ("file/x", "dangling", "dangling/x"):
        with pytest.raises(FailedPrecondition):
            stage.stage(TASK, "m1", volume, inner)
    assert sorted(os.listdir(volume)) == ["a", "dangling", "file"]


def test_a_source_is_made_when_asked_for(stage: BoundStage, volume: Path) -> None:
    staged = stage.stage(TASK, "m0", volume / "a/b", create=True)
    (staged / "file").touch()
    assert (volume / "a/b/file").exists()
    (volume / "file").write_text("content")
    assert stage.stage(TASK, "m1", volume / "file", create=True).read_text() == "content"


def test_what_replaced_a_source_is_staged_at_the_next_start(stage: BoundStage, volume: Path) -> None:
    (volume / "file").write_text("old")
    staged = stage.stage(TASK, "m0", volume / "file")
    (volume / "new").write_text("new")
    (volume / "new").rename(volume / "file")
    assert staged.read_text() == "old"
    assert stage.stage(TASK, "m0", volume / "file") == staged
    assert staged.read_text() == "new"
    (volume / "file").unlink()
    (volume / "file").mkdir()
    assert stage.stage(TASK, "m0", volume / "file").is_dir()
    unmount(staged)
    stage.stage(TASK, "m0", volume / "file")
    assert entry_at(staged)


def test_nothing_done_here_is_seen_on_the_host(stage: BoundStage, volume: Path, short_path: Path) -> None:
    """The folder bound is in a shared mount with mounts below it: the host's own must outlive ours."""
    mount(Mount("tmpfs", "tmpfs", ("shared",)), volume)
    try:
        (volume / "below").mkdir()
        (volume / "later").mkdir()
        mount(Mount("tmpfs", "tmpfs", ("shared",)), volume / "below")
        (volume / "below/file").write_text("content")
        staged = stage.stage(TASK, "m0", volume)
        assert (staged / "below/file").read_text() == "content"
        below = entry_at(staged / "below")
        assert {"nosuid", "nodev"} <= set(below.options)
        assert not [o for o in below.optional if o.startswith("shared")]
        mount(Mount("tmpfs", "tmpfs"), staged / "later")
        assert not [m for m in mounts() if m.target == str(volume / "later")]
        mount(Mount("tmpfs", "tmpfs"), volume / "later")
        assert len([m for m in mounts() if m.target == str(staged / "later")]) == 2
        stage.unstage(TASK)
        assert (volume / "below/file").read_text() == "content"
        assert entry_at(volume / "later")
    finally:
        for path in (volume / "later", volume / "below", volume):
            unmount(path)


def test_where_everything_is_shared_ours_is_not(short_path: Path) -> None:
    """As on hosts with systemd, where / is shared."""
    run = short_path / "run"
    peer = short_path / "peer"
    for path in (run, peer):
        path.mkdir()
    mount(Mount("tmpfs", "tmpfs", ("shared",)), run)
    mount(Mount("bind", str(run), ("bind",)), peer)
    try:
        stage = BoundStage(run)
        staged = stage.stage(TASK, "m0", short_path)
        assert entry_at(staged).optional == ()
        assert not [m for m in mounts() if m.target.startswith(f"{peer}/stage/")]
        stage.unstage(TASK)
        assert not [m for m in mounts() if m.target.startswith(f"{short_path}/") and m.target.endswith("stage")]
    finally:
        unmount(peer)
        unmount(run)


def test_killed_at_every_step(short_path: Path, volume: Path) -> None:
    def again() -> BoundStage:
        return BoundStage(short_path / "r")

    def work() -> None:
        stage = again()
        stage.stage(TASK, "m0", volume, "a")
        stage.unstage(TASK)

    def after() -> None:
        stage = again()
        staged = stage.stage(TASK, "m0", volume, "a")
        assert staged.samefile(volume / "a")
        stage.unstage(TASK)
        assert stage.list() == []
        assert not [m for m in mounts() if m.target.startswith(f"{short_path}/r")]
        shutil.rmtree(volume / "a")

    assert at_every_step(lambda: None, work, after) > 6


def test_what_is_in_use_goes_too(stage: BoundStage, volume: Path) -> None:
    staged = stage.stage(TASK, "m0", volume)
    other = stage.stage(secrets.token_hex(32), "m0", volume)
    with (staged / "held").open("w") as held:
        stage.unstage(TASK)
        held.write("still written")
    assert (volume / "held").read_text() == "still written"
    assert not staged.parent.exists()
    assert (other / "held").exists()
