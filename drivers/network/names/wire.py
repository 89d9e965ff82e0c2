"""The wire format of DNS, as much of it as a forwarder needs (RFC 1035, 6891). Pure: bytes in, values out.

Everything here comes from containers and from servers out there. Names stay in wire form, in lower case: a label that holds
a dot or a zero byte is then never taken for two labels or for the end.
"""

import re
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple

A, PTR, AAAA, OPT, IXFR, AXFR, ANY = 1, 12, 28, 41, 251, 252, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
TTL = 5
MAX_UDP = 4096
"""What we take, and what we send at most, over UDP."""
MIN_UDP = 512
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0080
_KEPT_FLAGS = 0x0110  # recursion desired, checking disabled
_OPCODE = 0x7800
_HEADER = Struct(">HHHHHH")
_QUESTION_END = Struct(">HH")
_OPT = Struct(">BHHBBHH")
_RECORD = Struct(">HHHIH")  # a pointer to the question's name before it
_NAME_AT_QUESTION = 0xC00C
_V4_SUFFIX = b"\x07in-addr\x04arpa\x00"
_V6_SUFFIX = b"\x03ip6\x04arpa\x00"
_LOCALHOST = b"\x09localhost\0"
_NIBBLES = re.compile(rb"(?:\x01[0-9a-f]){32}")


class WireError(Exception):
    """No query. `rcode` None: not even one that can be answered."""

    def __init__(self, rcode: int | None) -> None:
        super().__init__()
        self.rcode = rcode


class Query(NamedTuple):
    id: int
    flags: int
    name: bytes
    """Lower case, wire form, with the root's zero."""
    type: int
    klass: int
    question: bytes
    """Name, type and class just as they were asked: the answer repeats the asker's spelling."""
    payload: int
    """What the asker takes over UDP, if it says so (EDNS); else 0."""
    version: int
    dnssec: bool

    @property
    def single_label(self) -> bool:
        return len(self.name) > 1 and self.name[0] == len(self.name) - 2

    @property
    def udp_limit(self) -> int:
        return min(max(self.payload, MIN_UDP), MAX_UDP)


def parse_query(data: bytes) -> Query:
    """Raises: WireError for whatever is not exactly one question and at most one OPT record."""
    if len(data) < _HEADER.size:
        raise WireError(None)
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        raise WireError(None)
    if flags & _OPCODE:
        raise WireError(NOTIMP)
    if questions != 1 or answers or authorities or additional > 1:
        raise WireError(FORMERR)
    name_end = _name_end(data)
    end = name_end + _QUESTION_END.size
    if end > len(data):
        raise WireError(FORMERR)
    kind, klass = _QUESTION_END.unpack_from(data, name_end)
    payload = version = options = 0
    if additional:
        if end + _OPT.size > len(data):
            raise WireError(FORMERR)
        root, found, payload, _, version, options, length = _OPT.unpack_from(data, end)
        if root or found != OPT:
            raise WireError(FORMERR)
        payload = max(payload, MIN_UDP)
        end += _OPT.size + length
    if end != len(data):
        raise WireError(FORMERR)
    start = _HEADER.size
    question = data[start : name_end + _QUESTION_END.size]
    # No length of a label (at most 63) is a capital letter's code, so the whole name can be lowered at once.
    return Query(
        number, flags, data[start:name_end].lower(), kind, klass, question, payload, version, bool(options & 0x8000)
    )


def _name_end(data: bytes) -> int:
    at = _HEADER.size
    while True:
        if at >= len(data):
            raise WireError(FORMERR)
        length = data[at]
        at += 1
        if not length:
            break
        if length > 63:  # a pointer has nowhere to point to in a first name
            raise WireError(FORMERR)
        at += length
    if at - _HEADER.size > 255:
        raise WireError(FORMERR)
    return at


def record(kind: int, data: bytes) -> bytes:
    """A resource record of the name that was asked for."""
    return _RECORD.pack(_NAME_AT_QUESTION, kind, IN, TTL, len(data)) + data


def response(query: Query, rcode: int, records: Sequence[bytes], limit: int, *, more: bool = False) -> bytes:
    """As many records as fit; the truncation bit says that there are others (`more`: that were left out before)."""
    extra = b""
    if query.payload:
        extra = _OPT.pack(0, OPT, MAX_UDP, rcode >> 4, 0, 0x8000 if query.dnssec else 0, 0)
    room = limit - _HEADER.size - len(query.question) - len(extra)
    fitting = []
    for one in records:
        room -= len(one)
        if room < 0:
            more = True
            break
        fitting.append(one)
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | (query.flags & _KEPT_FLAGS) | (rcode & 15)
    if more:
        flags |= _TRUNCATED
    head = _HEADER.pack(query.id, flags, 1, len(fitting), 0, 1 if extra else 0)
    return b"".join((head, query.question, *fitting, extra))


def failure(query: Query, rcode: int) -> bytes:
    """An answer that is not from what we know ourselves."""
    answer = bytearray(response(query, rcode, (), MAX_UDP))
    answer[2] &= ~(_AUTHORITATIVE >> 8) & 0xFF
    return bytes(answer)


def refusal(data: bytes, rcode: int) -> bytes:
    """To what could not be read: nothing of it is repeated but its number."""
    number, flags = _HEADER.unpack_from(data)[:2]
    return _HEADER.pack(number, _RESPONSE | (flags & (_OPCODE | _KEPT_FLAGS)) | rcode, 0, 0, 0, 0)


def forwarded(data: bytes, query: Query, number: int, question: bytes) -> bytes:
    """The query as it goes to a server: another number, another spelling of the name."""
    return number.to_bytes(2, "big") + data[2 : _HEADER.size] + question + data[_HEADER.size + len(query.question) :]


def respelled(query: Query, bits: int) -> bytes:
    """The question with capitals where `bits` has ones: what an answer must repeat, and a forger has to guess."""
    question = bytearray(query.question)
    for at in range(len(query.name) - 1):
        if 0x61 <= question[at] | 0x20 <= 0x7A:
            question[at] = (question[at] | 0x20) ^ (bits & 1) << 5
            bits >>= 1
    return bytes(question)


class Reply(NamedTuple):
    rcode: int
    truncated: bool
    exact: bool
    """The name is spelled as it was sent."""


def parse_reply(data: bytes, number: int, question: bytes) -> Reply | None:
    """None for what is no answer to this question."""
    if len(data) < _HEADER.size:
        return None
    found, flags, questions = _HEADER.unpack_from(data)[:3]
    if found != number or not flags & _RESPONSE or flags & _OPCODE:
        return None
    rcode = flags & 15
    if questions == 0 and rcode in (FORMERR, SERVFAIL, NOTIMP, REFUSED):
        return Reply(rcode, False, True)
    repeated = data[_HEADER.size : _HEADER.size + len(question)]
    # Type and class are compared with the name: lowered, they may meet another type's, which the exact ones do not.
    if questions != 1 or repeated[-4:] != question[-4:] or repeated.lower() != question.lower():
        return None
    return Reply(rcode, bool(flags & _TRUNCATED), repeated == question)


def passed_on(reply: bytes, query: Query, limit: int) -> bytes:
    """A server's answer as the asker gets it: its own number and spelling, and no more than it takes."""
    head = bytearray(reply[: _HEADER.size])
    head[:2] = query.id.to_bytes(2, "big")
    if not (head[4] or head[5]):  # an error without the question
        return failure(query, head[3] & 15)
    if len(reply) > limit:
        head[2] |= _TRUNCATED >> 8
        head[6:] = bytes(6)
        return bytes(head) + query.question
    return bytes(head) + query.question + reply[_HEADER.size + len(query.question) :]


def encode_name(name: str) -> bytes:
    """Raises: WireError for what no name can be."""
    labels = [label.encode("ascii", "replace") for label in name.split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise WireError(None)
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > 255:
        raise WireError(None)
    return wire.lower()


def is_localhost(name: bytes) -> bool:
    """Or a name below it."""
    if not name.endswith(_LOCALHOST):
        return False
    at = 0
    while at < len(name) - len(_LOCALHOST):
        at += 1 + name[at]
    return at == len(name) - len(_LOCALHOST)  # and not in the midst of a label


def pack_address(address: str) -> bytes:
    """Four bytes or sixteen. Raises: OSError."""
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def reverse_address(name: bytes) -> bytes | None:
    """The address that `d.c.b.a.in-addr.arpa` or its like in ip6.arpa asks for."""
    if name.endswith(_V4_SUFFIX):
        parts = name[: -len(_V4_SUFFIX)]
        numbers: list[int] = []
        while parts:
            text, parts = parts[1 : 1 + parts[0]], parts[1 + parts[0] :]
            if len(text) > 3 or not text.isdigit() or int(text) > 255:
                return None
            numbers.append(int(text))
        return bytes(reversed(numbers)) if len(numbers) == 4 else None
    nibbles = name[: -len(_V6_SUFFIX)]
    if name.endswith(_V6_SUFFIX) and _NIBBLES.fullmatch(nibbles):
        return bytes.fromhex(nibbles[1::2][::-1].decode("ascii"))
    return None


def reverse_name(packed: bytes) -> bytes:
    if len(packed) == 4:
        return encode_name(".".join(reversed(inet_ntop(AF_INET, packed).split("."))) + ".in-addr.arpa")
    return encode_name(".".join(reversed(packed.hex())) + ".ip6.arpa")
