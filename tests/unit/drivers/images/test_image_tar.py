"""The tar reader on real and hostile archives (TAR-08, TAR-12)."""

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.images.limits import Limits
from drivers.images.tar import Entry, TarReader, Type, printable
from resources.errors import EngineError, InvalidArgument
from tests.unit.drivers.images import tars


def entries(data: bytes, **options: Any) -> list[tuple[Entry, bytes]]:
    reader = TarReader(tars.Stream(data), **options)
    return [(entry, b"".join(iter(lambda: reader.read(300), b""))) for entry in reader]


def test_plain_entries() -> None:
    data = tars.folder("d/") + tars.entry("d/f", b"x" * 700, mode=0o4755, uid=7, gid=8) + tars.symlink("l", "d/f")
    (folder, _), (file, content), (link, _) = entries(data + tars.END)
    assert (folder.type, folder.name, folder.mode) == (Type.DIRECTORY, b"d/", 0o755)
    assert (file.mode, file.uid, file.gid, content) == (0o4755, 7, 8, b"x" * 700)
    assert (link.type, link.link) == (Type.SYMLINK, b"d/f")


NAMES = st.from_regex(r"[a-zA-Zé0-9_.-]{1,60}(/[a-zA-Z0-9_-]{1,120}){0,4}", fullmatch=True)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500), st.integers(0, 2**31 - 1)), max_size=6),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_a_real_writer_wrote_is_read(files: list[tuple[str, bytes, int]], form: int) -> None:
    out = io.BytesIO()
    expected = []
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content, owner in files:
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mtime = len(content), owner if form != tarfile.USTAR_FORMAT else 5, 1.5e9
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:  # too long for ustar
                continue
            expected.append((name.encode(), info.uid, content))
    assert [(e.name, e.uid, c) for e, c in entries(out.getvalue())] == expected


@settings(max_examples=200)
@given(st.binary(max_size=40), st.integers(0, 2600), st.integers(0, 255))
def test_damage_gives_entries_or_a_clean_error(junk: bytes, where: int, value: int) -> None:
    data = bytearray(tars.pax(path="long") + tars.entry("a", b"x" * 100) + tars.gnu_long(b"n" * 200) + tars.entry("b"))
    data[where % len(data)] = value
    try:
        entries(bytes(data) + junk + tars.END)
    except EngineError:
        return


def test_cut_off_at_every_block() -> None:
    whole = b"".join(tars.entry(f"f{i}", b"x" * 1000) for i in range(8)) + tars.END
    for length in range(0, len(whole) - 1024, 512):
        with pytest.raises(InvalidArgument):
            entries(whole[:length])


def test_names_of_all_kinds() -> None:
    data = (
        tars.entry("n", prefix=b"p/q")
        + tars.entry("gnu", magic=b"ustar  \0", prefix=b"12345")
        + tars.gnu_long(b"L" * 300)
        + tars.entry("x")
        + tars.pax(path="P" * 300)
        + tars.entry("y")
        + tars.entry(b"\xff\n\x1b")
    )
    names = [e.name for e, _ in entries(data + tars.END)]
    assert names == [b"p/q/n", b"gnu", b"L" * 300, b"P" * 300, b"\xff\n\x1b"]
    assert printable(names[-1]) == "\\\\xff\\n\\x1b"


def test_large_numbers_in_base_256() -> None:
    raw = b"\x80" + (5).to_bytes(11, "big")
    [(entry, content)] = entries(tars.header("f", raw_size=raw) + tars.padded(b"12345") + tars.END)
    assert (entry.size, content) == (5, b"12345")


def test_xattrs_and_times() -> None:
    data = tars.pax_records([(b"SCHILY.xattr.user.a", b"v\0w"), (b"mtime", b"-1.5")]) + tars.entry("f")
    [(entry, _)] = entries(data + tars.END)
    assert entry.xattrs == {b"user.a": b"v\0w"}
    assert entry.mtime_ns == -1_500_000_000


HOSTILE = {
    "sparse": tars.entry("f", type=b"S"),
    "pax sparse": tars.pax_records([(b"GNU.sparse.size", b"9223372036854775807")]) + tars.entry("f"),
    "negative size": tars.header("f", raw_size=b"\xff" * 12),
    "huge size": tars.header("f", raw_size=b"\x80" + b"\x7f" * 11),
    "size of text": tars.header("f", raw_size=b"-0000000001\0"),
    "two sizes": tars.pax(size="7") + tars.entry("f", b"12345"),
    "pax size beyond": tars.pax(size="9" * 20) + tars.entry("f"),
    "global path": tars.pax(b"g", path="/etc/passwd") + tars.entry("f"),
    "uid -1": tars.pax(uid="-1") + tars.entry("f"),
    "uid 2^32": tars.pax(uid=str(2**32)) + tars.entry("f"),
    "time": tars.pax(mtime="1e300") + tars.entry("f"),
    "time nan": tars.pax(mtime="nan") + tars.entry("f"),
    "time far": tars.pax(mtime="99999999999") + tars.entry("f"),
    "nul in name": tars.pax_records([(b"path", b"a\0b")]) + tars.entry("f"),
    "no record": tars.entry("x", b"abc", b"x") + tars.entry("f"),
    "record beyond": tars.entry("x", b"99 a=b\n", b"x") + tars.entry("f"),
    "record of nothing": tars.entry("x", b"1 a=b\n", b"x") + tars.entry("f"),
    "two names": tars.pax(path="a") + tars.gnu_long(b"b") + tars.entry("f"),
    "multi volume": tars.entry("f", type=b"M"),
    "unknown": tars.entry("f", type=b"Z"),
    "many headers": tars.pax(comment="x") * 20 + tars.entry("f"),
    "header at end": tars.pax(path="x"),
    "no tar": b"x" * 512,
    "data after the end": tars.END + tars.entry("f"),
    "one zero block": bytes(512) + tars.entry("f"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        entries(HOSTILE[name] + tars.END)


def test_long_headers_and_many_entries_are_refused_before_they_are_read() -> None:
    for type in (b"x", b"g", b"L", b"K"):
        with pytest.raises(InvalidArgument):
            entries(tars.header("h", type, 512 << 20) + tars.END)
    with pytest.raises(InvalidArgument):
        entries(tars.entry("f") * 4 + tars.END, limits=Limits(max_entries=3))


def test_an_end_marker_may_be_missing_only_where_a_digest_tells() -> None:
    assert len(entries(tars.entry("f"), require_end=False)) == 1
    with pytest.raises(InvalidArgument, match="end marker"):
        entries(tars.entry("f"))
