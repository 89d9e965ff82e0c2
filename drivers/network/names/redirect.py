"""Port 53 of 127.0.0.11 without holding it: the kernel rewrites the port on the way, both ways, and tracks nothing.

Two chains in a table of the sandbox's namespace. A question keeps port 53 until it has passed all other rules, an answer
has it before it meets the first: firewalls and connection tracking in the container see port 53 alone. What the container
itself binds to port 53, at all addresses too, is not in the way, since we are bound to another port.
"""

import os
import socket
import struct
from contextlib import suppress
from functools import lru_cache

TABLE = "lading_names"
_NETFILTER, _NFTABLES = 12, 10
_BEGIN, _END, _ERROR, _DONE = 0x10, 0x11, 2, 3
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _GETRULE, _GETTABLE, _GETGEN = 0, 2, 3, 6, 7, 1, 16
_REQUEST, _ACK, _EXCLUSIVE, _DUMP, _CREATE, _APPEND = 1, 4, 0x200, 0x300, 0x400, 0x800
_IPV4 = 2
_LOCAL_IN, _LOCAL_OUT = 1, 3
_AFTER_FILTERS, _BEFORE_TRACKING = 350, -350
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_SOURCE, _DESTINATION = 0, 1
_HEADER = struct.Struct("=IHHII")
_HEADERS = _HEADER.size + 4


class Redirect:
    """Of the namespace that the calling thread is in. The socket stays open: closing it at once would wait some ten
    milliseconds for the kernel, and through it can be seen whether all is as it was made."""

    __slots__ = ("_generation", "_made", "_socket")

    def __init__(self, address: str, udp: int, tcp: int) -> None:
        """Raises: OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        try:
            self._socket.setblocking(False)  # the kernel answers before the request returns
            # There is one already after a process was killed. It is asked for first: to fail costs milliseconds.
            self._change(_transaction(socket.inet_aton(address), udp, tcp, replace=self._is_there()))
            self._generation = self._current()
            self._made = self._contents()
        except BaseException:
            self._socket.close()
            raise

    def intact(self) -> bool:
        """Whether nobody has changed it; cheap as long as nobody has changed any rule of the namespace."""
        try:
            generation = self._current()
            if generation != self._generation:
                if self._contents() != self._made:
                    return False
                self._generation = generation
        except OSError:
            return False
        return True

    def close(self) -> None:
        """The table goes with the namespace: deleted now, it would hold that, and us, for ten milliseconds."""
        self._socket.close()

    def _current(self) -> bytes:
        """The number of the last change of any rule here, the first attribute of the answer."""
        return self._asked(_GETGEN, b"")[:8]

    def _contents(self) -> bytes:
        table = self._asked(_GETTABLE, _text(1, TABLE))
        self._socket.send(_message(_GETRULE, _REQUEST | _DUMP, 1, _text(1, TABLE)))
        rules = b""
        while True:
            data = self._socket.recv(65536)
            rules += b"".join(_bodies(data))
            if _HEADER.unpack_from(data, _last(data))[1] in (_DONE, _ERROR) or len(rules) > 65536:
                return table + rules

    def _asked(self, kind: int, body: bytes) -> bytes:
        self._socket.send(_message(kind, _REQUEST, 1, body))
        data = self._socket.recv(65536)
        if _HEADER.unpack_from(data)[1] == _ERROR:
            _raise(data)
        return b"".join(_bodies(data))

    def _is_there(self) -> bool:
        try:
            self._asked(_GETTABLE, _text(1, TABLE))
        except FileNotFoundError:
            return False
        return True

    def _change(self, transaction: bytes) -> None:
        self._socket.send(transaction)
        _raise(self._socket.recv(65536))
        # After a failure each step may have an answer of its own.
        with suppress(BlockingIOError):
            while self._socket.recv(65536):
                pass


def _raise(data: bytes) -> None:
    (code,) = struct.unpack_from("=i", data, _HEADER.size)
    if code:
        raise OSError(-code, os.strerror(-code))


def _bodies(data: bytes) -> list[bytes]:
    bodies, at = [], 0
    while at + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, at)[:2]
        if kind not in (_DONE, _ERROR):
            bodies.append(data[at + _HEADERS : at + length])
        at += max(_HEADER.size, (length + 3) & ~3)
    return bodies


def _last(data: bytes) -> int:
    at = last = 0
    while at + _HEADER.size <= len(data):
        last = at
        at += max(_HEADER.size, (_HEADER.unpack_from(data, at)[0] + 3) & ~3)
    return last


@lru_cache(maxsize=8)
def _transaction(address: bytes, udp: int, tcp: int, *, replace: bool) -> bytes:
    """All or nothing; to replace is to put it in the place of whatever has the table's name."""
    table, flags = _text(1, TABLE), _REQUEST | _CREATE
    steps = [(_DELTABLE, _REQUEST, table)] if replace else []
    steps += [
        (_NEWTABLE, flags | _EXCLUSIVE, table),
        (_NEWCHAIN, flags, _chain("questions", _LOCAL_IN, _AFTER_FILTERS)),
        (_NEWCHAIN, flags, _chain("answers", _LOCAL_OUT, _BEFORE_TRACKING)),
    ]
    for transport, checksum, port in ((socket.IPPROTO_UDP, 6, udp), (socket.IPPROTO_TCP, 16, tcp)):
        there = _rule("questions", address, _DESTINATION, transport, checksum, 53, port)
        back = _rule("answers", address, _SOURCE, transport, checksum, port, 53)
        steps += [(_NEWRULE, flags | _APPEND, there), (_NEWRULE, flags | _APPEND, back)]
    parts = [_batch(_BEGIN, 0)]
    for number, (kind, flags, body) in enumerate(steps, 1):
        parts.append(_message(kind, flags | (_ACK if number == len(steps) else 0), number, body))
    return b"".join((*parts, _batch(_END, len(steps) + 1)))


def _chain(name: str, hook: int, priority: int) -> bytes:
    place = _nested(4, _number(1, hook) + _attribute(2, struct.pack(">i", priority)))
    return _text(1, TABLE) + _text(3, name) + place + _text(7, "filter")


def _rule(chain: str, address: bytes, side: int, transport: int, checksum: int, port: int, to: int) -> bytes:
    address_at, port_at = (16, 2) if side == _DESTINATION else (12, 0)
    expressions = (
        _load(_NETWORK_HEADER, address_at, 4),
        _equal(address),
        _expression("meta", _number(1, 1) + _number(2, 16)),  # the transport protocol
        _equal(bytes((transport,))),
        _load(_TRANSPORT_HEADER, port_at, 2),
        _equal(port.to_bytes(2, "big")),
        _expression("immediate", _number(1, 1) + _nested(2, _attribute(1, to.to_bytes(2, "big")))),
        _store(port_at, 2, checksum),
    )
    return _text(1, TABLE) + _text(2, chain) + _nested(4, b"".join(expressions))


def _load(base: int, at: int, length: int) -> bytes:
    return _expression("payload", _number(1, 1) + _number(2, base) + _number(3, at) + _number(4, length))


def _store(at: int, length: int, checksum: int) -> bytes:
    place = _number(2, _TRANSPORT_HEADER) + _number(3, at) + _number(4, length)
    return _expression("payload", _number(5, 1) + place + _number(6, 1) + _number(7, checksum))


def _equal(value: bytes) -> bytes:
    return _expression("cmp", _number(1, 1) + _number(2, 0) + _nested(3, _attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, _text(1, name) + _nested(2, data))


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    head = _HEADER.pack(_HEADERS + len(body), _NFTABLES << 8 | kind, flags, number, 0)
    return head + struct.pack(">BBH", _IPV4, 0, 0) + body


def _batch(kind: int, number: int) -> bytes:
    return _HEADER.pack(_HEADERS, kind, _REQUEST, number, 0) + struct.pack(">BBH", 0, 0, _NFTABLES)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | 0x8000, value)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode("ascii") + b"\0")
