"""Ports of the host that lead to a container's, over UDP: for each client a socket of its own, as long as it is used."""

import socket
from contextlib import suppress
from typing import Any, TypeAlias

from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import READ, Loop
from drivers.network.names.sockets import bound, numeric

IDLE = 90.0
"""Seconds after which a client is forgotten."""
MAX_SESSIONS = 1024
"""Of one port; a new client then takes the place of the one that was silent for longest."""
_AT_ONCE = 32
_SWEEP = 15.0
_MAX_DATAGRAM = 65535

_Client: TypeAlias = tuple[Any, bytes]
"""Its address, and which address of ours it spoke to: that is where it expects the answer from."""


class UdpProxy:
    def __init__(self, loop: Loop, descriptors: Descriptors, address: str, port: int, *, beside: bool = False) -> None:
        """Raises: OSError, EADDRINUSE for a port that somebody has. `beside` a hold of ours that lets it."""
        self.loop = loop
        self._descriptors = descriptors
        self._target = ("", 0)
        self._sessions: dict[_Client, Session] = {}
        """In order of use."""
        self._socket = bound(socket.SOCK_DGRAM, address, port, beside=beside)
        self._ancillary = 0
        if self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._ancillary = socket.CMSG_SPACE(20)
        self._timer = loop.later(_SWEEP, self._sweep)

    def lead_to(self, target: str, port: int) -> None:
        """Sessions with another target end."""
        if (target, port) != self._target:
            for session in list(self._sessions.values()):
                self._drop(session)
        self._target = (target, port)
        self.loop.watch(self._socket.fileno(), READ, self._datagrams)

    def close(self) -> None:
        self._timer.cancel()
        for session in list(self._sessions.values()):
            self._drop(session)
        self.loop.forget(self._socket.fileno())
        self._socket.close()

    def answer(self, client: _Client, data: bytes) -> None:
        address, ours = client
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, ours)] if ours else []
        with suppress(OSError):
            self._socket.sendmsg([data], ancillary, 0, address)

    def _datagrams(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, address = self._socket.recvmsg(_MAX_DATAGRAM, self._ancillary)
            except OSError:
                return
            ours = next((value for _, kind, value in ancillary if kind == socket.IPV6_PKTINFO), b"")
            session = self._session((address, ours))
            if session is not None:
                session.used = self.loop.now
                with suppress(OSError):  # full, or nobody is there: datagrams may be lost
                    session.socket.send(data)

    def _session(self, client: _Client) -> "Session | None":
        found = self._sessions.pop(client, None)
        if found is None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._drop(next(iter(self._sessions.values())))
            if not self._descriptors.take(1):
                return None
            try:
                found = Session(self, client, *self._target)
            except OSError:
                self._descriptors.give_back(1)
                return None
            self.loop.watch(found.socket.fileno(), READ, found.datagrams)
        self._sessions[client] = found
        return found

    def _drop(self, session: "Session") -> None:
        del self._sessions[session.client]
        self.loop.forget(session.socket.fileno())
        session.socket.close()
        self._descriptors.give_back(1)

    def _sweep(self) -> None:
        for session in list(self._sessions.values()):
            if self.loop.now - session.used > IDLE:
                self._drop(session)
        self._timer = self.loop.later(_SWEEP, self._sweep)


class Session:
    __slots__ = ("_proxy", "client", "socket", "used")

    def __init__(self, proxy: UdpProxy, client: _Client, target: str, port: int) -> None:
        self._proxy = proxy
        self.client = client
        self.used = 0.0
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect(numeric(target, port, socket.SOCK_DGRAM))
        except OSError:
            self.socket.close()
            raise

    def datagrams(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self.socket.recv(_MAX_DATAGRAM)
            except OSError:
                return
            self.used = self._proxy.loop.now
            self._proxy.answer(self.client, data)
