"""Messages between the engine and the resolver: JSON with its length before it, over a stream.

Each connection begins with a `hello` either way that tells the version. Whatever the version, `{"op": "exit"}` makes the
process end and leave its snapshot, and a message that did not arrive whole was never sent.
"""

import json
from typing import Any

VERSION = 2
MAX_FRAME = 8 << 20
SOCKET, LOCK, SNAPSHOT, LOG = "control.sock", "lock", "snapshot", "log"
"""What lies in the process's folder of the run root."""

Message = dict[str, Any]


class FrameError(Exception):
    pass


def frame(message: Message) -> bytes:
    """Raises: FrameError for one that is too long."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME:
        raise FrameError
    return len(body).to_bytes(4, "big") + body


class Frames:
    """What comes in, put together."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Message | None:
        """Raises: FrameError for what is no message."""
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if length > MAX_FRAME:
            raise FrameError
        if len(self._buffer) < 4 + length:
            return None
        body = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise FrameError from None
        if not isinstance(message, dict):
            raise FrameError
        return message
