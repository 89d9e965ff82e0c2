"""An iterator of chunks as a file to be read from."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

_BUFFER = 1 << 18


def reader(chunks: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(_Raw(chunks), _BUFFER)


class _Raw(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
