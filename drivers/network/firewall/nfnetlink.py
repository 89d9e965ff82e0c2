"""The kernel's firewall over netlink: transactions, and what is read back. Names and numbers are those of
linux/netfilter/nf_tables.h.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from typing import Self

from drivers.network.netlink.messages import Netlink, Reply, Request, attribute, attributes, messages_in
from resources.errors import Unavailable, Unsupported

NETFILTER = 12
CONNTRACK, NFTABLES = 1, 10
"""Subsystems."""
INET, IPV4, IPV6 = 1, 2, 10
"""Families."""

_BATCH_BEGIN, _BATCH_END = 16, 17
_BATCH_GENERATION = 1
_GET_GENERATION, _GENERATION_ID = 16, 1
_REQUEST, _ACK = 0x1, 0x4
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_GENERAL = struct.Struct("!BBH")
_SO_SNDBUFFORCE = 32
_GET_NAMESPACE = 0x894C
"""SIOCGSKNS."""
_RESTART = 85
"""ERESTART: the generation is another one by now."""


class Changed(Exception):
    """The ruleset is not the one the transaction was made for."""


class Refused(Exception):
    """The kernel took nothing of a transaction. `number` is that of the first message it did not like."""

    def __init__(self, number: int, error: int) -> None:
        super().__init__(number, error)
        self.number = number
        self.error = error


def _is_here(opened: socket.socket) -> bool:
    fd = fcntl.ioctl(opened, _GET_NAMESPACE)
    try:
        return os.path.samestat(os.fstat(fd), os.stat("/proc/thread-self/ns/net"))
    finally:
        os.close(fd)


def _drain(opened: socket.socket) -> None:
    """What was said to a process that did not live to hear it; a list it had begun goes on until it has been read."""
    while True:
        try:
            opened.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


def be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def be64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!Q", value))


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def word(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def message(kind: int, family: int, *attrs: bytes, flags: int = 0, subsystem: int = NFTABLES) -> Request:
    return Request(subsystem << 8 | kind, _GENERAL.pack(family, 0, 0) + b"".join(attrs), flags)


def body(reply: Reply) -> dict[int, bytes]:
    return attributes(reply.body, _GENERAL.size)


def family(reply: Reply) -> int:
    return reply.body[0]


class Nfnetlink(Netlink):
    """In the network namespace of the thread that makes it. Not for several threads at once."""

    def __init__(self, opened: socket.socket | None = None) -> None:
        super().__init__(NETFILTER, opened)
        self._room = 0

    @classmethod
    def adopted(cls, fd: int) -> Self | None:
        """The very socket of a process that is gone; None when it is none, or one of another network. `fd` is closed if so."""
        opened = socket.socket(fileno=fd)
        try:
            if opened.family == socket.AF_NETLINK and opened.proto == NETFILTER and _is_here(opened):
                _drain(opened)
                return cls(opened)
        except OSError:
            pass
        opened.close()
        return None

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def number(self) -> int:
        """By which the kernel calls this socket, as long as it is open."""
        own: int = self._socket.getsockname()[0]
        return own

    def generation(self) -> int:
        """It counts the transactions of all writers."""
        (answer,) = self.ask(message(_GET_GENERATION, 0))
        if answer.error == errno.EPERM:
            raise answer.failure("cannot look at the firewall")
        if answer.error or not answer.replies:
            raise Unsupported("this kernel has no nftables", hint="it needs the module nf_tables")
        return number(body(answer.replies[0])[_GENERATION_ID])

    def commit(self, generation: int, requests: Sequence[Request]) -> None:
        """All of it, or nothing. Raises: Changed, Refused, Unavailable."""
        start = struct.pack("!BBH", 0, 0, NFTABLES)
        messages = [
            Request(_BATCH_BEGIN, start + be32(_BATCH_GENERATION, generation)),
            *requests,
            Request(_BATCH_END, start),
        ]
        last = len(messages) - 2
        packed = b"".join(
            _HEADER.pack(
                _HEADER.size + len(one.body), one.kind, _REQUEST | one.flags | (_ACK if at == last else 0), at, 0
            )
            + one.body
            for at, one in enumerate(messages)
        )
        try:
            self._make_room(len(packed))
            self._socket.send(packed)
        except OSError as error:
            raise Unavailable(f"cannot change the firewall: {error.strerror}") from error
        self._judge(last)

    def _judge(self, last: int) -> None:
        """The kernel has answered when `send` returns: each message it did not like, and the last."""
        answers: dict[int, int] = {}
        while True:
            try:
                data, _, _, sender = self._socket.recvmsg(1 << 16, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                raise Unavailable(f"cannot change the firewall: {error.strerror}") from error
            for kind, _, at, said in messages_in(data):
                if sender[0] == 0 and kind == _ERROR:
                    answers[at] = -struct.unpack_from("=i", said)[0]
        if answers.get(0) == _RESTART or (0 not in answers and set(answers.values()) == {_RESTART}):
            raise Changed
        failed = [at for at, error in sorted(answers.items()) if error]
        if failed:
            raise Refused(failed[0] - 1, answers[failed[0]])
        if last not in answers:
            raise Unavailable("the kernel did not answer to a change of the firewall")

    def _make_room(self, size: int) -> None:
        if size > self._room:
            self._room = max(2 * size, 1 << 18)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, self._room)
