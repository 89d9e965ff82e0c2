"""The client's side of a command: writes what the engine says, answers what it asks, lends it the terminal."""

import posix
import sys
from _signal import SIGINT, set_wakeup_fd, signal  # type: ignore[import-not-found]  # as in main.py
from _socket import SO_PEERCRED, SOL_SOCKET, socket
from select import POLLIN, poll, select

from controller.cli import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.cli.files import Files
    from controller.cli.terminal import Terminal

SIGWINCH = 28
INTERRUPTED = 130
_BROKEN_PIPE = 141


class _OutputClosed(Exception):
    pass


class Conversation:
    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._incoming = frames.Incoming()
        self._outgoing: list[bytes] = []
        self._sending = False
        self._interrupts = 0
        self._files: Files | None = None
        self._terminal: Terminal | None = None
        self._outputs = {frames.OUT: 1, frames.ERR: 2}
        # A signal that comes just before we begin to wait would otherwise be looked at after the waiting.
        self._wake, self._waker = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)

    def run(self, argv: "Sequence[str]") -> int:
        """Hand over the command and do as told until it has ended; return its exit code."""
        before, waker = signal(SIGINT, self._interrupted), set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            self.send(frames.REQUEST, frames.pack(*_request(), *argv))
            if posix.isatty(1):
                signal(SIGWINCH, self._resized)
            return self._obey()
        except _OutputClosed:
            return _BROKEN_PIPE
        except (OSError, frames.Broken) as error:
            return _lost(str(error))
        finally:
            self._leave()
            signal(SIGINT, before)
            set_wakeup_fd(waker)
            self._connection.close()
            posix.close(self._wake)
            posix.close(self._waker)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Safe from signal handlers: what comes while a frame is on its way follows it."""
        self._outgoing.append(frames.frame(kind, payload))
        if self._sending:
            return
        while self._outgoing:
            self._sending = True
            while self._outgoing:
                try:
                    self._connection.sendall(self._outgoing.pop(0))
                except OSError:
                    # It listens no more; how the command ended may be among what it has said before.
                    self._outgoing.clear()
            self._sending = False

    def next_frame(self) -> "tuple[bytes, bytes]":
        """Raises: Broken when the engine has gone."""
        while (got := self._incoming.take()) is None:
            if not self._wait():
                continue
            data = self._connection.recv(frames.CHUNK)
            if not data:
                raise frames.Broken("it has gone")
            self._incoming.feed(data)
        return got

    def _wait(self) -> bool:
        """Wait for the engine, for input it wants, for signals; tell whether the engine has something to say."""
        poller = poll()
        poller.register(self._connection, POLLIN)
        poller.register(self._wake, POLLIN)
        if self._terminal is not None and self._terminal.wanted:
            poller.register(0, POLLIN)
        ready = dict(poller.poll())
        if self._wake in ready:
            posix.read(self._wake, 512)
        if 0 in ready and self._terminal is not None:
            self._terminal.pass_input()
        return self._connection.fileno() in ready

    def _obey(self) -> int:
        while True:
            kind, payload = self.next_frame()
            if kind in self._outputs:
                self._write(self._outputs[kind], payload)
            elif kind == frames.EXIT:
                return int(payload)
            elif kind == frames.ASK:
                self._answer(payload)
            elif kind == frames.JOIN:
                self._join(payload)
            elif kind == frames.MORE and self._terminal is not None:
                self._terminal.wanted = True
            elif kind == frames.LEAVE:
                self._leave()
                self.send(frames.ANSWER)

    def _write(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[posix.write(fd, rest) :]
            except BlockingIOError:
                select([], [fd], [])
            except OSError as error:
                raise _OutputClosed from error

    def _answer(self, payload: bytes) -> None:
        if self._files is None:
            from controller.cli.files import Files

            self._files = Files(self)
        self._files.answer(payload)

    def _join(self, payload: bytes) -> None:
        from controller.cli.terminal import Terminal

        self._terminal = Terminal(self.send, raw=b"t" in payload, detachable=b"d" in payload)

    def _leave(self) -> None:
        if self._terminal is not None:
            self._terminal.restore()
            self._terminal = None

    def _interrupted(self, *_: object) -> None:
        """The first Ctrl-C asks the engine to end the command, a second one does not wait for that."""
        self._interrupts += 1
        if self._interrupts > 1:
            self._leave()
            posix._exit(INTERRUPTED)
        self.send(frames.CANCEL)

    def _resized(self, *_: object) -> None:
        self.send(frames.SIZE, frames.pack(*_size()))


def peer(connection: socket) -> int:
    """The pid of who listens there."""
    return int.from_bytes(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[:4], sys.byteorder)


def _request() -> "list[str | bytes]":
    marks = "".join(mark for mark, fd in (("i", 0), ("o", 1), ("e", 2)) if _is_terminal(fd))
    environment = posix.environ
    if b"NO_COLOR" in environment or environment.get(b"TERM", b"dumb") == b"dumb":
        marks += "n"
    try:
        folder = posix.getcwd()
    except OSError:
        folder = ""
    rows, columns = _size()
    fields: list[str | bytes] = [frames.PROTOCOL, marks, rows, columns, folder]
    return [str(len(fields) + 1), *fields]


def _is_terminal(fd: int) -> bool:
    try:
        return posix.isatty(fd)
    except OSError:
        return False


def _size() -> "tuple[str, str]":
    for fd in (1, 0, 2):
        try:
            columns, rows = posix.get_terminal_size(fd)
        except OSError:
            continue
        return str(rows), str(columns)
    return "0", "0"


def _lost(why: str) -> int:
    sys.stderr.write(f"lading: the engine ended before the command did: {why}\n")
    return 1
