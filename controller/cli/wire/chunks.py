"""An iterator of chunks as a file to be read from."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

_BUFFER = 1 << 18


def reader(chunks: Iterator[bytes]) -> BinaryIO:
    """Who looks at the beginning may go back to it once, as long as it has not read on: it is buffered."""
    return io.BufferedReader(_Raw(chunks), _BUFFER)


class _Raw(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        raise io.UnsupportedOperation(f"this is a stream: it cannot go to {offset} ({whence})")

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self._position += count
        return count
