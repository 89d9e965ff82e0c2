"""Questions asked of other servers, from the host's network.

An answer counts only when it comes to the very socket, from the very server, with the number and the question as sent. The
socket, and so its port, is new for each question, and the spelling of the name is random with servers that repeat it.
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from drivers.network.names import wire
from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import ERROR, READ, WRITE, Loop, Timer
from drivers.network.names.sockets import numeric

PORT = 53
TIMEOUT = 2.0
"""Seconds for one server; the C library of the asker waits five."""
MAX_TRIES = 4
_FAILURES = (wire.FORMERR, wire.SERVFAIL, wire.NOTIMP, wire.REFUSED)

Done = Callable[[bytes | None], None]
"""The server's answer as it came, or None when there was none."""


class Forwarder:
    def __init__(self, loop: Loop, descriptors: Descriptors) -> None:
        self.loop = loop
        self.descriptors = descriptors
        self.plain: dict[str, None] = {}
        """Servers that answer in a spelling of their own: few, and told anew by each life of the process."""

    def ask(self, data: bytes, query: wire.Query, servers: Sequence[str], *, tcp: bool, done: Done) -> None:
        """`done` is called once, later or at once."""
        Lookup(self, data, query, servers, tcp=tcp, done=done).next()

    def spells_its_own(self, server: str) -> None:
        if len(self.plain) >= 256:
            self.plain.clear()
        self.plain[server] = None


class Lookup:
    """One question on its way from server to server."""

    __slots__ = (
        "_data", "_done", "_failed", "_forwarder", "_left", "_number", "_output", "_query", "_received", "_sent",
        "_server", "_socket", "_tcp", "_timer",
    )  # fmt: skip

    def __init__(
        self, forwarder: Forwarder, data: bytes, query: wire.Query, servers: Sequence[str], *, tcp: bool, done: Done
    ) -> None:
        self._forwarder = forwarder
        self._data = data
        self._query = query
        self._tcp = tcp
        self._done = done
        self._left = [*servers, *servers][:MAX_TRIES] if not tcp else list(servers[:MAX_TRIES])
        self._failed: bytes | None = None
        """The last answer that says that a server could not answer: better than none."""
        self._socket: socket.socket | None = None
        self._server = ""
        self._number = 0
        self._sent = b""
        self._output = b""
        self._received = b""
        self._timer: Timer | None = None

    def next(self) -> None:
        self._close()
        while self._left:
            self._server = self._left.pop(0)
            if self._open():
                return
        self._end(self._failed)

    def _open(self) -> bool:
        """Whether the question is on its way."""
        loop = self._forwarder.loop
        self._number = int.from_bytes(os.urandom(2), "big")
        plain = self._server in self._forwarder.plain
        bits = int.from_bytes(os.urandom(8), "big")
        self._sent = self._query.question if plain else wire.respelled(self._query, bits)
        message = wire.forwarded(self._data, self._query, self._number, self._sent)
        if not self._forwarder.descriptors.take(1, first=True):
            self._left.clear()
            return False
        made: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ":" in self._server else socket.AF_INET
            kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
            made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            address = numeric(self._server, PORT, kind)
            with suppress(BlockingIOError):
                made.connect(address)
            if not self._tcp:
                made.send(message)
        except OSError:
            if made is not None:
                made.close()
            self._forwarder.descriptors.give_back(1)
            return False
        self._socket = made
        self._received = b""
        if self._tcp:
            self._output = len(message).to_bytes(2, "big") + message
            loop.watch(made.fileno(), WRITE, self._write)
        else:
            loop.watch(made.fileno(), READ, self._read_datagram)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.later(TIMEOUT, self.next)
        return True

    def _read_datagram(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:  # nobody is there
            self.next()
            return
        self._judge(data)

    def _write(self, events: int) -> None:
        assert self._socket is not None
        try:
            if events & ERROR:
                raise OSError
            self._output = self._output[self._socket.send(self._output) :]
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if not self._output:
            self._forwarder.loop.watch(self._socket.fileno(), READ, self._read_stream)

    def _read_stream(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65537)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        length = int.from_bytes(self._received[:2], "big")
        if len(self._received) >= 2 and len(self._received) >= 2 + length:
            self._judge(self._received[2 : 2 + length])
        elif not data:
            self.next()

    def _judge(self, data: bytes) -> None:
        reply = wire.parse_reply(data, self._number, self._sent)
        if reply is None:
            if self._tcp:
                self.next()
            return  # somebody else's, or forged: the right one may still come
        if not reply.exact and self._server not in self._forwarder.plain:
            # Forged, or from a server that does not repeat the spelling: it is asked again as the asker spells.
            self._forwarder.spells_its_own(self._server)
            self._left.insert(0, self._server)
            self.next()
        elif reply.rcode in _FAILURES and self._left:
            self._failed = data
            self.next()
        else:
            self._end(data)

    def _close(self) -> None:
        if self._socket is not None:
            self._forwarder.loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._forwarder.descriptors.give_back(1)

    def _end(self, data: bytes | None) -> None:
        self._close()
        if self._timer is not None:
            self._timer.cancel()
        self._done(data)
