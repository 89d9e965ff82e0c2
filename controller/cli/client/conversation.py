"""The client's side of a command: writes what the engine says, answers what it asks, lends it the terminal."""

import posix
import sys
from _signal import SIGINT, set_wakeup_fd, signal  # type: ignore[import-not-found]  # as in main.py
from _socket import socket
from select import POLLIN, poll, select

from controller.cli.client.connection import send_within
from controller.cli.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.cli.client.files import Files
    from controller.cli.client.terminal import Terminal

SIGWINCH = 28
INTERRUPTED = 130
_BROKEN_PIPE = 141
SILENCE = 10
"""Seconds after which an engine that says nothing is looked at."""
_GIVEN_UP = 6
"""Times of that, after which an engine that has not even begun with the command is not waited for any longer."""
_SIGKILL = 1 << 8


class _OutputClosed(Exception):
    pass


class _Silent(Exception):
    pass


class Conversation:
    """`engine` is its pid; 0 where both ends are in one process. `lost`: what to exit with where the engine dies."""

    def __init__(self, connection: socket, *, engine: int = 0, lost: int = 1) -> None:
        self._connection = connection
        self._engine = engine
        self._lost = lost
        self._begun = not engine
        self._quiet = 0
        """How often in a row nothing came for a while."""
        self._told = False
        """That it does not answer."""
        self._incoming = frames.Incoming()
        self._outgoing: list[bytes] = []
        self._sending = False
        self._interrupts = 0
        self._files: Files | None = None
        self._terminal: Terminal | None = None
        self._outputs = {frames.OUT: 1, frames.ERR: 2}
        # A signal that comes just before we begin to wait would otherwise be looked at after the waiting.
        self._wake, self._waker = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)

    def run(self, argv: "Sequence[str]") -> "int | None":
        """Hand over the command and do as told until it has ended; return its exit code. None when the engine ended
        before it began with the command: it may be given to another one."""
        before, waker = signal(SIGINT, self._interrupted), set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            if self._engine:
                send_within(self._connection, SILENCE)
            self.send(frames.REQUEST, frames.pack(*_request(), *argv))
            if posix.isatty(1):
                signal(SIGWINCH, self._resized)
            return self._obey()
        except _OutputClosed:
            return _BROKEN_PIPE
        except _Silent:
            return self._lost
        except (OSError, frames.Broken) as error:
            return self._ended(str(error)) if self._begun else None
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
                    self._push(memoryview(self._outgoing.pop(0)))
                except OSError:
                    # It listens no more; how the command ended may be among what it has said before.
                    self._outgoing.clear()
            self._sending = False

    def _push(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except BlockingIOError:
                self._look_at_engine()

    def next_frame(self) -> "tuple[bytes, bytes]":
        """Raises: Broken when the engine has gone."""
        while (got := self._incoming.take()) is None:
            if not self._wait():
                continue
            data = self._connection.recv(frames.CHUNK)
            if not data:
                raise frames.Broken("it has gone")
            self._incoming.feed(data)
            self._quiet, self._told = 0, False
        self._begun = True
        return got

    def _wait(self) -> bool:
        """Wait for the engine, for input it wants, for signals; tell whether the engine has something to say."""
        poller = poll()
        poller.register(self._connection, POLLIN)
        poller.register(self._wake, POLLIN)
        if self._terminal is not None and self._terminal.wanted:
            poller.register(0, POLLIN)
        ready = dict(poller.poll(SILENCE * 1000))
        if not ready:
            self._look_at_engine()
        if self._wake in ready:
            posix.read(self._wake, 512)
        if 0 in ready and self._terminal is not None:
            self._terminal.pass_input()
        return self._connection.fileno() in ready

    def _look_at_engine(self) -> None:
        """It has said nothing for a while, which is right for many a command; where it cannot, the user is told, once.
        Raises: _Silent when there is nothing to wait for."""
        if not self._engine:
            return
        self._quiet += 1
        seconds = self._quiet * SILENCE
        state = process_state(self._engine)
        if state == "" and self._begun:
            return
        if not self._told:
            self._told = True
            end = "\n" if self._terminal is None else "\r\n"
            sys.stderr.write(f"lading: {unanswered(self._engine, state, seconds)}{end}")
        if not self._begun and self._quiet >= _GIVEN_UP:
            sys.stderr.write(f"lading: the engine (pid {self._engine}) was waited for {seconds} s; nothing was done\n")
            raise _Silent

    def _ended(self, why: str) -> int:
        sys.stderr.write(
            f"lading: the engine (pid {self._engine}) ended before the command did: {why}. What runs goes on, and what "
            "was written stays; give the command again to go on\n"
        )
        return self._lost

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
            from controller.cli.client.files import Files

            self._files = Files(self.send, self.next_frame)
        self._files.answer(payload)

    def _join(self, payload: bytes) -> None:
        from controller.cli.client.terminal import Terminal

        self._terminal = Terminal(self.send, raw=b"t" in payload, detachable=b"d" in payload)

    def _leave(self) -> None:
        if self._terminal is not None:
            self._terminal.restore()
            self._terminal = None

    def _interrupted(self, *_: object) -> None:
        """The first Ctrl-C asks the engine to end the command, a second one does not wait for that."""
        self._interrupts += 1
        if self._interrupts > 1 or self._told:
            self._leave()
            posix._exit(INTERRUPTED)
        self.send(frames.CANCEL)

    def _resized(self, *_: object) -> None:
        self.send(frames.SIZE, frames.pack(*_size()))


def process_state(pid: int) -> str:
    """ "stopped", "killed" (and not gone yet), or ""."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file.read(8192).splitlines() if b":" in line)
        letter = lines[b"State"].strip()[:1]
        pending = int(lines[b"SigPnd"], 16) | int(lines[b"ShdPnd"], 16)
    except FileNotFoundError:
        return "killed"
    except (OSError, KeyError, ValueError):
        return ""
    if letter in b"ZX" or pending & _SIGKILL:
        return "killed"
    return "stopped" if letter in b"Tt" else ""


def unanswered(pid: int, state: str, seconds: int) -> str:
    if state == "stopped":
        return f"the engine (pid {pid}) does not answer: it is stopped. `kill -CONT {pid}` lets it go on"
    if state == "killed":
        return f"the engine (pid {pid}) was killed, and has not ended yet"
    return (
        f"the engine (pid {pid}) has not answered for {seconds} s. It may be busy; `kill -9 {pid}` ends it, containers go "
        "on, and the next command starts another"
    )


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
