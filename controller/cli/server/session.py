"""The user's side of one command, reached over its connection (controller.interface.Session)."""

import contextlib
import re
import select
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

from controller.cli.server.digests import Identity, KnownDigests
from controller.cli.server.joining import Joined
from controller.cli.wire import frames
from controller.interface import Content, Stream
from resources import errors
from resources.errors import Cancelled, EngineError, InvalidArgument, ResourceExhausted

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_MAX_SIZE = 10_000
_MAX_ENVIRONMENT = 4 << 20
_BY_REASON = {
    item.reason: item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, EngineError)
}


class RemoteSession:
    """One thread runs the command and reads what the client says; any thread may write.

    Raises from `__init__`: OSError, Broken, Cancelled when the client does not open as it should.
    """

    def __init__(self, connection: socket.socket, digests: KnownDigests, user: int) -> None:
        self._connection = connection
        self._digests, self._user = digests, user
        self._incoming = frames.Incoming()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._cancelled = False
        self._dismissed = False
        self.cut_short = False
        """The engine ends, and the command has been told so."""
        self._asking = False
        """An answer of the client's is due; nothing else is read without being asked for."""
        self._joined = False
        kind, payload = self._next()
        if kind != frames.REQUEST:
            raise frames.Broken("a request was expected")
        fields = [frames.text(field) for field in frames.unpack(payload)]
        count = fields[0] if fields else ""
        if _NUMBER.fullmatch(count) is None or not 6 <= int(count) <= len(fields):
            raise frames.Broken("the request is malformed")
        if fields[1] != frames.PROTOCOL:
            self.err("lading: the engine is of another version than this command; restart one of them\n")
            self.end(1)
            raise frames.Broken(f"protocol {fields[1][:20]!r}")
        marks = fields[2]
        self.rows, self.columns = _size(fields[3:5])
        self.cwd = fields[5]
        self.argv: Sequence[str] = fields[int(count) :]
        self.stdin_tty, self.stdout_tty = "i" in marks, "o" in marks
        self.color = self.stdout_tty and "n" not in marks

    def out(self, text: str | bytes) -> None:
        self._write(frames.OUT, text)

    def err(self, text: str | bytes) -> None:
        self._write(frames.ERR, text)

    def end(self, code: int) -> None:
        self._send(frames.EXIT, str(code).encode())

    def begin(self) -> None:
        """Tell the client that its command is begun: until then it may give it to another engine."""
        self._send(frames.OUT)

    def dismiss(self) -> None:
        """The engine ends: the command finds itself cancelled, and may still say something."""
        self._dismissed = self._cancelled = True
        with contextlib.suppress(OSError):  # it has gone
            self._connection.shutdown(socket.SHUT_RD)

    def cancelled(self) -> bool:
        """Look, without waiting, whether the client has gone or wants to stop. From any thread."""
        if not self._cancelled and self._reading.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._reading.release()
        self.cut_short |= self._dismissed
        return self._cancelled

    def find(self, path: str) -> Sequence[str]:
        return [frames.text(field) for field in self._ask("find", path)]

    def read(self, path: str, limit: int) -> bytes:
        parts, size = [], 0
        for chunk in self._pull("read", path, str(limit)):
            size += len(chunk)
            if size > limit:
                raise ResourceExhausted(f"{path}: it is larger than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def digest(self, path: str) -> Content:
        identity = self._identity(path)
        known = self._digests.get(self._user, identity) if identity else None
        if known is not None:
            return known
        answer = [frames.text(field) for field in self._ask("digest", path)]
        if len(answer) != 2 or not _DIGEST.fullmatch(answer[0]) or not _NUMBER.fullmatch(answer[1]):
            raise frames.Broken("a digest was expected")
        content = Content(digest=answer[0], size=int(answer[1]))
        if identity and self._identity(path) == identity:
            self._digests.put(self._user, identity, content)
        return content

    def _identity(self, path: str) -> Identity:
        """() for what is no file."""
        answer = tuple(frames.text(field) for field in self._ask("identity", path))
        if answer and (len(answer) != 5 or not all(map(_NUMBER.fullmatch, answer))):
            raise frames.Broken("an identity was expected")
        return answer

    def send(self, path: str) -> Iterator[bytes]:
        return self._pull("send", path)

    def pack(self, path: str, *, name: str = "") -> Iterator[bytes]:
        return self._pull("pack", path, name)

    def variable(self, name: str) -> str | None:
        answer = self._ask("variable", name)
        return frames.text(answer[0]) if answer else None

    def variables(self) -> Mapping[str, str]:
        data = bytearray()
        for chunk in self._pull("variables"):
            data += chunk
            if len(data) > _MAX_ENVIRONMENT:
                raise ResourceExhausted("the environment is too large")
        pairs = (frames.text(field).partition("=") for field in frames.unpack(bytes(data)))
        return {name: value for name, _, value in pairs}

    def write(self, path: str, data: bytes | Iterator[bytes]) -> None:
        self._push(iter([data]) if isinstance(data, bytes) else data, "write", path)

    def ask(self, question: str, *, hidden: bool = False) -> str:
        if not self.stdin_tty:
            raise InvalidArgument("there is no terminal to ask on")
        return "".join(map(frames.text, self._ask("ask", question, "hidden" if hidden else "")))

    def receive(self, path: str, chunks: Iterator[bytes], *, name: str = "") -> None:
        self._push(chunks, "receive", path, name)

    def interact(self, stream: Stream, *, tty: bool, stdin: bool, detachable: bool = False) -> int:
        marks = (b"t" if tty else b"") + (b"d" if tty and detachable else b"")
        self._joined = True
        try:
            self._send(frames.JOIN, marks)
            stream.resize(self.rows, self.columns)
            return Joined(stream, self._send, self._next, stdin=stdin).run()
        finally:
            self._joined = False

    def _write(self, kind: bytes, text: str | bytes) -> None:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        for at in range(0, len(data), frames.CHUNK):
            self._send(kind, data[at : at + frames.CHUNK])

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        """Blocks while the client does not read: what it cannot take is not made."""
        with self._writing:
            try:
                self._connection.sendall(frames.frame(kind, payload))
            except OSError as error:
                self._cancelled = True
                raise Cancelled("the client has gone") from error

    def _ask(self, *fields: str) -> list[bytes]:
        self._asking = True
        self._send(frames.ASK, frames.pack(*fields))
        kind, payload = self._reply()
        if kind != frames.ANSWER:
            raise frames.Broken("an answer was expected")
        return frames.unpack(payload)

    def _pull(self, *fields: str) -> Iterator[bytes]:
        while True:
            self._asking = True
            self._send(frames.ASK, frames.pack(*fields))
            kind, payload = self._reply()
            if kind == frames.ANSWER:
                return
            if kind != frames.DATA:
                raise frames.Broken("content was expected")
            yield payload
            fields = ("next",)

    def _push(self, chunks: Iterator[bytes], *fields: str) -> None:
        self._asking = True
        self._send(frames.ASK, frames.pack(*fields))
        try:
            for chunk in chunks:
                for at in range(0, len(chunk), frames.CHUNK):
                    self._send(frames.DATA, chunk[at : at + frames.CHUNK])
                if self.cancelled():
                    raise Cancelled("interrupted")
                if self._waiting:  # it has failed already, and says why
                    break
        except BaseException:
            # Half of it is nothing: the client throws it away, and waits for what comes next.
            self._send(frames.END, frames.CUT)
            with contextlib.suppress(Cancelled):
                self._next()
            raise
        self._send(frames.END)
        self._reply()

    def _reply(self) -> tuple[bytes, bytes]:
        kind, payload = self._next()
        self._asking = False
        if kind != frames.FAILED:
            return kind, payload
        fields = [frames.text(field) for field in frames.unpack(payload)]
        if len(fields) != 3:
            raise frames.Broken("a reason was expected")
        raise _BY_REASON.get(fields[0], EngineError)(fields[1], hint=fields[2])

    def _next(self) -> tuple[bytes, bytes]:
        """The next frame. Raises: Cancelled, Broken."""
        with self._reading:
            while not self._cancelled:
                if self._waiting:
                    return self._waiting.pop(0)
                self._receive()
        self.cut_short |= self._dismissed
        raise Cancelled("interrupted")

    def _look(self) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        try:
            if not self._waiting and poll.poll(0):
                self._receive()
        except frames.Broken:
            self._cancelled = True
        if self._waiting and not self._asking:
            self._cancelled = True  # it says what it was not asked for: nothing more is read of it

    def _receive(self) -> None:
        try:
            data = self._connection.recv(frames.CHUNK)
        except TimeoutError as error:
            raise frames.Broken("it says nothing") from error
        except OSError:
            data = b""
        if not data:
            self._cancelled = True
            return
        self._incoming.feed(data)
        while (got := self._incoming.take()) is not None:
            if got[0] == frames.CANCEL:
                self._cancelled = True
                continue
            if got[0] == frames.SIZE:
                self.rows, self.columns = _size([frames.text(field) for field in frames.unpack(got[1])])
            if got[0] != frames.SIZE or self._joined:
                self._waiting.append(got)


def _size(fields: Sequence[str]) -> tuple[int, int]:
    if len(fields) != 2 or not all(field.isdecimal() and len(field) < 6 for field in fields):
        raise frames.Broken("a size was expected")
    rows, columns = (min(int(field), _MAX_SIZE) for field in fields)
    return rows, columns
