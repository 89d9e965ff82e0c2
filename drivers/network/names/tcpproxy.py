"""Ports of the host that lead to a container's, over TCP: bytes both ways, as fast as the slower side takes them."""

import errno
import socket
from contextlib import suppress

from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import ERROR, READ, WRITE, Loop
from drivers.network.names.sockets import bound, numeric

_BACKLOG = 512
_ACCEPTED_AT_ONCE = 16
_PAUSE = 0.05
CONNECT_TIMEOUT = 10.0
_KEEPALIVE = ((socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1), (socket.TCP_KEEPIDLE, socket.IPPROTO_TCP, 600))

_buffer = bytearray(256 * 1024)
_view = memoryview(_buffer)
"""One for all: what a side does not take at once is kept with the connection."""


class TcpProxy:
    def __init__(self, loop: Loop, descriptors: Descriptors, address: str, port: int) -> None:
        """Raises: OSError, EADDRINUSE for a port that somebody has."""
        self.loop = loop
        self.descriptors = descriptors
        self.pairs: set[Pair] = set()
        self._target = ("", 0)
        self._socket = bound(socket.SOCK_STREAM, address, port)
        try:
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise

    def lead_to(self, target: str, port: int) -> None:
        """Connections to another target end."""
        if (target, port) != self._target:
            for pair in list(self.pairs):
                pair.close()
        self._target = (target, port)
        self._listen()

    def close(self) -> None:
        self.loop.forget(self._socket.fileno())
        self._socket.close()
        for pair in list(self.pairs):
            pair.close()

    def _listen(self) -> None:
        if self._socket.fileno() >= 0:
            self.loop.watch(self._socket.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self.descriptors.take(2):
                self._pause()
                return
            try:
                client = self._socket.accept()[0]
            except OSError as error:
                self.descriptors.give_back(2)
                if error.errno == errno.ECONNABORTED:
                    continue
                if not isinstance(error, BlockingIOError):
                    self._pause()
                return
            try:
                self.pairs.add(Pair(self, client, *self._target))
            except OSError:
                client.close()
                self.descriptors.give_back(2)

    def _pause(self) -> None:
        """Too much is open: what waits may wait."""
        self.loop.forget(self._socket.fileno())
        self.loop.later(_PAUSE, self._listen)


class Side:
    __slots__ = ("ended", "pending", "ready", "shut", "socket")

    def __init__(self, made: socket.socket, *, ready: bool) -> None:
        self.socket = made
        self.ready = ready
        """It is connected."""
        self.pending = b""
        """What it has yet to take; meanwhile nothing more is read for it."""
        self.ended = False
        """It sends no more."""
        self.shut = False
        """It has been told that nothing more comes."""


class Pair:
    """A client's connection and ours to the target."""

    __slots__ = ("_client", "_closed", "_proxy", "_target", "_timer")

    def __init__(self, proxy: TcpProxy, client: socket.socket, target: str, port: int) -> None:
        """Raises: OSError when there is no way to the target."""
        address = numeric(target, port, socket.SOCK_STREAM)
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            client.setblocking(False)
            for one in (client, made):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for option, level, value in _KEEPALIVE:
                    one.setsockopt(level, option, value)
            with suppress(BlockingIOError):
                made.connect(address)
        except OSError:
            made.close()
            raise
        self._proxy = proxy
        self._closed = False
        self._client = Side(client, ready=True)
        self._target = Side(made, ready=False)
        self._timer = proxy.loop.later(CONNECT_TIMEOUT, self.abort)
        self._watch()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        for side in (self._client, self._target):
            self._proxy.loop.forget(side.socket.fileno())
            side.socket.close()
        self._proxy.pairs.discard(self)
        self._proxy.descriptors.give_back(2)

    def abort(self) -> None:
        """With a reset: neither side may take what it got for all there was."""
        if not self._closed:
            for side in (self._client, self._target):
                with suppress(OSError):
                    side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close()

    def _watch(self) -> None:
        if self._closed:
            return
        for side, other, event in (
            (self._client, self._target, self._client_event),
            (self._target, self._client, self._target_event),
        ):
            mask = 0
            if not side.ready or side.pending:
                mask |= WRITE
            if side.ready and other.ready and not side.ended and not other.pending:
                mask |= READ
            self._proxy.loop.watch(side.socket.fileno(), mask, event)

    def _client_event(self, events: int) -> None:
        self._event(self._client, self._target, events)

    def _target_event(self, events: int) -> None:
        self._event(self._target, self._client, events)

    def _event(self, side: Side, other: Side, events: int) -> None:
        try:
            if events & ERROR:
                raise OSError
            if events & WRITE:
                self._flush(side, other)
            if events & ~WRITE and side.ready and other.ready and not other.pending and not side.ended:
                self._copy(side, other)
        except BlockingIOError:
            pass
        except OSError:
            self.abort()
        if self._client.shut and self._target.shut:
            self.close()
        self._watch()

    def _flush(self, side: Side, other: Side) -> None:
        if not side.ready:
            side.ready = True
            self._timer.cancel()
        if side.pending:
            side.pending = side.pending[side.socket.send(side.pending) :]
        self._end(side, other)

    def _copy(self, side: Side, other: Side) -> None:
        count = side.socket.recv_into(_buffer)
        if not count:
            side.ended = True
            self._end(other, side)
            return
        try:
            sent = other.socket.send(_view[:count])
        except BlockingIOError:
            sent = 0
        if sent < count:
            other.pending = bytes(_view[sent:count])

    def _end(self, side: Side, other: Side) -> None:
        """Pass an end on, once all that came before it is through."""
        if other.ended and not side.pending and not side.shut:
            side.shut = True
            side.socket.shutdown(socket.SHUT_WR)
