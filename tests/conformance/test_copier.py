"""What every copier does, the twin in memory and the real one on a tree on disk."""

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.copy.copier import TreeCopier
from drivers.copy.fake import FakeCopier
from drivers.copy.interface import Copier
from resources.errors import InvalidArgument, NotFound
from tests.unit.drivers.images.tars import END, entry, folder, hardlink, symlink


class Subject:
    """A copier and a root with /etc/name, /data/a/b and the links /current -> /data and /up -> ../../etc."""

    def __init__(self, copier: Copier, root: Path) -> None:
        self.copier = copier
        self.root = root

    def read(self, path: str) -> bytes | None:
        if isinstance(self.copier, FakeCopier):
            return self.copier.read(self.root, path)
        try:
            return (self.root / path.lstrip("/")).read_bytes()
        except FileNotFoundError:
            return None

    def unpack(self, path: str, archive: bytes) -> None:
        self.copier.unpack(self.root, path, io.BytesIO(archive))

    def packed(self, path: str) -> dict[str, tarfile.TarInfo]:
        with self.opened(path) as archive:
            return {member.name: member for member in archive}

    def content(self, path: str, name: str) -> bytes:
        with self.opened(path) as archive:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

    def opened(self, path: str) -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(b"".join(self.copier.pack(self.root, path))))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    root = tmp_path / "root"
    if request.param == "fake":
        fake = FakeCopier()
        fake.add_root(root)
        fake.put(root, "/etc/name", b"box\n", 0o640)
        fake.put(root, "/data/a/b", b"deep")
        fake.link(root, "/current", "/data")
        fake.link(root, "/up", "../../etc")
        yield Subject(fake, root)
        return
    (root / "etc").mkdir(parents=True)
    (root / "data/a").mkdir(parents=True)
    (root / "etc/name").write_bytes(b"box\n")
    (root / "etc/name").chmod(0o640)
    (root / "data/a/b").write_bytes(b"deep")
    (root / "current").symlink_to("/data")
    (root / "up").symlink_to("../../etc")
    yield Subject(TreeCopier(), root)


def test_what_is_there_and_what_is_not(subject: Subject) -> None:
    found = subject.copier.stat(subject.root, "/etc/name")
    assert found is not None
    assert (found.name, found.size, found.mode) == ("name", 4, stat.S_IFREG | 0o640)
    link = subject.copier.stat(subject.root, "/current")
    assert link is not None
    assert (link.name, stat.S_ISLNK(link.mode), link.link_target) == ("current", True, "/data")
    followed = subject.copier.stat(subject.root, "/current/")
    assert followed is not None
    assert stat.S_ISDIR(followed.mode)
    top = subject.copier.stat(subject.root, "/")
    assert top is not None
    assert (top.name, stat.S_ISDIR(top.mode)) == (".", True)
    for absent in ("/no", "/no/such", "/etc/name/x", "/current/no"):
        assert subject.copier.stat(subject.root, absent) is None
        with pytest.raises(NotFound):
            subject.copier.pack(subject.root, absent)
        with pytest.raises(NotFound):
            subject.unpack(absent, END)
    with pytest.raises(InvalidArgument):
        subject.copier.stat(subject.root, "/a\0b")
    with pytest.raises(NotFound):
        subject.copier.stat(subject.root / "gone", "/")


def test_a_path_never_leaves_the_root(subject: Subject) -> None:
    for path in ("/../../etc/name", "/up/name", "/current/../etc/name", "etc/name"):
        assert subject.content(path, "name") == b"box\n"


def test_entries_begin_with_the_last_component(subject: Subject) -> None:
    assert list(subject.packed("/etc/name")) == ["name"]
    assert sorted(subject.packed("/data")) == ["data", "data/a", "data/a/b"]
    assert subject.content("/data", "data/a/b") == b"deep"
    assert sorted(subject.packed("/current/")) == ["current", "current/a", "current/a/b"]
    assert {"etc/name", "./etc/name"} & set(subject.packed("/"))


def test_a_link_is_packed_as_a_link(subject: Subject) -> None:
    assert subject.packed("/current")["current"].linkname == "/data"


def test_files_folders_and_links_come_in(subject: Subject) -> None:
    archive = folder("new", 0o750) + entry("new/file", b"x" * 5000, mode=0o600) + symlink("new/link", "file")
    subject.unpack("/data", archive + hardlink("new/twin", "new/file") + END)
    assert subject.read("/data/new/file") == b"x" * 5000
    assert subject.read("/data/new/twin") == b"x" * 5000
    packed = subject.packed("/data/new")
    assert packed["new"].mode == 0o750
    assert packed["new/file"].mode == 0o600
    assert packed["new/link"].linkname == "file"
    assert packed["new/file"].mtime == 1_600_000_000


def test_what_was_packed_comes_in_again_as_it_was(subject: Subject) -> None:
    packed = b"".join(subject.copier.pack(subject.root, "/data"))
    subject.unpack("/etc", packed)
    assert subject.read("/etc/data/a/b") == b"deep"
    subject.unpack("/data/a", gzip.compress(packed))
    assert subject.read("/data/a/data/a/b") == b"deep"


def test_folders_that_are_missing_are_made(subject: Subject) -> None:
    subject.unpack("/", entry("srv/deep/er/file", b"here") + END)
    assert subject.read("/srv/deep/er/file") == b"here"


def test_a_link_to_a_folder_is_kept_and_followed_inside_the_root(subject: Subject) -> None:
    subject.unpack("/", folder("current") + entry("current/one", b"1") + entry("up/two", b"2") + END)
    assert subject.read("/data/one") == b"1"
    assert subject.read("/etc/two") == b"2"
    assert subject.packed("/current")["current"].linkname == "/data"
    subject.unpack("/current", entry("three", b"3") + END)
    assert subject.read("/data/three") == b"3"


def test_a_file_takes_the_place_of_a_file_or_a_link_and_not_of_a_folder(subject: Subject) -> None:
    subject.unpack("/", entry("etc/name", b"new") + entry("current", b"no link now") + END)
    assert subject.read("/etc/name") == b"new"
    assert subject.read("/current") == b"no link now"
    assert subject.read("/data/a/b") == b"deep"
    for bad in (entry("data/a", b"x"), folder("etc/name"), symlink("data", "etc")):
        with pytest.raises(InvalidArgument):
            subject.unpack("/", bad + END)
    assert subject.read("/data/a/b") == b"deep"
    assert subject.read("/etc/name") == b"new"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "./../x", "a/b/../../../../x"])
def test_an_entry_that_climbs_out_is_refused(subject: Subject, name: str) -> None:
    with pytest.raises(InvalidArgument):
        subject.unpack("/data", entry(name, b"x") + END)
    assert subject.read("/x") is None


def test_a_damaged_archive_is_refused(subject: Subject) -> None:
    whole = entry("file", b"x" * 1000) + END
    for bad in (b"no tar at all" * 100, whole[:700], whole[:1536], gzip.compress(whole)[:-9]):
        with pytest.raises(InvalidArgument):
            subject.unpack("/data", bad)


def test_the_folder_itself_stays_as_it_is(subject: Subject) -> None:
    before = subject.copier.stat(subject.root, "/data")
    subject.unpack("/data", folder("./", 0o700) + entry("./x", b"x") + END)
    after = subject.copier.stat(subject.root, "/data")
    assert before is not None
    assert after is not None
    assert after.mode == before.mode
    assert subject.read("/data/x") == b"x"


def test_nothing_stays_open(subject: Subject) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stream = subject.copier.pack(subject.root, "/")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    del stream
    subject.copier.pack(subject.root, "/")  # never read
    subject.unpack("/data", entry("x", b"x") + END)
    with pytest.raises(InvalidArgument):
        subject.unpack("/data", entry("y/z", b"x") + entry("../x", b"x") + END)
    assert len(os.listdir("/proc/self/fd")) == before
