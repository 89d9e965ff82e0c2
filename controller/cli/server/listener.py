"""The door for commands: `<run root>/command.sock`, one thread a command.

    server = CommandServer(run_root, backend)   # listens
    server.start()
    server.stop()                               # cancels the commands under way

A client is held to be hostile until it has opened with a request, and bounded after that: frames have a largest size,
what it does not read is not produced, and whatever it does wrong ends its own connection and nothing else.
"""

import contextlib
import errno
import grp
import os
import socket
import struct
import threading
import time
from pathlib import Path

import structlog

from controller.cli import words
from controller.cli.server import dispatch
from controller.cli.server.digests import KnownDigests
from controller.cli.server.session import RemoteSession
from controller.cli.wire import frames
from controller.interface import Backend
from resources.errors import Cancelled

_GROUP = "lading"
_MAX_COMMANDS = 512
_HELLO_SECONDS = 5.0
_LEAVE_SECONDS = 2.0
_BACKLOG = 512
_PAUSE = 0.1
_SHUT_DOWN = (
    "lading: the engine was shut down before the command had ended. What runs goes on; what was asked for stays so, and the "
    "next engine goes on with it\n"
)


class CommandServer:
    def __init__(self, run_root: Path, backend: Backend) -> None:
        self._run_root = run_root
        self._path = run_root / "command.sock"
        self._backend = backend
        self._log = structlog.get_logger()
        self._lock = threading.Lock()
        self._digests = KnownDigests()
        self._commands: dict[socket.socket, threading.Thread] = {}
        self._sessions: dict[socket.socket, RemoteSession] = {}
        self._listen()

    def _listen(self) -> None:
        self._socket = _listen(self._run_root)
        self._inode = self._path.stat().st_ino
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), name="commands", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def listen_again(self) -> bool:
        """Where somebody has removed the socket, and nobody could come any more. Raises: OSError."""
        if self._path.exists():
            return False
        before, thread = self._socket, self._thread
        self._listen()
        self._thread.start()
        before.shutdown(socket.SHUT_RDWR)
        thread.join()
        before.close()
        return True

    def stop(self) -> None:
        """No command is taken any more; those under way find themselves cancelled, and may say so."""
        self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()
        with self._lock:
            commands, sessions = dict(self._commands), dict(self._sessions)
        for connection in commands:
            if connection in sessions:
                sessions[connection].dismiss()
            else:
                _shut(connection, socket.SHUT_RD)
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in commands.values():
            thread.join(max(deadline - time.monotonic(), 0))
        for connection in commands:
            _shut(connection, socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EBADF):  # it is shut
                    return
                # Of files or memory there may be enough again in a moment; an engine that hears nobody helps nobody.
                self._log.error("a command cannot be taken in", why=str(error))
                time.sleep(_PAUSE)
                continue
            self._take_in(connection)

    def _take_in(self, connection: socket.socket) -> None:
        thread = threading.Thread(target=self._serve, args=(connection,), name="command", daemon=True)
        with self._lock:
            full = len(self._commands) >= _MAX_COMMANDS
            if not full:
                self._commands[connection] = thread
        if full:
            _refuse(connection, f"{_MAX_COMMANDS} commands are under way")
            return
        try:
            thread.start()
        except RuntimeError as error:  # there is no room for one more thread
            with self._lock:
                del self._commands[connection]
            self._log.error("a command cannot be begun", why=str(error))
            _refuse(connection, "the engine can begin no more threads")

    def _serve(self, connection: socket.socket) -> None:
        try:
            pid, uid, _ = _credentials(connection)
            session = open_session(connection, self._digests, uid)
            with self._lock:
                self._sessions[connection] = session
            self._log.info("command", verb=words.scan(session.argv).verb[:40], uid=uid, pid=pid)
            run(session, self._backend)
        except (OSError, frames.Broken, Cancelled) as error:
            self._log.info("a client has gone", why=str(error))
        except Exception as error:
            self._log.error("a command failed in a way it should not", exc_info=error)
        finally:
            with self._lock:
                self._commands.pop(connection, None)
                self._sessions.pop(connection, None)
            connection.close()


def open_session(connection: socket.socket, digests: KnownDigests, user: int) -> RemoteSession:
    """Wait for the request. Raises: OSError, Broken, Cancelled."""
    connection.settimeout(_HELLO_SECONDS)
    session = RemoteSession(connection, digests, user)
    connection.settimeout(None)
    session.begin()
    return session


def run(session: RemoteSession, backend: Backend | None) -> None:
    try:
        code = dispatch.run(session, backend)
    except (frames.Broken, Cancelled):
        raise
    except Exception as error:
        session.err(f"lading: this should not have happened: {type(error).__name__}: {error}\n")
        session.end(1)
        raise
    if session.cut_short and code in (0, dispatch.INTERRUPTED):
        session.err(_SHUT_DOWN)
        code = words.NO_PROCESS.get(words.scan(session.argv).verb, 1)
    session.end(code)


def _listen(run_root: Path) -> socket.socket:
    """Owner and mode are right before anybody can connect: that takes a socket that listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(run_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # An address has room for 107 bytes; the second one is short wherever the run root is.
        base = run_root if len(bytes(run_root)) < 90 else Path(f"/proc/self/fd/{folder}")
        path = base / "command.sock"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        try:
            group = grp.getgrnam(_GROUP).gr_gid
        except KeyError:
            group = -1
        os.chown(path, -1, group)
        path.chmod(0o660)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", answer)
    return pid, uid, gid


def _refuse(connection: socket.socket, why: str) -> None:
    said = f"lading: {why}; try again when one of them has ended\n"
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(frames.frame(frames.ERR, said.encode()) + frames.frame(frames.EXIT, b"1"))


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:  # it has gone
        return
