"""What clients send ahead: verified, kept while it is needed, gone afterwards."""

import hashlib
from pathlib import Path

import pytest

from controller.store.uploads import UploadFolder
from resources.errors import InvalidArgument


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_what_was_announced_is_kept(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "u")
    data = b"abc" * 1000
    uploads.receive(digest(data), len(data), iter([data[:10], data[10:]]))
    path = uploads.path(digest(data))
    assert path is not None
    assert path.read_bytes() == data
    assert uploads.has(digest(data))


@pytest.mark.parametrize(("sent", "size"), [(b"abd", 3), (b"ab", 3), (b"abcd", 3), (b"", 3)])
def test_what_was_not_is_refused_and_leaves_nothing(tmp_path: Path, sent: bytes, size: int) -> None:
    uploads = UploadFolder(tmp_path / "u")
    with pytest.raises(InvalidArgument):
        uploads.receive(digest(b"abc"), size, iter([sent]))
    assert files(tmp_path / "u") == []


@pytest.mark.parametrize("name", ["sha256:../x", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 64, ""])
def test_a_digest_is_checked_before_a_path_is_made_of_it(tmp_path: Path, name: str) -> None:
    uploads = UploadFolder(tmp_path / "u")
    with pytest.raises(InvalidArgument):
        uploads.path(name)


def test_the_fresh_stay_until_they_are_used_and_nothing_needs_them(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "u")
    one, two = b"one", b"two"
    for data in (one, two):
        uploads.receive(digest(data), len(data), iter([data]))
    uploads.keep_only([])
    assert len(files(tmp_path / "u")) == 2
    uploads.used([digest(one)])
    uploads.keep_only([digest(one)])
    assert len(files(tmp_path / "u")) == 2
    uploads.keep_only([])
    assert uploads.has(digest(two))
    assert not uploads.has(digest(one))


def test_the_next_life_drops_what_was_half_sent_and_keeps_the_rest(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path / "u")
    uploads.receive(digest(b"x"), 1, iter([b"x"]))
    (tmp_path / "u/tmp/half").write_bytes(b"half")
    again = UploadFolder(tmp_path / "u")
    assert again.has(digest(b"x"))
    assert len(files(tmp_path / "u")) == 1
    again.keep_only([])
    assert files(tmp_path / "u") == []
