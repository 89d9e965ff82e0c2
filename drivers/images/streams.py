"""Blobs as streams: compression told from the content, two digests on the way, decompression beside the reader."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip_lib

from drivers.images.limits import DEFAULT, Limits
from resources.errors import DataLoss, EngineError, InvalidArgument

CHUNK = 1 << 20
_SMALL = 1 << 16
_AHEAD = 8
_MAX_WINDOW = 1 << 27
"""128 MiB, what `zstd --ultra -22` needs: more is an attack on memory."""
_MAX_EMPTY_MEMBERS = 1000

# The stubs say that it is an instance.
_GzipError = cast(type[Exception], igzip_lib.IsalError)

PLAIN, GZIP, ZSTD = "plain", "gzip", "zstd"
_REFUSED = {b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}


def compression(head: bytes) -> str:
    """Tell the compression from the first bytes. Raises: InvalidArgument for one that layers cannot have."""
    if head.startswith(b"\x1f\x8b"):
        return GZIP
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return ZSTD  # the second form: a skippable frame first, as zstd:chunked has it
    for magic, name in _REFUSED.items():
        if head.startswith(magic):
            raise InvalidArgument(f"compressed with {name}", hint="plain, gzip and zstd are taken")
    return PLAIN


class _Hashed:
    """The compressed side: counts and hashes what is read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self.hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int = CHUNK) -> bytes:
        data = self._file.read(min(size, CHUNK))
        self.hash.update(data)
        self.count += len(data)
        if self._progress and data:
            self._progress(self.count)
        return data


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Gzip:
    """Members one after another, output in bounded pieces."""

    def __init__(self, source: _Hashed) -> None:
        self._source = source
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._fed = False
        self._wrote = False
        self._empty = 0

    def read(self, size: int) -> bytes:
        while True:
            data = b""
            if self._member.eof:
                data = self._member.unused_data or self._source.read(_SMALL)
                if not data:
                    return b""
                self._next_member()
            elif self._member.needs_input:
                data = self._source.read(_SMALL)
                if not data:
                    raise InvalidArgument("the gzip stream is cut off")
            out: bytes = self._member.decompress(data, size)
            if out:
                self._wrote = True
                return out

    def _next_member(self) -> None:
        self._empty = 0 if self._wrote else self._empty + 1
        if self._empty > _MAX_EMPTY_MEMBERS:
            raise InvalidArgument("the gzip stream has thousands of empty members")
        self._wrote = False
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _decompressor(kind: str, source: _Hashed) -> _Reader:
    if kind == GZIP:
        return _Gzip(source)
    if kind == ZSTD:
        context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        return context.stream_reader(source, read_size=_SMALL * 4, read_across_frames=True)  # type: ignore[arg-type]
    return source


class Unpacked:
    """The uncompressed content of a blob, decompressed and hashed in a thread of its own while it is consumed.

    `digest` and `diff_id` are complete after `read` has returned b"". Close it (or use `opened`) to end the thread.
    """

    def __init__(
        self, file: BinaryIO, size: int, limits: Limits, progress: Callable[[int], None] | None = None
    ) -> None:
        head = file.read(6)
        file.seek(0)
        self.compression = compression(head)
        self._source = _Hashed(file, progress)
        self._reader = _decompressor(self.compression, self._source)
        self._limit = limits.unpacked(size) if self.compression != PLAIN else limits.max_unpacked
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._chunk = memoryview(b"")
        self._ended = False
        self._thread = threading.Thread(target=self._produce, name="decompress", daemon=True)
        self._thread.start()

    @property
    def digest(self) -> str:
        return f"sha256:{self._source.hash.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        """As tar.Source: short only at the end of a piece, b"" at the end."""
        if not self._chunk and not self._advance():
            return b""
        piece = bytes(self._chunk[:size])
        self._chunk = self._chunk[size:]
        return piece

    def drain(self) -> None:
        while self.read(CHUNK):
            pass

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue
        self._thread.join()

    def _advance(self) -> bool:
        if self._ended:
            return False
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = not item
        self._chunk = memoryview(item)
        return bool(item)

    def _produce(self) -> None:
        total = 0
        try:
            while not self._closed.is_set():
                data = self._reader.read(CHUNK)
                total += len(data)
                if total > self._limit:
                    # More room would not help: to try it again would only burn time.
                    raise InvalidArgument(f"it unpacks to more than {self._limit} bytes: a decompression bomb")
                self._hash.update(data)
                self._put(data)
                if not data:
                    return
        except EngineError as error:
            self._put(error)
        except (zstandard.ZstdError, _GzipError, EOFError) as error:
            self._put(InvalidArgument(f"damaged {self.compression} stream: {error}"))
        except Exception as error:
            self._put(DataLoss(f"cannot read the blob: {error}") if isinstance(error, OSError) else error)

    def _put(self, item: bytes | BaseException) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
        return None


@contextmanager
def opened(
    file: BinaryIO, size: int, limits: Limits = DEFAULT, progress: Callable[[int], None] | None = None
) -> Iterator[Unpacked]:
    stream = Unpacked(file, size, limits, progress)
    try:
        yield stream
    finally:
        stream.close()
