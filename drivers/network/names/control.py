"""What the engine asks of the process, one message after another on each of its connections."""

import os
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from drivers.kernel import files
from drivers.network.names.framing import VERSION, FrameError, Frames, Message, frame
from drivers.network.names.loop import READ, WRITE, Loop
from drivers.network.names.refusal import Refusal

_MAX_CONNECTIONS = 64
_MAX_DESCRIPTORS = 4
_PAUSE = 0.05
_PEER = struct.Struct("=3i")

Handle = Callable[[Message, list[int]], object]
"""What is to be answered to one message, and to the descriptors that came with it, of which it takes what it keeps. Raises:
Refusal."""


class Passed(NamedTuple):
    """An answer that is a descriptor."""

    fd: int


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
    __slots__ = ("_came", "_control", "_frames", "_greeted", "_output", "_passing", "_socket")

    def __init__(self, control: Control, made: socket.socket) -> None:
        self._control = control
        self._socket = made
        self._frames = Frames()
        self._output = b""
        self._came: list[int] = []
        """Descriptors, until the message they belong to is whole."""
        self._passing: list[int] = []
        """Those that go out with the first byte of the answer."""
        self._greeted = False
        self._watch()

    def _close(self) -> None:
        self._control.loop.forget(self._socket.fileno())
        self._socket.close()
        self._drop()
        self._control.conversations.discard(self)

    def _drop(self) -> None:
        for fd in self._came:
            os.close(fd)
        self._came.clear()

    def _watch(self) -> None:
        self._control.loop.watch(self._socket.fileno(), WRITE if self._output else READ, self._event)

    def _event(self, _events: int) -> None:
        try:
            if self._output:
                self._send()
            else:
                data, came, _, _ = socket.recv_fds(self._socket, 262144, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
                self._came += came
                if not data or len(self._came) > _MAX_DESCRIPTORS:
                    self._close()  # what came in part was never said
                    return
                self._frames.feed(data)
            while not self._output and (message := self._frames.next()) is not None:
                self._output = frame(self._answer(message))
                self._drop()
                self._send()
        except BlockingIOError:
            pass
        except (OSError, FrameError):
            self._close()
            return
        self._watch()

    def _send(self) -> None:
        passing, self._passing = self._passing, []
        sent = socket.send_fds(self._socket, [self._output], passing) if passing else self._socket.send(self._output)
        self._output = self._output[sent:]

    def _answer(self, message: Message) -> Message:
        operation = message.get("op")
        if operation == "hello":
            self._greeted = message.get("version") == VERSION
            return {"version": VERSION, "pid": os.getpid()}
        if not self._greeted and operation != "exit":
            return {"error": "FailedPrecondition", "message": "another version"}
        try:
            found = self._control.handle(message, self._came)
            if isinstance(found, Passed):
                self._passing = [found.fd]
                return {"ok": True}
            return {"ok": found}
        except Refusal as refusal:
            return {"error": refusal.kind, "message": refusal.message}
        except Exception as error:
            self._control.report(error)
            what = f"the resolver failed at {str(operation)[:40]}"
            said = f"{what}: {files.reason(error)}" if isinstance(error, OSError) else what
            return {"error": "Unavailable", "message": said, "logged": True}
