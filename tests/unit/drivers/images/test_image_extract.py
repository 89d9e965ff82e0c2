"""Extraction of hostile and odd layers beside a sentinel tree that must stay as it is (TAR-01 to TAR-12)."""

import gc
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.images.extract import Extracted, NeedsLower, extract
from drivers.images.limits import DEFAULT, Limits
from drivers.images.tar import TarReader
from resources.errors import EngineError, InvalidArgument, ResourceExhausted
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, nodes and trusted xattrs")


class Ground:
    """A layer folder `root` inside a folder whose other content is the sentinel."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "a" / "b" / "root"
        self.root.mkdir(parents=True)
        self.count = 0
        (base / "sentinel").mkdir()
        (base / "sentinel" / "x").write_text("untouched")
        (base / "a" / "x").write_text("untouched")
        self.before = self.picture()

    def picture(self) -> list[tuple[str, int, int, int, int, str]]:
        seen = []
        for path in [self.base, *sorted(self.base.rglob("*"))]:
            if path.is_relative_to(self.root) or "layer" in path.name or "layer" in path.parent.as_posix():
                continue
            s = path.lstat()
            text = path.read_text() if stat.S_ISREG(s.st_mode) else ""
            seen.append((str(path), s.st_mode, s.st_uid, s.st_gid, s.st_ino, text))
        return seen

    def extract(
        self, data: bytes, lower: Sequence[Path] | None = (), limits: Limits = DEFAULT, root: Path | None = None
    ) -> Extracted:
        try:
            return extract(TarReader(tars.Stream(data + tars.END), limits=limits), root or self.root, lower, limits)
        finally:
            assert self.picture() == self.before

    def layer(self, data: bytes, lower: Sequence[Path] = ()) -> Path:
        self.count += 1
        path = self.base / f"layer{self.count}"
        path.mkdir()
        self.extract(data, lower, root=path)
        return path


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    gc.collect()  # what earlier tests left to the collector is not this one's
    descriptors = len(os.listdir("/proc/self/fd"))
    made = Ground(tmp_path / "g")
    yield made
    assert made.picture() == made.before
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def whiteout(path: Path) -> bool:
    s = path.lstat()
    return stat.S_ISCHR(s.st_mode) and s.st_rdev == 0


def opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def test_a_layer_as_the_archive_says(ground: Ground) -> None:
    data = (
        tars.folder("d", mode=0o2750, uid=1, gid=2, mtime=1000)
        + tars.entry("d/f", b"hello", mode=0o6755, uid=3, gid=4, mtime=2000)
        + tars.symlink("d/l", "/etc/passwd")
        + tars.hardlink("d/h", "d/f")
        + tars.entry("d/p", type=b"6", mode=0o600)
        + tars.entry("d/c", type=b"3", device=(1, 3), mode=0o666)
    )
    result = ground.extract(data)
    d = ground.root / "d"
    f = (d / "f").stat()
    assert (stat.S_IMODE(f.st_mode), f.st_uid, f.st_gid, f.st_mtime, f.st_nlink) == (0o6755, 3, 4, 2000, 2)
    assert (stat.S_IMODE(d.stat().st_mode), d.stat().st_uid, d.stat().st_gid, d.stat().st_mtime) == (0o2750, 1, 2, 1000)
    assert (d / "l").readlink() == Path("/etc/passwd")
    assert stat.S_ISFIFO((d / "p").lstat().st_mode)
    assert (d / "c").stat().st_rdev == os.makedev(1, 3)
    assert (result.entries, result.bytes, result.root_seen) == (6, 5, False)


ESCAPES = {
    "dots": tars.entry("../x", b"evil"),
    "dots inside": tars.entry("a/../../x", b"evil"),
    "dots after dot": tars.entry("./../x", b"evil"),
    "trailing dots": tars.folder("a/../.."),
    "link of dots": tars.folder("a") + tars.hardlink("a/h", "../../sentinel/x"),
    "whiteout of parent": tars.folder("a") + tars.entry("a/.wh..."),
    "whiteout of self": tars.entry(".wh.."),
    "whiteout of nothing": tars.entry(".wh."),
    "folder like a whiteout": tars.entry(".wh.../x"),
    "root as a file": tars.entry("."),
    "no name": tars.entry(""),
    "link loop": tars.symlink("d", "d") + tars.entry("d/x", b"evil"),
    "links in a circle": tars.symlink("a", "b") + tars.symlink("b", "a") + tars.entry("a/x", b"evil"),
    "long name": tars.entry("n" * 60 + "/" + "m" * 39) * 0 + tars.pax(path="n" * 256) + tars.entry("x"),
    "long path": tars.pax(path="n/" * 3000) + tars.entry("x"),
    "deep": tars.pax(path="n/" * 300 + "x") + tars.entry("x"),
    "hardlink to a folder": tars.folder("d") + tars.hardlink("h", "d"),
    "hardlink to nothing": tars.hardlink("h", "missing"),
    "hardlink to itself": tars.entry("h") + tars.hardlink("h", "h"),
    "hardlink to a whiteout": tars.entry(".wh.w") + tars.hardlink("h", "w"),
    "file as a folder": tars.entry("f") + tars.entry("f/x"),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_ways_out_are_refused(ground: Ground, name: str) -> None:
    with pytest.raises(InvalidArgument):
        ground.extract(ESCAPES[name])


def chain(length: int) -> bytes:
    return b"".join(tars.symlink(f"l{i}", f"l{i + 1}") for i in range(length)) + tars.symlink(f"l{length}", "/t")


@pytest.mark.parametrize(
    ("links", "landed"),
    [
        (tars.symlink("d", "/sentinel"), "sentinel/x"),
        (tars.symlink("d", "../../../sentinel"), "sentinel/x"),
        (tars.symlink("d", "/../../../../../../etc"), "etc/x"),
        (tars.symlink("d", "/proc/self/root"), "proc/self/root/x"),
        (chain(30) + tars.symlink("d", "l0"), "t/x"),
    ],
)
def test_links_are_followed_inside_the_layer_only(ground: Ground, links: bytes, landed: str) -> None:
    ground.extract(links + tars.entry("d/x", b"evil"))
    assert (ground.root / landed).read_text() == "evil"


def test_links_over_two_layers_are_followed_inside(ground: Ground) -> None:
    low = ground.layer(tars.folder("usr") + tars.folder("usr/bin", mode=0o711, uid=9) + tars.symlink("bin", "usr/bin"))
    ground.extract(tars.entry("bin/x", b"new"), [low])
    assert (ground.root / "usr/bin/x").read_text() == "new"
    status = (ground.root / "usr/bin").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o711, 9)
    assert not os.path.lexists(ground.root / "bin")
    assert not (low / "usr/bin/x").exists()


def test_a_layer_that_needs_those_below_says_so(ground: Ground) -> None:
    for data in (tars.entry("bin/x"), tars.hardlink("h", "etc/f"), tars.entry("a/.wh.b")):
        with pytest.raises(NeedsLower):
            ground.extract(data, None)
    ground.extract(tars.folder("bin") + tars.entry("bin/x") + tars.entry(".wh.y") + tars.entry("y/z"), None)
    assert opaque(ground.root / "y")


def test_hardlink_to_a_lower_file_copies_it_up(ground: Ground) -> None:
    low = ground.layer(tars.folder("etc", mode=0o700) + tars.entry("etc/f", b"low", mode=0o640, uid=5))
    ground.extract(tars.hardlink("h", "etc/f") + tars.entry("h2", b"other"), [low])
    assert (ground.root / "h").read_text() == "low"
    assert (ground.root / "h").stat().st_ino == (ground.root / "etc/f").stat().st_ino
    assert (ground.root / "h").stat().st_uid == 5
    assert (low / "etc/f").stat().st_nlink == 1


def test_writing_over_a_hardlink_leaves_its_other_name(ground: Ground) -> None:
    ground.extract(tars.entry("f", b"one") + tars.hardlink("h", "f") + tars.entry("h", b"two"))
    assert ((ground.root / "f").read_text(), (ground.root / "h").read_text()) == ("one", "two")


def test_hardlink_to_a_symlink_links_the_link(ground: Ground) -> None:
    ground.extract(tars.symlink("s", "/sentinel/x") + tars.hardlink("h", "s"))
    assert (ground.root / "h").readlink() == Path("/sentinel/x")


def test_absolute_names_are_below_the_root(ground: Ground) -> None:
    ground.extract(tars.entry("/abs", b"1") + tars.entry("a//b", b"2") + tars.entry("./c/./d", b"3"))
    assert [(ground.root / p).read_text() for p in ("abs", "a/b", "c/d")] == ["1", "2", "3"]


def test_of_several_entries_the_last_wins(ground: Ground) -> None:
    ground.extract(
        tars.folder("d")
        + tars.entry("d/e/f", b"deep")
        + tars.entry("d", b"file")
        + tars.symlink("s", "/sentinel")
        + tars.folder("s")
        + tars.entry("s/x", b"in")
        + tars.folder("k", mode=0o700)
        + tars.folder("k", mode=0o755)
        + tars.entry("f", b"1")
        + tars.entry("f", b"2")
    )
    assert (ground.root / "d").read_text() == "file"
    assert (ground.root / "s/x").read_text() == "in"
    assert stat.S_IMODE((ground.root / "k").stat().st_mode) == 0o755
    assert (ground.root / "f").read_text() == "2"


def test_a_folder_swapped_for_a_link_is_not_reached_through_a_kept_descriptor(ground: Ground) -> None:
    ground.extract(tars.folder("d") + tars.entry("d/a") + tars.symlink("d", "/sentinel") + tars.entry("d/x", b"evil"))
    assert (ground.root / "sentinel/x").read_text() == "evil"


def test_whiteouts_become_those_of_overlayfs(ground: Ground) -> None:
    result = ground.extract(
        tars.entry(".wh.gone")
        + tars.folder("o")
        + tars.entry("o/new")
        + tars.entry("o/.wh..wh..opq")
        + tars.folder("both")
        + tars.entry(".wh.both")
        + tars.entry("file", b"kept")
        + tars.entry(".wh.file")
        + tars.entry(".wh.back")
        + tars.entry("back", b"new")
        + tars.entry("device", type=b"3", device=(0, 0))
        + tars.entry(".wh..wh.plnk/1.2")
        + tars.entry(".wh..wh.aufs")
    )
    root = ground.root
    assert whiteout(root / "gone")
    assert opaque(root / "o")
    assert (root / "o/new").exists()
    assert opaque(root / "both")
    assert (root / "file").read_text() == "kept"
    assert (root / "back").read_text() == "new"
    assert whiteout(root / "device")
    assert not result.root_opaque
    assert sorted(os.listdir(root)) == ["back", "both", "device", "file", "gone", "o"]


def test_an_opaque_root_is_told(ground: Ground) -> None:
    assert ground.extract(tars.entry(".wh..wh..opq")).root_opaque
    assert not opaque(ground.root)


def test_nothing_hidden_in_this_layer_is_taken_from_below(ground: Ground) -> None:
    low = ground.layer(tars.folder("a", mode=0o700) + tars.symlink("a/b", "/sentinel"))
    ground.extract(tars.entry(".wh.a") + tars.entry("a/b/x", b"new"), [low])
    assert (ground.root / "a/b/x").read_text() == "new"
    assert stat.S_IMODE((ground.root / "a").stat().st_mode) == 0o755
    assert opaque(ground.root / "a")


def test_only_harmless_xattrs_are_kept(ground: Ground) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    names = (b"trusted.overlay.opaque", b"trusted.overlay.redirect", b"user.overlay.opaque", b"security.selinux")
    records = [(b"SCHILY.xattr." + name, b"y") for name in (*names, b"", b"user.", b"user." + b"n" * 300)]
    records += [(b"SCHILY.xattr.user.ok", b"v"), (b"SCHILY.xattr.security.capability", capability)]
    records += [(b"SCHILY.xattr.user.big", b"v" * 70_000)]
    result = ground.extract(tars.pax_records(records) + tars.entry("f", b"x", mode=0o755, uid=7))
    assert sorted(os.listxattr(ground.root / "f")) == ["security.capability", "user.ok"]
    assert result.dropped_xattrs.total() == 8


def test_the_root_stays_passable(ground: Ground) -> None:
    result = ground.extract(tars.folder("./", mode=0o000, uid=3))
    assert result.root_seen
    assert stat.S_IMODE(ground.root.stat().st_mode) == 0o555
    assert ground.root.stat().st_uid == 3


def test_names_are_bytes(ground: Ground) -> None:
    names = [b"\xff\xfe", b"new\nline", b"\x1b[31m", b"A", b"a", "é".encode(), "e\u0301".encode(), b"n" * 255]
    ground.extract(b"".join(tars.pax_records([(b"path", n)]) + tars.entry("x") for n in names))
    assert sorted(os.listdir(os.fsencode(ground.root))) == sorted(names)


def test_limits_are_kept(ground: Ground) -> None:
    with pytest.raises(InvalidArgument):
        ground.extract(tars.entry("f") * 10, limits=Limits(max_entries=5))
    with pytest.raises(ResourceExhausted, match="free"):
        ground.extract(tars.entry("f"), limits=Limits(min_free_ratio=1.0, min_free_cap=1 << 62))


PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", ".wh.a", ".wh..wh..opq", ".wh.b", "d"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
ENTRIES = st.one_of(
    st.tuples(st.just("file"), PATHS, st.just("")),
    st.tuples(st.just("folder"), PATHS, st.just("")),
    st.tuples(st.just("link"), PATHS, PATHS | PATHS.map(lambda p: "/" + p) | st.just("../../../sentinel")),
    st.tuples(st.just("hard"), PATHS, PATHS),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ENTRIES, max_size=12), min_size=1, max_size=2))
def test_no_combination_gets_out(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[tuple[str, str, str]]]
) -> None:
    ground = Ground(tmp_path_factory.mktemp("g"))
    lower: list[Path] = []
    for entries in layers:
        data = b""
        for kind, name, target in entries:
            if kind == "file":
                data += tars.entry(name, b"evil")
            elif kind == "folder":
                data += tars.folder(name)
            else:
                data += tars.symlink(name, target) if kind == "link" else tars.hardlink(name, target)
        root = ground.base / f"layer{len(lower)}"
        root.mkdir()
        try:
            ground.extract(data, lower, root=root)
        except EngineError:
            break
        lower.insert(0, root)
    assert ground.picture() == ground.before
