"""What the engine asks of the process, one message after another on each of its connections."""

import os
import socket
import struct
from collections.abc import Callable

from drivers.network.names.framing import VERSION, FrameError, Frames, Message, frame
from drivers.network.names.loop import READ, WRITE, Loop
from drivers.network.names.refusal import Refusal

_MAX_CONNECTIONS = 64
_PAUSE = 0.05
_PEER = struct.Struct("=3i")

Handle = Callable[[Message], object]
"""What is to be answered to one message. Raises: Refusal."""


class Control:
    def __init__(
        self, loop: Loop, listening: socket.socket, handle: Handle, report: Callable[[Exception], None]
    ) -> None:
        self.loop = loop
        self.handle = handle
        self.report = report
        self.conversations: set[Conversation] = set()
        self._socket = listening
        self._listen()

    def listen(self, listening: socket.socket) -> None:
        """There, instead of where it did."""
        self.loop.forget(self._socket.fileno())
        self._socket.close()
        self._socket = listening
        self._listen()

    def _listen(self) -> None:
        self.loop.watch(self._socket.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            made, _ = self._socket.accept()
        except OSError:
            # The machine has no descriptors left: the loop must not spin on it.
            self.loop.forget(self._socket.fileno())
            self.loop.later(_PAUSE, self._listen)
            return
        _, uid, _ = _PEER.unpack(made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()) or len(self.conversations) >= _MAX_CONNECTIONS:
            made.close()
            return
        made.setblocking(False)
        self.conversations.add(Conversation(self, made))


class Conversation:
    __slots__ = ("_control", "_frames", "_greeted", "_output", "_socket")

    def __init__(self, control: Control, made: socket.socket) -> None:
        self._control = control
        self._socket = made
        self._frames = Frames()
        self._output = b""
        self._greeted = False
        self._watch()

    def _close(self) -> None:
        self._control.loop.forget(self._socket.fileno())
        self._socket.close()
        self._control.conversations.discard(self)

    def _watch(self) -> None:
        self._control.loop.watch(self._socket.fileno(), WRITE if self._output else READ, self._event)

    def _event(self, _events: int) -> None:
        try:
            if self._output:
                self._output = self._output[self._socket.send(self._output) :]
            else:
                data = self._socket.recv(262144)
                if not data:
                    self._close()  # what came in part was never said
                    return
                self._frames.feed(data)
            while not self._output and (message := self._frames.next()) is not None:
                self._output = frame(self._answer(message))
                self._output = self._output[self._socket.send(self._output) :]
        except BlockingIOError:
            pass
        except (OSError, FrameError):
            self._close()
            return
        self._watch()

    def _answer(self, message: Message) -> Message:
        operation = message.get("op")
        if operation == "hello":
            self._greeted = message.get("version") == VERSION
            return {"version": VERSION, "pid": os.getpid()}
        if not self._greeted and operation != "exit":
            return {"error": "FailedPrecondition", "message": "another version"}
        try:
            return {"ok": self._control.handle(message)}
        except Refusal as refusal:
            return {"error": refusal.kind, "message": refusal.message}
        except Exception as error:
            self._control.report(error)
            return {"error": "Unavailable", "message": f"the resolver failed: {type(error).__name__}"}
