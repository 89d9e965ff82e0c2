"""What client and engine say to each other over the command socket: frames of one letter, a length and a payload.

The client's start imports this file and nothing else of ours, so it imports nothing at all. Each side treats the other
as hostile: lengths are bounded before anything is kept, and what is malformed ends the connection.

The client opens with REQUEST. The engine writes (OUT, ERR), asks the client for something of its own (ASK), joins its
terminal to a stream (JOIN, MORE, LEAVE) and ends with EXIT. Content moves in DATA frames: towards the engine one for
each ASK, so that it never gets more than it asked for; towards the client as fast as the socket takes them.
"""

MAX_PAYLOAD = 1 << 20
CHUNK = 1 << 18
"""What a side puts into one frame of content."""
PROTOCOL = "1"

OUT, ERR, EXIT, ASK, JOIN, MORE, LEAVE = b"o", b"e", b"x", b"?", b"j", b"m", b"l"
REQUEST, ANSWER, FAILED, INPUT, SIZE, CANCEL, DETACH = b"r", b"a", b"f", b"i", b"w", b"c", b"t"
DATA, END = b"d", b"."
CUT = b"cut"
"""In an END: what came is not all there is."""
_KINDS = OUT + ERR + EXIT + ASK + JOIN + MORE + LEAVE + REQUEST + ANSWER + FAILED + INPUT + SIZE + CANCEL + DETACH
_KNOWN = _KINDS + DATA + END


class Broken(Exception):
    """The other side does not speak this language."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


def pack(*fields: "str | bytes") -> bytes:
    """Fields one after another, each behind its length. Text that is no UTF-8 (file names, arguments) goes through."""
    parts = []
    for field in fields:
        data = field.encode("utf-8", "surrogateescape") if isinstance(field, str) else field
        parts.append(len(data).to_bytes(4, "big") + data)
    return b"".join(parts)


def unpack(payload: bytes) -> "list[bytes]":
    fields, at = [], 0
    while at < len(payload):
        begin = at + 4
        at = begin + int.from_bytes(payload[at:begin], "big")
        if at > len(payload) or begin > len(payload):
            raise Broken("a field is cut short")
        fields.append(payload[begin:at])
    return fields


def text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


class Incoming:
    """Puts frames together out of what a socket gives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> "tuple[bytes, bytes] | None":
        """The next complete frame, or None when more is to come. Raises: Broken."""
        buffer = self._buffer
        if len(buffer) < 5:
            return None
        kind, size = bytes(buffer[:1]), int.from_bytes(buffer[1:5], "big")
        if kind not in _KNOWN or size > MAX_PAYLOAD:
            raise Broken("not a frame")
        if len(buffer) < 5 + size:
            return None
        payload = bytes(buffer[5 : 5 + size])
        del buffer[: 5 + size]
        return kind, payload
