"""Netlink by hand, for what is done for every container: several messages in one send, each answered by its own number.

Attributes are those of every family (rtnetlink, nfnetlink): `attribute`, `nested` and friends make them, `attributes` reads
them. What comes from anybody but the kernel is not read: a container with CAP_NET_ADMIN could send to a socket that is
open in its namespace.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

from resources.errors import (
    AlreadyExists,
    EngineError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)

CREATE, EXCLUSIVE, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800
"""What a request that makes something may say."""

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_DUMP_INTERRUPTED, _ACK_ATTRIBUTES = 0x10, 0x200
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_NESTED, _KIND_MASK = 0x8000, 0x3FFF
_ERROR_MESSAGE = 1
"""The attribute that says in words what the kernel did not like."""

_SOL_NETLINK = 270
_OPTIONS = (10, 11, 12)
"""NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK; a kernel that lacks one answers without it."""
_PATIENCE = struct.pack("@ll", 10, 0)
"""The kernel answers at once; a lost answer shall not hold a worker for ever."""
_RECEIVE = 1 << 16
_DUMP_ATTEMPTS = 5

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")

_ERRORS: Mapping[int, type[EngineError]] = {
    errno.EEXIST: AlreadyExists,
    errno.ENODEV: NotFound,
    errno.ENOENT: NotFound,
    errno.ESRCH: NotFound,
    errno.EPERM: PermissionDenied,
    errno.EACCES: PermissionDenied,
    errno.EOPNOTSUPP: Unsupported,
    errno.EAFNOSUPPORT: Unsupported,
    errno.EBUSY: FailedPrecondition,
    errno.ENETUNREACH: FailedPrecondition,
    errno.EHOSTUNREACH: FailedPrecondition,
    errno.ENOMEM: ResourceExhausted,
    errno.ENOSPC: ResourceExhausted,
    errno.ENOBUFS: ResourceExhausted,
}


def attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    if size > 0xFFFF:
        raise ValueError("an attribute holds less than 64 KiB")
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(inner))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(1, "little"))


def u32(kind: int, value: int) -> bytes:
    """In the byte order of the machine, as rtnetlink wants it."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(value: bytes) -> int:
    """0 of an attribute that is not there."""
    return int.from_bytes(value, sys.byteorder)


def fixed(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    """What a body starts with. Raises: Unavailable when it is cut."""
    if len(data) < layout.size:
        raise _cut()
    return layout.unpack_from(data)


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Values by kind, without the flags of the kind; of several of one kind the last. Raises: Unavailable when they are cut."""
    return dict(every_attribute(data, offset))


def every_attribute(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Of lists, whose attributes all have one kind."""
    end = len(data)
    while end - offset >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= size <= end - offset:
            raise _cut()
        yield kind & _KIND_MASK, data[offset + _ATTRIBUTE.size : offset + size]
        offset += size + -size % 4
    if offset < end:
        raise _cut()


@dataclass(frozen=True, slots=True)
class Request:
    kind: int
    body: bytes
    flags: int = 0
    """CREATE and so on."""


@dataclass(frozen=True, slots=True)
class Reply:
    kind: int
    body: bytes


@dataclass(slots=True)
class Answer:
    """What the kernel said to one request."""

    replies: list[Reply] = field(default_factory=list)
    error: int = 0
    """An errno."""
    message: str = ""
    """The kernel's own words, where it has any."""
    interrupted: bool = False
    """What was listed changed meanwhile."""
    limit: int | None = None
    """More replies than these are not kept."""

    def failure(self, doing: str) -> EngineError:
        why = os.strerror(self.error)
        if self.message:
            why = f"{why}: {self.message}"
        return _ERRORS.get(self.error, Unavailable)(f"{doing}: {why}")


class Netlink:
    """A socket in the network namespace of the thread that makes it. Not for several threads at once."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE, opened: socket.socket | None = None) -> None:
        try:
            self._socket = opened or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise Unavailable(f"cannot open a netlink socket: {error.strerror}") from error
        self._numbers = count(1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        for option in _OPTIONS:
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, *requests: Request) -> list[Answer]:
        """Send all in one go; the kernel does them in this order, also those after one that failed. It does all of them
        even when the process is killed meanwhile."""
        return self._exchange(requests, _ACK) if requests else []

    def do(self, doing: str, *requests: Request, fine: Collection[int] = ()) -> list[Answer]:
        """`ask`, and raise the first failure but those of `fine`. `doing` starts its message: "cannot make the link x"."""
        answers = self.ask(*requests)
        for answer in answers:
            if answer.error and answer.error not in fine:
                raise answer.failure(doing)
        return answers

    def dump(self, doing: str, request: Request, limit: int | None = None) -> list[Reply]:
        """All there are, in one consistent list; of what a container may fill, no more than `limit`."""
        for _ in range(_DUMP_ATTEMPTS):
            (answer,) = self._exchange((request,), _DUMP, limit)
            if answer.error:
                raise answer.failure(doing)
            if not answer.interrupted:
                break
        return answer.replies

    def _exchange(self, requests: Collection[Request], flags: int, limit: int | None = None) -> list[Answer]:
        answers: dict[int, Answer] = {}
        messages = []
        for request in requests:
            number = next(self._numbers)
            answers[number] = Answer(limit=limit)
            size = _HEADER.size + len(request.body)
            header = _HEADER.pack(size, request.kind, _REQUEST | flags | request.flags, number, 0)
            messages.append(header + request.body + bytes(-size % 4))
        pending = set(answers)
        try:
            self._socket.send(b"".join(messages))
            while pending:
                pending -= _read(self._receive(), answers)
        except OSError as error:
            raise Unavailable(f"the kernel did not answer over netlink: {error.strerror}") from error
        return list(answers.values())

    def _receive(self) -> bytes:
        while True:
            data, _, flags, sender = self._socket.recvmsg(_RECEIVE)
            if sender[0] != 0:
                continue
            if flags & socket.MSG_TRUNC:
                raise _cut()
            return data


def _read(data: bytes, answers: Mapping[int, Answer]) -> set[int]:
    """Put the messages of one datagram where they belong; return the numbers of the requests that are done."""
    done: set[int] = set()
    for kind, flags, number, body in messages_in(data):
        answer = answers.get(number)
        if answer is None:
            continue  # of an exchange that was given up
        if kind == _OVERRUN:
            raise Unavailable("the kernel lost a netlink message")
        answer.interrupted |= bool(flags & _DUMP_INTERRUPTED)
        if kind in (_ERROR, _DONE):
            done.add(number)
            _note_failure(kind, flags, body, answer)
        elif answer.limit is None or len(answer.replies) < answer.limit:
            answer.replies.append(Reply(kind, body))
    return done


def messages_in(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, number and body of each message. Raises: Unavailable when one is cut."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _HEADER.size:
            raise _cut()
        size, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= size <= end - offset:
            raise _cut()
        yield kind, flags, number, data[offset + _HEADER.size : offset + size]
        offset += size + -size % 4


def _note_failure(kind: int, flags: int, body: bytes, answer: Answer) -> None:
    if len(body) < _INT.size:
        if kind == _ERROR:
            raise _cut()
        return
    (code,) = _INT.unpack_from(body)
    if code >= 0:
        return
    answer.error = -code
    if flags & _ACK_ATTRIBUTES:
        # An error repeats the header of the request before what it says (NETLINK_CAP_ACK); the end of a dump does not.
        said = attributes(body, _INT.size + (_HEADER.size if kind == _ERROR else 0))
        answer.message = _readable(said.get(_ERROR_MESSAGE, b""))


def _readable(words: bytes) -> str:
    said = words.rstrip(b"\0").decode(errors="replace")
    return "".join(character if character.isprintable() else "?" for character in said)[:200]


def _cut() -> Unavailable:
    return Unavailable("a netlink message of the kernel is cut")
