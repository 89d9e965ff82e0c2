"""What every content store and store of names does. The contract is drivers/images/interface.py."""

import io
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.images.content import LayoutContentStore
from drivers.images.digest import of_bytes
from drivers.images.fake import FakeContentStore, FakeImageStore
from drivers.images.interface import ContentStore, Descriptor, ImageStore
from drivers.images.names import IndexImageStore
from resources.errors import Cancelled, DataLoss, InvalidArgument, NotFound, ResourceExhausted

ABSENT = of_bytes(b"absent")


@pytest.fixture(params=["layout", "fake"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    return LayoutContentStore(tmp_path / "c") if request.param == "layout" else FakeContentStore()


@pytest.fixture(params=["index", "fake"])
def names(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    return IndexImageStore(tmp_path) if request.param == "index" else FakeImageStore()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.binary(max_size=3000))
def test_what_goes_in_comes_out(content: ContentStore, data: bytes) -> None:
    digest = of_bytes(data)
    for _ in range(2):
        stored = content.ingest(io.BytesIO(data), Descriptor("type", digest, len(data)))
        assert stored == Descriptor("type", digest, len(data))
    assert content.info(digest) == Descriptor("", digest, len(data))
    assert content.read(digest, len(data)) == data
    with content.open(digest) as file:
        assert file.read() == data
    assert digest in {blob.digest for blob in content.walk()}
    content.delete(digest)
    content.delete(digest)
    assert content.info(digest) is None


@pytest.mark.parametrize(
    ("data", "size"), [(b"right", 6), (b"right", 4), (b"wrong", 5), (b"right and more", 5), (b"", 5)]
)
def test_what_does_not_verify_is_not_kept(content: ContentStore, data: bytes, size: int) -> None:
    stream = io.BytesIO(data)
    with pytest.raises(DataLoss):
        content.ingest(stream, Descriptor("", of_bytes(b"right"), size))
    assert stream.tell() <= size + 1
    assert list(content.walk()) == []
    assert content.cleanup() == 0


@pytest.mark.parametrize("content_of", [b"x" * 3_000_000, b"y" * 3_000_000], ids=["right", "wrong"])
def test_nothing_is_to_be_seen_before_it_is_verified(content: ContentStore, content_of: bytes) -> None:
    digest = of_bytes(b"x" * 3_000_000)
    seen: list[bool] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append(content.info(digest) is not None or list(content.walk()) != [])
            return super().read(size)

    try:
        content.ingest(Watched(content_of), Descriptor("", digest, len(content_of)))
    except DataLoss:
        assert content.info(digest) is None
    else:
        assert content.info(digest) is not None
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:" + "A" * 64, "", "sha512:" + "0" * 128])
def test_malformed_digests_never_become_paths(content: ContentStore, digest: str) -> None:
    for call in (content.info, content.open, content.delete):
        with pytest.raises(InvalidArgument):
            call(digest)
    with pytest.raises(InvalidArgument):
        content.ingest(io.BytesIO(b""), Descriptor("", digest, 0))
    with pytest.raises(InvalidArgument):
        content.ingest(io.BytesIO(b""), Descriptor("", ABSENT, -1))


def test_absent_and_long(content: ContentStore) -> None:
    with pytest.raises(NotFound):
        content.open(ABSENT)
    digest = content.ingest(io.BytesIO(b"12345")).digest
    with pytest.raises(ResourceExhausted):
        content.read(digest, 4)


def test_a_progress_that_cancels_leaves_nothing(content: ContentStore) -> None:
    def cancel(what: str, done: int, total: int) -> None:
        raise Cancelled("enough")

    if isinstance(content, FakeContentStore):
        pytest.skip("the fake tells progress once, at the end")
    with pytest.raises(Cancelled):
        content.ingest(io.BytesIO(b"x"), progress=cancel)
    assert list(content.walk()) == []
    assert content.cleanup() == 0


def test_the_same_blob_from_many_threads(content: ContentStore) -> None:
    data = b"x" * 300_000
    results: list[Descriptor] = []
    threads = [threading.Thread(target=lambda: results.append(content.ingest(io.BytesIO(data)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [Descriptor("", of_bytes(data), len(data))] * 8
    assert len(list(content.walk())) == 1


def test_leftovers_of_a_crash_are_no_blobs(tmp_path: Path) -> None:
    content = LayoutContentStore(tmp_path)
    (tmp_path / "ingest" / "half").write_bytes(b"ha")
    assert list(content.walk()) == []
    assert content.cleanup() == 1
    assert content.cleanup() == 0


def test_names(names: ImageStore) -> None:
    one, two = Descriptor("t", of_bytes(b"1"), 1), Descriptor("t", of_bytes(b"2"), 2, {"a": "b"})
    assert names.get("x") is None
    names.put("docker.io/library/x:1", one)
    names.put("uid:00ff", two)
    assert names.list() == [("docker.io/library/x:1", one), ("uid:00ff", two)]
    names.put("docker.io/library/x:1", two)
    assert names.get("docker.io/library/x:1") == two
    names.delete("uid:00ff")
    names.delete("uid:00ff")
    assert names.get("uid:00ff") is None
    with pytest.raises(InvalidArgument):
        names.put("", one)
    with pytest.raises(InvalidArgument):
        names.put("x", Descriptor("t", "sha256:x", 1))


def test_names_from_many_threads(names: ImageStore) -> None:
    target = Descriptor("t", ABSENT, 1)
    threads = [threading.Thread(target=names.put, args=(f"n{i}", target)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names.list()) == 12


def test_a_damaged_index_is_told_not_overwritten(tmp_path: Path) -> None:
    names = IndexImageStore(tmp_path)
    (tmp_path / "index.json").write_text("{")
    for call in (names.list, lambda: names.put("x", Descriptor("t", ABSENT, 1))):
        with pytest.raises(DataLoss, match="index"):
            call()
    assert (tmp_path / "index.json").read_text() == "{"
