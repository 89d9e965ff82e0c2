"""Decompression: what the content is, bombs, damage, threads that end (TAR-09, TAR-13)."""

import gzip
import hashlib
import lzma
import threading
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.images.limits import DEFAULT, Limits
from drivers.images.streams import CHUNK, opened
from resources.errors import InvalidArgument, ResourceExhausted

SMALL = Limits(max_unpacked=1 << 20, ratio_floor=1 << 20)


def through(path: Path, data: bytes, limits: Limits = DEFAULT) -> tuple[bytes, str, str]:
    path.write_bytes(data)
    with path.open("rb") as file, opened(file, len(data), limits) as stream:
        content = b"".join(iter(lambda: stream.read(CHUNK), b""))
        return content, stream.digest, stream.diff_id


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.binary(max_size=5000), st.sampled_from(["plain", "gzip", "members", "zstd", "frames"]))
def test_content_and_both_digests(tmp_path: Path, data: bytes, form: str) -> None:
    data = b"start" + data
    half = len(data) // 2
    packed = {
        "plain": lambda: data,
        "gzip": lambda: gzip.compress(data),
        "members": lambda: gzip.compress(data[:half]) + gzip.compress(b"") + gzip.compress(data[half:]),
        "zstd": lambda: zstandard.compress(data),
        "frames": lambda: zstandard.compress(data[:half]) + zstandard.compress(data[half:]),
    }[form]()
    expected = [f"sha256:{hashlib.sha256(d).hexdigest()}" for d in (packed, data)]
    assert through(tmp_path / "f", packed) == (data, *expected)


def test_zstd_with_skippable_frames(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    packed = skippable + zstandard.compress(b"content") + skippable
    assert through(tmp_path / "f", packed)[0] == b"content"


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_bombs_are_stopped(tmp_path: Path, form: str) -> None:
    zeros = bytes(64 << 20)
    packed = gzip.compress(zeros, 1) if form == "gzip" else zstandard.compress(zeros)
    with pytest.raises(InvalidArgument, match="1048576"):
        through(tmp_path / "f", packed, SMALL)


def test_a_window_that_takes_gigabytes_is_refused(tmp_path: Path) -> None:
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + bytes([0x01, 0, 0])
    with pytest.raises(InvalidArgument, match="zstd"):
        through(tmp_path / "f", frame)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"x" * 1000)[:-9],
        gzip.compress(b"x" * 1000) + b"garbage",
        gzip.compress(b"x" * 1000)[:-8] + b"\0" * 8,
        lzma.compress(b"x"),
        b"BZh91AY",
        zstandard.compress(b"x" * 1000)[:-3] + b"\xff\xff\xff",
        gzip.compress(b"") * 3000,
    ],
    ids=["cut", "garbage-behind", "wrong-sum", "xz", "bzip2", "zstd-cut", "members"],
)
def test_damaged_and_foreign_streams(tmp_path: Path, packed: bytes) -> None:
    if packed[:2] == b"\x28\xb5":
        packed = packed[:12] + bytes(255 - b for b in packed[12:])
    with pytest.raises(InvalidArgument):
        through(tmp_path / "f", packed)


def test_many_members_take_linear_time(tmp_path: Path) -> None:
    member = gzip.compress(b"x")
    assert through(tmp_path / "f", member * 20_000)[0] == b"x" * 20_000


def test_left_early_the_thread_ends(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(zlib.compress(b"") and gzip.compress(bytes(50 << 20), 1))
    before = threading.active_count()
    with path.open("rb") as file, opened(file, path.stat().st_size, DEFAULT) as stream:
        assert stream.read(10) == bytes(10)
    assert threading.active_count() == before


def test_an_error_of_the_progress_reaches_the_reader(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise ResourceExhausted(f"stop at {done}")

    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file, opened(file, 100, DEFAULT, stop) as stream, pytest.raises(ResourceExhausted):
        stream.read(1)
