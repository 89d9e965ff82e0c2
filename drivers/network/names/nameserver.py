"""The name server of one sandbox: what comes in at its doorway is answered, forwarded or dropped."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from drivers.network.names import wire
from drivers.network.names.answers import own_answer, packed
from drivers.network.names.doorway import Doorway
from drivers.network.names.forwarding import Forwarder
from drivers.network.names.limits import TokenBucket
from drivers.network.names.loop import READ, WRITE, Loop
from drivers.network.names.zones import Zones

RATE, BURST = 1000, 250
"""Questions a second. What is too much stays in the socket, and is dropped there by the kernel when that is full."""
_AT_ONCE = 32
"""Then it is another sandbox's turn."""
_PAUSE = 0.02
MAX_IN_FLIGHT = 128
"""Questions of one sandbox that others have not answered yet."""
MAX_CONNECTIONS = 32
IDLE = 10.0
_MAX_QUESTION = 2048

Respond = Callable[[bytes], None]


class Policy(Protocol):
    """Of one sandbox, as it is at the moment."""

    @property
    def forward(self) -> bool: ...

    def servers(self) -> tuple[str, ...]: ...


class NameServer:
    def __init__(
        self, loop: Loop, zones: Zones, forwarder: Forwarder, sandbox_id: str, doorway: Doorway, policy: Policy
    ) -> None:
        self.loop = loop
        self.doorway = doorway
        self.policy = policy
        self.connections: set[Connection] = set()
        self._zones = zones
        self._forwarder = forwarder
        self._sandbox_id = sandbox_id
        self._bucket = TokenBucket(RATE, BURST, loop.now)
        self._in_flight = 0
        self._closed = False
        self._listen()

    def close(self) -> None:
        self._closed = True
        for connection in list(self.connections):
            connection.close()
        for one in (self.doorway.udp, self.doorway.tcp):
            self.loop.forget(one.fileno())
        self.doorway.close()

    def allowed(self, wanted: int) -> int:
        return self._bucket.take(wanted, self.loop.now)

    def answer(self, data: bytes, *, udp: bool, respond: Respond) -> None:
        """`respond` is called once or never."""
        try:
            query = wire.parse_query(data)
        except wire.WireError as error:
            if error.rcode is not None:
                respond(wire.refusal(data, error.rcode))
            return
        own = own_answer(self._zones, self._sandbox_id, query, forward=self.policy.forward)
        if own is not None:
            respond(packed(query, own, udp=udp))
        elif self._in_flight >= MAX_IN_FLIGHT:
            respond(wire.failure(query, wire.SERVFAIL))
        else:
            self._forward(data, query, udp=udp, respond=respond)

    def _forward(self, data: bytes, query: wire.Query, *, udp: bool, respond: Respond) -> None:
        self._in_flight += 1

        def done(reply: bytes | None) -> None:
            self._in_flight -= 1
            if self._closed:
                return
            if reply is None:
                respond(wire.failure(query, wire.SERVFAIL))
            else:
                respond(wire.passed_on(reply, query, query.udp_limit if udp else 65535))

        self._forwarder.ask(data, query, self.policy.servers(), tcp=not udp, done=done)

    def _listen(self) -> None:
        if not self._closed:
            self.loop.watch(self.doorway.udp.fileno(), READ, self._datagrams)
            self.loop.watch(self.doorway.tcp.fileno(), READ, self._accept)

    def _datagrams(self, _events: int) -> None:
        udp = self.doorway.udp
        allowed = self.allowed(_AT_ONCE)
        if not allowed:
            self.loop.forget(udp.fileno())
            self.loop.later(_PAUSE, self._listen)
            return
        while allowed:
            try:
                data, asker = udp.recvfrom(_MAX_QUESTION)
            except OSError:
                self._bucket.give_back(allowed)
                return
            allowed -= 1
            self.answer(data, udp=True, respond=self._datagram_to(asker))

    def _datagram_to(self, asker: Any) -> Respond:
        def respond(answer: bytes) -> None:
            if not self._closed:
                with suppress(OSError):  # full, or nobody is there any more: it may ask again
                    self.doorway.udp.sendto(answer, asker)

        return respond

    def _accept(self, _events: int) -> None:
        try:
            made, _ = self.doorway.tcp.accept()
        except OSError:
            # Out of descriptors, or gone again: the loop must not spin on it.
            self.loop.forget(self.doorway.tcp.fileno())
            self.loop.later(_PAUSE, self._listen)
            return
        if len(self.connections) >= MAX_CONNECTIONS or not self._forwarder.descriptors.take(1, first=True):
            made.close()
            return
        self.connections.add(Connection(self, made, self._forwarder.descriptors.give_back))


class Connection:
    """One asker over TCP: one question at a time."""

    __slots__ = ("_busy", "_give_back", "_input", "_output", "_server", "_socket", "_timer", "closed")

    def __init__(self, server: NameServer, made: socket.socket, give_back: Callable[[int], None]) -> None:
        made.setblocking(False)
        self._server = server
        self._socket = made
        self._give_back = give_back
        self._input = b""
        self._output = b""
        self._busy = False
        self.closed = False
        self._timer = server.loop.later(IDLE, self.close)
        self._watch()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._timer.cancel()
            self._server.loop.forget(self._socket.fileno())
            self._socket.close()
            self._server.connections.discard(self)
            self._give_back(1)

    def _watch(self) -> None:
        if not self.closed:
            mask = WRITE if self._output else 0 if self._busy else READ
            self._server.loop.watch(self._socket.fileno(), mask, self._event)

    def _event(self, _events: int) -> None:
        try:
            if self._output:
                self._output = self._output[self._socket.send(self._output) :]
            else:
                data = self._socket.recv(4096)
                if not data:
                    self.close()
                    return
                self._input += data
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._go_on()

    def _go_on(self) -> None:
        """The next question, when the last one is answered."""
        if self.closed or self._output or self._busy:
            self._watch()
            return
        length = int.from_bytes(self._input[:2], "big")
        if len(self._input) < 2 or len(self._input) < 2 + length:
            if length > _MAX_QUESTION:
                self.close()
            self._watch()
            return
        if not self._server.allowed(1):
            self._busy = True
            self._watch()
            self._server.loop.later(_PAUSE, self._retry)
            return
        question, self._input = self._input[2 : 2 + length], self._input[2 + length :]
        self._busy = True
        self._timer.cancel()
        self._timer = self._server.loop.later(IDLE, self.close)
        self._server.answer(question, udp=False, respond=self._respond)
        self._watch()

    def _retry(self) -> None:
        self._busy = False
        self._go_on()

    def _respond(self, answer: bytes) -> None:
        if self.closed:
            return
        self._busy = False
        self._output = len(answer).to_bytes(2, "big") + answer
        self._watch()
