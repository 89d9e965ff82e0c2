"""What the writer of tar headers writes, our reader and Python's read as it was."""

import io
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.images.tar import Entry, TarReader, Type
from drivers.images.tarwriter import END, header, padding
from tests.unit.drivers.images import tars

NAME = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
TIME = st.integers(-(10**19), 10**19)
ENTRIES = st.builds(
    Entry,
    type=st.sampled_from([Type.FILE, Type.DIRECTORY, Type.SYMLINK, Type.HARDLINK, Type.FIFO, Type.CHAR]),
    name=NAME,
    link=NAME,
    size=st.integers(0, 3000),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=TIME,
    major=st.integers(0, 4095),
    minor=st.integers(0, 0o7777777),
    xattrs=st.dictionaries(st.sampled_from([b"user.a", b"user.b c", b"security.capability"]), st.binary(max_size=200)),
)


def fitting(entry: Entry) -> Entry:
    """Without what entries of its type do not have."""
    link = entry.link if entry.type in (Type.SYMLINK, Type.HARDLINK) else b""
    size = entry.size if entry.type is Type.FILE else 0
    node = entry.type is Type.CHAR
    return entry._replace(link=link, size=size, major=entry.major * node, minor=entry.minor * node)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRIES.map(fitting), max_size=4))
def test_it_is_read_as_it_was(entries: list[Entry]) -> None:
    data = b"".join(header(e) + b"x" * e.size + padding(e.size) for e in entries) + END
    assert len(data) % 512 == 0
    reader = TarReader(tars.Stream(data))
    found = []
    for entry in reader:
        assert b"".join(iter(lambda: reader.read(999), b"")) == b"x" * entry.size
        found.append(entry)
    assert found == entries


def test_sizes_that_do_not_fit_the_old_field() -> None:
    entry = Entry(Type.FILE, b"big", b"", 9 << 30, 0o644, 0, 0, 0, 0, 0, {})
    assert next(iter(TarReader(tars.Stream(header(entry))))) == entry


def test_other_tools_read_it() -> None:
    entries = [
        Entry(Type.DIRECTORY, b"caf\xc3\xa9/", b"", 0, 0o2755, 3_000_000, 5, 1_500_000_000, 0, 0, {}),
        Entry(Type.FILE, b"n" * 150, b"", 5, 0o600, 1, 2, 1_600_000_000_500_000_000, 0, 0, {b"user.x": b"a\0\xff"}),
        Entry(Type.SYMLINK, b"link", b"t" * 200, 0, 0o777, 0, 0, 0, 0, 0, {}),
        Entry(Type.CHAR, b"null", b"", 0, 0o666, 0, 0, 0, 1, 3, {}),
    ]
    data = b"".join(header(e) + b"x" * e.size + padding(e.size) for e in entries) + END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        folder, file, link, node = archive.getmembers()
    assert (folder.name, folder.mode, folder.uid, folder.isdir()) == ("café", 0o2755, 3_000_000, True)
    assert (file.name, file.size, file.mtime) == ("n" * 150, 5, 1_600_000_000.5)
    assert link.linkname == "t" * 200
    assert (node.devmajor, node.devminor, node.ischr()) == (1, 3, True)
