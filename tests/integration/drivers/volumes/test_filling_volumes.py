"""Copy-up and archives: what is kept, what does not get out, and what an interruption leaves."""

import gzip
import io
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from drivers.kernel.mount import mount, unmount
from drivers.snapshots.interface import Mount
from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.populate import ArchivePopulator
from resources.errors import Cancelled, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from tests.integration.drivers.volumes.kills import at_every_step
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system with a folder /data that holds one of everything."""
    root = tmp_path / "image"
    data = root / "data"
    (data / "sub/deeper").mkdir(parents=True)
    (data / "file").write_text("content")
    (data / "sub/again").hardlink_to(data / "file")
    (data / "sub/deeper/again").hardlink_to(data / "file")
    (data / "setuid").write_text("#!")
    os.chown(data / "setuid", 5, 6)
    (data / "setuid").chmod(0o6751)
    (data / "out").symlink_to("/etc/passwd")
    os.chown(data / "out", 8, 9, follow_symlinks=False)
    (data / "up").symlink_to("../../../../etc")
    os.mkfifo(data / "fifo")
    (data / "fifo").chmod(0o622)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(data / "null", 3, 4)
    os.setxattr(data / "file", "user.note", b"\0kept")
    os.setxattr(data / "setuid", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.utime(data / "file", ns=(1, 1_600_000_000_123_456_789))
    os.chown(data, 70, 71)
    data.chmod(0o1770)
    os.utime(data / "sub", ns=(1, 1_500_000_000_000_000_001))
    (root / "absolute").symlink_to("/data/sub")
    (root / "climbing").symlink_to("../../../../../../data/sub")
    (root / "leaving").symlink_to("/etc")
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "volume/data"
    path.mkdir(parents=True)
    path.chmod(0o755)
    return path


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in sorted(os.walk(root)):
        for path in [Path(folder), *(Path(folder) / n for n in sorted([*files, *folders]))]:
            status, name = path.lstat(), str(path.relative_to(root))
            first = inodes.setdefault(status.st_ino, name)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = path.readlink()
            xattrs = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
            device = status.st_rdev
            found[name] = (
                *(first, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, device, content, xattrs),
            )
    return found


def test_everything_is_kept_and_nothing_is_followed(image: Path, target: Path) -> None:
    """VOL-02, VOL-06."""
    passwd = Path("/etc/passwd").stat()
    inode = target.stat().st_ino
    DescriptorCopyUp().copy_up(image, "/data", target)
    assert tree(target) == tree(image / "data")
    assert target.stat().st_ino == inode
    assert (target / "sub/deeper/again").stat().st_nlink == 3
    assert (target / "setuid").stat().st_mode & 0o7777 == 0o6751
    assert (target.stat().st_uid, target.stat().st_gid, target.stat().st_mode & 0o7777) == (70, 71, 0o1770)
    assert os.listdir(target.parent) == ["data"]
    assert Path("/etc/passwd").stat() == passwd


def test_the_path_is_resolved_in_the_image(image: Path, target: Path) -> None:
    for number, path in enumerate(["/absolute", "/climbing", "absolute", "/../absolute", "/data/../data/sub"]):
        volume = target.parent.with_name(str(number)) / "data"
        volume.mkdir(parents=True)
        DescriptorCopyUp().copy_up(image, path, volume)
        assert sorted(os.listdir(volume)) == ["again", "deeper"]


def test_without_a_folder_nothing_is_done(image: Path, target: Path) -> None:
    """/etc is not in this image; the host's is none of it."""
    for path in ("/leaving", "/none", "/data/file", "/none/deeper", "/data/out"):
        DescriptorCopyUp().copy_up(image, path, target)
        assert os.listdir(target) == []
        assert target.stat().st_uid == 0


def test_magic_links_are_not_followed(tmp_path: Path, target: Path) -> None:
    (tmp_path / "root").mkdir()
    mount(Mount("proc", "proc"), tmp_path / "root")
    try:
        with pytest.raises(FailedPrecondition):
            DescriptorCopyUp().copy_up(tmp_path / "root", f"/{os.getpid()}/cwd", target)
    finally:
        unmount(tmp_path / "root")
    assert os.listdir(target) == []


def test_what_is_there_stays(image: Path, target: Path) -> None:
    (target / "mine").write_text("mine")
    DescriptorCopyUp().copy_up(image, "/data", target)
    assert os.listdir(target) == ["mine"]
    assert target.stat().st_uid == 0


def test_of_many_at_once_exactly_one_copies(tmp_path: Path, target: Path) -> None:
    """VOL-02: the check for an empty volume and the copy are one step to everybody else."""
    roots = []
    for number in range(8):
        root = tmp_path / f"image{number}"
        (root / "data").mkdir(parents=True)
        for name in ("a", "b", "c"):
            (root / "data" / name).write_text(str(number))
        roots.append(root)
    failures: list[BaseException] = []

    def work(root: Path) -> None:
        try:
            DescriptorCopyUp().copy_up(root, "/data", target)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len({(target / name).read_text() for name in ("a", "b", "c")}) == 1
    assert sorted(os.listdir(target)) == ["a", "b", "c"]


def test_a_copy_that_was_killed_begins_again(image: Path, target: Path) -> None:
    def before() -> None:
        shutil.rmtree(target.parent)
        target.mkdir(parents=True)
        target.chmod(0o755)

    def after() -> None:
        DescriptorCopyUp().copy_up(image, "/data", target)
        made, given = tree(target), tree(image / "data")
        assert {**made, ".": ()} == {**given, ".": ()}
        assert made["."][:4] == given["."][:4]
        assert os.listdir(target.parent) == ["data"]

    assert at_every_step(before, lambda: DescriptorCopyUp().copy_up(image, "/data", target), after) > 40


def test_a_full_volume_stays_empty(tmp_path: Path, image: Path) -> None:
    (image / "data/large").write_bytes(bytes(1 << 20))
    volume = tmp_path / "small"
    volume.mkdir()
    mount(Mount("tmpfs", "tmpfs", ("size=512k",)), volume)
    try:
        target = volume / "data"
        target.mkdir()
        with pytest.raises(ResourceExhausted):
            DescriptorCopyUp().copy_up(image, "/data", target)
        assert os.listdir(target) == []
        assert os.listdir(volume) == ["data"]
        (image / "data/large").unlink()
        DescriptorCopyUp().copy_up(image, "/data", target)
        assert (target / "file").read_text() == "content"
    finally:
        unmount(volume)


def test_what_a_container_makes_meanwhile_is_kept(image: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = os.rename

    def busy(source: Path, destination: Path) -> None:
        (target / "file").write_text("newer")
        copy(source, destination)

    monkeypatch.setattr("drivers.volumes.fill.os.rename", busy)
    DescriptorCopyUp().copy_up(image, "/data", target)
    assert (target / "file").read_text() == "newer"
    assert (target / "sub/again").read_text() == "content"


ARCHIVE = (
    tars.folder("./", mode=0o750, uid=70, gid=71)
    + tars.folder("sub")
    + tars.entry("sub/file", b"content", mode=0o640, uid=5)
    + tars.symlink("sub/link", "/etc/passwd")
    + tars.hardlink("sub/again", "sub/file")
    + tars.entry("sub/.wh.file", b"plain")
    + tars.entry(".wh..wh..opq", b"plain too")
    + tars.entry("sub/.wh.d/x", b"deep")
)


@pytest.fixture
def populator() -> Iterator[ArchivePopulator]:
    yield ArchivePopulator()
    assert not [t for t in threading.enumerate() if t.name == "decompress"]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_an_archive_is_extracted(tmp_path: Path, target: Path, populator: ArchivePopulator, pack: object) -> None:
    assert callable(pack)
    archive = written(tmp_path / "archive", pack(ARCHIVE + tars.END))
    progress: list[int] = []
    populator.extract(archive, target, progress=progress.append)
    assert sorted(os.listdir(target)) == [".wh..wh..opq", "sub"]
    assert sorted(os.listdir(target / "sub")) == [".wh.d", ".wh.file", "again", "file", "link"]
    assert (target / "sub/.wh.file").read_bytes() == b"plain"
    assert (target / "sub/file").stat().st_nlink == 2
    assert (target / "sub/file").stat().st_uid == 5
    assert (target / "sub/link").readlink() == Path("/etc/passwd")
    assert (target.stat().st_uid, target.stat().st_gid) == (70, 71)
    assert progress[-1] == archive.stat().st_size
    populator.extract(written(tmp_path / "other", tars.entry("new", b"x") + tars.END), target)
    assert not (target / "new").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"no archive at all" * 100,
        b"",
        ARCHIVE,
        ARCHIVE + tars.entry("../out", b"x") + tars.END,
        ARCHIVE + tars.hardlink("x", "../../etc/passwd") + tars.END,
        ARCHIVE + tars.symlink("d", "/etc") + tars.entry("d/../../x", b"x") + tars.END,
        gzip.compress(ARCHIVE + tars.END)[:-100],
        b"BZh9" + bytes(1000),
    ],
    ids=["text", "empty", "cut", "climbing", "hard link", "link and climbing", "cut gzip", "bzip2"],
)
def test_a_bad_archive_leaves_the_volume_as_it_was(
    tmp_path: Path, target: Path, populator: ArchivePopulator, data: bytes
) -> None:
    with pytest.raises(InvalidArgument):
        populator.extract(written(tmp_path / "archive", data), target)
    assert os.listdir(target) == []
    assert os.listdir(target.parent) == ["data"]
    assert target.stat().st_uid == 0


def test_links_in_an_archive_lead_nowhere_else(tmp_path: Path, target: Path, populator: ArchivePopulator) -> None:
    marker = f"lading-{secrets.token_hex(8)}"
    data = tars.symlink("d", "/tmp") + tars.entry(f"d/{marker}", b"x") + tars.END
    populator.extract(written(tmp_path / "archive", data), target)
    assert not Path("/tmp", marker).exists()
    assert (target / "tmp" / marker).read_bytes() == b"x"


def test_it_can_be_stopped_and_begun_again(tmp_path: Path, target: Path, populator: ArchivePopulator) -> None:
    buffer = io.BytesIO()
    for number in range(64):
        buffer.write(tars.entry(f"f{number}", os.urandom(1 << 20)))
    archive = written(tmp_path / "archive", buffer.getvalue() + tars.END)

    def stop(done: int) -> None:
        if done > 8 << 20:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        populator.extract(archive, target, progress=stop)
    assert os.listdir(target) == []
    populator.extract(archive, target)
    assert len(os.listdir(target)) == 64


def test_an_archive_that_is_not_there(tmp_path: Path, target: Path, populator: ArchivePopulator) -> None:
    with pytest.raises(NotFound):
        populator.extract(tmp_path / "none", target)
    with pytest.raises(FailedPrecondition):
        populator.extract(written(tmp_path / "archive", ARCHIVE + tars.END), tmp_path / "none/data")
