"""Copying while the tree is hostile: swapped links, fifos, devices, mounts (CP-01, CP-03, CP-04)."""

import io
import os
import socket
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.copy.copier import TreeCopier
from drivers.images.limits import Limits
from drivers.kernel.mount import mount, unmount
from drivers.snapshots.interface import Mount
from resources.errors import EngineError, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from tests.races import exchanging, picture
from tests.unit.drivers.images.tars import END, entry, folder, hardlink, symlink

pytestmark = pytest.mark.host

ITERATIONS, SECONDS = 4000, 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """A folder of the host, beside the root, with a file in it."""
    path = tmp_path / "host"
    path.mkdir(mode=0o751)
    (path / "file").write_bytes(b"of the host")
    (path / "file").chmod(0o604)
    return path


def times() -> Iterator[int]:
    """A few thousand turns, bounded in time."""
    deadline = time.monotonic() + SECONDS
    for number in range(ITERATIONS):
        if time.monotonic() > deadline:
            assert number > 500, f"only {number} turns"
            return
        yield number


def test_unpacking_below_a_folder_that_turns_into_a_link_to_the_host(root: Path, sentinel: Path) -> None:
    copier, before = TreeCopier(), picture(sentinel)
    (root / "dir/deeper").mkdir(parents=True)
    (root / "evil").symlink_to(sentinel)
    archive = folder("dir", 0o777) + folder("dir/deeper", 0o777) + entry("dir/file", b"ours", uid=1, mode=0o4755)
    archive += symlink("dir/link", "x") + hardlink("dir/twin", "dir/file") + entry("dir/fifo", type=b"6", uid=1) + END
    landed = refused = 0
    with exchanging(root / "dir", root / "evil") as swaps:
        for turn in times():
            try:
                copier.unpack(root, "/dir" if turn % 2 else "/", io.BytesIO(archive))
                landed += 1
            except EngineError:
                refused += 1
    assert swaps() > 1000
    assert landed > 0
    assert picture(sentinel) == before
    # What the link names in the container is a path of the container.
    assert not (root / str(sentinel)[1:] / "file").is_symlink()


def test_packing_a_folder_that_turns_into_a_link_to_the_host(root: Path, sentinel: Path) -> None:
    copier = TreeCopier()
    (root / "dir").mkdir()
    (root / "dir/file").write_bytes(b"of the container")
    (root / "evil").symlink_to(sentinel)
    seen: set[bytes] = set()
    with exchanging(root / "dir", root / "evil") as swaps:
        for turn in times():
            try:
                packed = b"".join(copier.pack(root, ("/dir", "/dir/", "/dir/file", "/")[turn % 4]))
            except NotFound:
                continue
            assert b"of the host" not in packed
            seen.update(word for word in (b"of the container",) if word in packed)
            copier.stat(root, "/dir/file")
    assert swaps() > 1000
    assert seen == {b"of the container"}


def test_packing_a_file_that_turns_into_a_fifo_never_blocks(root: Path, sentinel: Path) -> None:
    copier = TreeCopier()
    (root / "file").write_bytes(b"data")
    os.mkfifo(root / "fifo")
    kinds = set()
    with exchanging(root / "file", root / "fifo") as swaps:
        for _ in times():
            packed = b"".join(copier.pack(root, "/file"))
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                kinds.add(archive.getmembers()[0].type)
    assert swaps() > 1000
    assert kinds == {tarfile.REGTYPE, tarfile.FIFOTYPE}


def test_a_file_that_grows_and_shrinks_meanwhile_keeps_the_archive_whole(root: Path) -> None:
    copier, ended = TreeCopier(), threading.Event()
    (root / "dir").mkdir()
    (root / "dir/other").write_bytes(b"other")

    def resize() -> None:
        with open(root / "dir/file", "wb") as file:
            while not ended.is_set():
                file.truncate(3_000_000)
                file.truncate(10)

    thread = threading.Thread(target=resize)
    thread.start()
    try:
        for _ in range(300):
            with tarfile.open(fileobj=io.BytesIO(b"".join(copier.pack(root, "/dir")))) as archive:
                names = archive.getnames()
            assert set(names) - {"dir/file"} == {"dir", "dir/other"}
    finally:
        ended.set()
        thread.join()


def test_everything_that_can_be_in_a_tree_comes_through(root: Path) -> None:
    copier = TreeCopier()
    made = root / "made"
    made.mkdir()
    for name in (b"caf\xc3\xa9", b"raw\xff\n", b"n" * 255, b"d"):
        with open(os.path.join(os.fsencode(made), name), "wb") as file:
            file.write(name)
    deep = made / ("p" * 200) / ("q" * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    os.chown(made / "d", 3_000_000, 4_000_000)
    os.chmod(made / "d", 0o6755)
    os.utime(made / "d", ns=(0, 1_234_567_890_123_456_789))
    os.setxattr(made / "d", "user.note", b"a\0b\n")
    os.link(made / "d", made / "e")
    os.symlink("t/" * 150, made / "long")
    os.mkfifo(made / "fifo", 0o640)
    os.mknod(made / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(made / "sparse", "wb") as file:
        file.truncate(5_000_000)
    with socket.socket(socket.AF_UNIX) as listener:
        folder_fd = os.open(made, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder_fd}/socket")
        os.close(folder_fd)
    packed = b"".join(copier.pack(root, "/made"))
    (root / "copy").mkdir()
    copier.unpack(root, "/copy", io.BytesIO(packed))
    copied = root / "copy/made"
    before = {os.path.relpath(os.fsencode(p), os.fsencode(made)): p.lstat() for p in made.rglob("*")}
    after = {os.path.relpath(os.fsencode(p), os.fsencode(copied)): p.lstat() for p in copied.rglob("*")}
    del before[b"socket"]
    assert set(before) == set(after)
    for name, was in before.items():
        now = after[name]
        assert (now.st_mode, now.st_uid, now.st_gid, now.st_mtime_ns, now.st_rdev) == (
            was.st_mode,
            was.st_uid,
            was.st_gid,
            was.st_mtime_ns,
            was.st_rdev,
        ), name
    assert (copied / "d").samefile(copied / "e")
    assert os.getxattr(copied / "d", "user.note") == b"a\0b\n"
    assert os.readlink(copied / "long") == "t/" * 150
    assert (copied / ("p" * 200) / ("q" * 200) / "file").read_bytes() == b"deep"
    assert (copied / "sparse").stat().st_size == 5_000_000


def test_file_systems_of_the_kernel_are_left_alone(root: Path) -> None:
    copier = TreeCopier()
    (root / "proc").mkdir()
    (root / "way").symlink_to("/proc/sys/kernel")
    mount(Mount("proc", "proc", ("nosuid", "nodev", "noexec")), root / "proc")
    try:
        before = Path("/proc/sys/kernel/domainname").read_text()
        with tarfile.open(fileobj=io.BytesIO(b"".join(copier.pack(root, "/")))) as archive:
            assert sorted(os.path.normpath(name) for name in archive.getnames()) == [".", "proc", "way"]
        for path in ("/proc/1/environ", "/proc", "/way/domainname"):
            with pytest.raises(InvalidArgument, match="file system of the kernel"):
                copier.pack(root, path)
        for path, name in (("/", "proc/sys/kernel/domainname"), ("/way", "domainname"), ("/", "way/domainname")):
            with pytest.raises(FailedPrecondition, match="domainname"):
                copier.unpack(root, path, io.BytesIO(entry(name, b"evil") + END))
        # A magic link leads to the host's own root: it is not followed.
        for path in ("/proc/self/root/etc/hostname", "/proc/1/cwd/", "/proc/1/exe/"):
            with pytest.raises((NotFound, InvalidArgument)):
                copier.pack(root, path)
        assert Path("/proc/sys/kernel/domainname").read_text() == before
    finally:
        unmount(root / "proc")


def test_a_file_that_is_mounted_is_written_in_place(root: Path, sentinel: Path) -> None:
    copier = TreeCopier()
    target = root / "hosts"
    target.write_bytes(b"below")
    mount(Mount("bind", str(sentinel / "file"), ("bind",)), target)
    try:
        inode = (sentinel / "file").stat().st_ino
        copier.unpack(root, "/", io.BytesIO(entry("hosts", b"new", mode=0o644) + END))
        assert (sentinel / "file").read_bytes() == b"new"
        assert (sentinel / "file").stat().st_ino == inode
        with pytest.raises(FailedPrecondition, match="hosts"):
            copier.unpack(root, "/", io.BytesIO(symlink("hosts", "/etc/shadow") + END))
    finally:
        unmount(target)
    mount(Mount("bind", str(sentinel / "file"), ("bind", "ro")), target)
    try:
        with pytest.raises(FailedPrecondition, match="hosts"):
            copier.unpack(root, "/", io.BytesIO(entry("hosts", b"newer") + END))
        assert (sentinel / "file").read_bytes() == b"new"
    finally:
        unmount(target)


def test_links_to_the_host_in_the_archive_itself(root: Path, sentinel: Path) -> None:
    copier, before = TreeCopier(), picture(sentinel)
    for archive in (
        symlink("d", str(sentinel)) + entry("d/file", b"evil"),
        symlink("d", "../" * 20 + str(sentinel)[1:]) + entry("d/file", b"evil"),
        symlink("file", str(sentinel / "file")) + entry("file", b"evil"),
        hardlink("h", str(sentinel / "file")) + entry("h", b"evil"),
        symlink("l", str(sentinel)) + hardlink("h", "l/file"),
    ):
        with suppress(EngineError):  # refused is as good
            copier.unpack(root, "/", io.BytesIO(archive + END))
    assert picture(sentinel) == before


def test_limits_hold(root: Path) -> None:
    copier = TreeCopier(Limits(max_unpacked=1 << 20, ratio_floor=1 << 20, max_entries=50, max_depth=20))
    with pytest.raises(InvalidArgument):
        copier.unpack(root, "/", io.BytesIO(entry("big", bytes(2 << 20)) + END))
    with pytest.raises(InvalidArgument):
        copier.unpack(root, "/", io.BytesIO(b"".join(entry(str(n)) for n in range(51)) + END))
    with pytest.raises(InvalidArgument):
        copier.unpack(root, "/", io.BytesIO(folder("d/" * 21) + END))
    deep = root / "/".join(["d"] * 25)
    deep.mkdir(parents=True)
    with pytest.raises(ResourceExhausted):
        list(copier.pack(root, "/"))
