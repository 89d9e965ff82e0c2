"""The engine's side of the resolver process: it is started when it is needed, and spoken to over its socket."""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import resources.errors
from drivers.network.names.framing import SNAPSHOT, SOCKET, VERSION, FrameError, Frames, Message, frame
from drivers.network.names.interface import Forward, SandboxNames
from drivers.network.names.records import (
    checked_forwards,
    checked_names,
    checked_owner,
    checked_sandbox,
    forward_from,
    forward_message,
    sandbox_from,
    sandbox_message,
)
from resources.errors import Unavailable

_PROCESS = Path(__file__).with_name("process.py")
_TIMEOUT = 5.0
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MALLOC_ARENA_MAX": "1"}
_PEER = struct.Struct("=3i")


class _Gone(Exception):
    """There is no process, or it ended before it answered."""


class ResolverClient:
    """One for the engine, for all its threads; a Keeper itself. `instance` tells the processes of several engines apart for who
    looks at them."""

    def __init__(self, run_root: Path, instance: str) -> None:
        self.folder = run_root / "resolver"
        self.names = ResolverNames(self)
        self.proxies = ResolverProxies(self)
        self._instance = instance
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._kept: int | None = None
        """What every process is given first of all."""

    def close(self) -> None:
        """Leave the process alone."""
        with self._lock:
            self._hang_up()
            if self._kept is not None:
                os.close(self._kept)
                self._kept = None

    def ask(self, operation: str, *, start: bool = False, **values: Any) -> Any:
        """The process's answer; None when there is no process and it is not to be started.

        Raises: what the process refuses with; Unavailable.
        """
        message = {"op": operation, **values}
        with self._lock:
            for _ in range(3):
                try:
                    return self._exchange(message)
                except _Gone:
                    # It was killed, or the engine before this one has ended it: what was asked may have been done or not,
                    # and is asked again.
                    if not self._is_there():
                        if not start:
                            return None
                        self._start()
        raise Unavailable("the resolver process ends whenever it is asked", hint=f"see {self.folder}/log")

    def keep(self, fd: int, *, start: bool) -> None:
        with self._lock:
            if self._kept is None or not os.path.sameopenfile(fd, self._kept):
                if self._kept is not None:
                    os.close(self._kept)
                self._kept = os.dup(fd)
                self._hang_up()
            if self._socket is None or not _is_open(self._socket):
                self._hang_up()
                self.ask("socket.has", start=start)  # a connection begins with it

    def kept(self) -> int | None:
        with self._lock:
            came: list[int] = []
            for _ in range(2):
                try:
                    self._exchange({"op": "socket.kept"}, came)
                    break
                except _Gone:
                    continue
            return came[0] if came else None

    def pid(self) -> int | None:
        """Of the process; None when there is none."""
        try:
            with contextlib.closing(_connect(self.folder)) as connection:
                return _peer(connection)
        except _Gone:
            return None

    def stop(self) -> None:
        with self._lock:
            self._hang_up()  # what is open may lead to a process that is dead, and another one be there
            with contextlib.suppress(_Gone):
                self._end()
            shutil.rmtree(self.folder, ignore_errors=True)

    def holds(self, kind: str, key: str) -> bool:
        """Whether the snapshot knows of it, process or no process."""
        return (self.folder / SNAPSHOT / kind / key).exists()

    def _exchange(self, message: Message, came: list[int] | None = None) -> Any:
        connection = self._connected()
        answer = self._said(connection, message, came=came)
        if "error" in answer:
            kind = getattr(resources.errors, str(answer["error"]), Unavailable)
            raise kind(str(answer["message"]))
        return answer["ok"]

    def _connected(self, *, replace: bool = True) -> socket.socket:
        if self._socket is None:
            self._socket = _connect(self.folder)
            greeting = self._said(self._socket, {"op": "hello", "version": VERSION})
            if greeting.get("version") != VERSION:
                # Its snapshot stays, and is what the new one begins with.
                self._end()
                if not replace:
                    raise Unavailable(
                        "another version of lading is installed than the one that runs", hint="restart the engine"
                    )
                self._start()
                return self._connected(replace=False)
            if self._kept is not None:
                self._said(self._socket, {"op": "socket.keep"}, passed=self._kept)
        return self._socket

    def _said(
        self, connection: socket.socket, message: Message, *, passed: int | None = None, came: list[int] | None = None
    ) -> Message:
        """`passed` is a descriptor that goes with it; those that come with the answer are put into `came`. Raises: _Gone,
        Unavailable."""
        try:
            data = frame(message)
            if passed is not None:
                data = data[socket.send_fds(connection, [data], [passed]) :]
            connection.sendall(data)
            frames = Frames()
            while (answer := frames.next()) is None:
                if came is None:
                    data = connection.recv(262144)
                else:
                    data, found, _, _ = socket.recv_fds(connection, 4096, 1, socket.MSG_CMSG_CLOEXEC)
                    came += found
                if not data:
                    raise ConnectionResetError
                frames.feed(data)
        except BlockingIOError:
            self._end(kill=True)
            raise Unavailable("the resolver process did not answer and was ended", hint="it is started again") from None
        except FrameError:
            self._hang_up()
            raise Unavailable("the resolver process was asked too much at once") from None
        except OSError:
            self._hang_up()
            raise _Gone from None
        return answer

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _is_there(self) -> bool:
        try:
            _connect(self.folder).close()
        except _Gone:
            return False
        return True

    def _end(self, *, kill: bool = False) -> None:
        """Tell the process to end, and wait until it has; one that does not is killed. Raises: _Gone."""
        connection = self._socket or _connect(self.folder)
        self._socket = connection
        try:
            process = os.pidfd_open(_peer(connection))
        except ProcessLookupError:
            self._hang_up()
            raise _Gone from None
        try:
            if not _is_open(connection):
                raise _Gone  # and that number may be another process's by now
            ended = select.poll()
            ended.register(process, select.POLLIN)
            with contextlib.suppress(OSError):
                connection.sendall(frame({"op": "exit"}))
            if kill or not ended.poll(_TIMEOUT * 500):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                ended.poll(_TIMEOUT * 500)
        finally:
            os.close(process)
            self._hang_up()

    def _start(self) -> None:
        """Raises: Unavailable. Of two that start it at once one finds the other's."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            answer = subprocess.run(
                [sys.executable, "-I", "-S", str(_PROCESS), str(self.folder), self._instance],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
                timeout=_TIMEOUT * 4,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"the resolver process cannot be started: {type(error).__name__}") from error
        if answer.returncode and not self._is_there():
            reason = answer.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["it ended at once"]
            raise Unavailable(f"the resolver process cannot be started: {reason[0][:200]}")


class ResolverNames:
    def __init__(self, client: ResolverClient) -> None:
        self._client = client

    def set(self, sandbox: SandboxNames) -> None:
        self._client.ask("names.set", start=True, sandbox=sandbox_message(checked_names(sandbox)))

    def get(self, sandbox_id: str) -> SandboxNames | None:
        message = self._client.ask("names.get", id=checked_sandbox(sandbox_id))
        return None if message is None else sandbox_from(message)

    def remove(self, sandbox_id: str) -> None:
        # Without a process it is started if its snapshot has that sandbox, so that no later one serves it.
        held = self._client.holds("names", checked_sandbox(sandbox_id))
        self._client.ask("names.remove", start=held, id=sandbox_id)

    def list(self) -> Sequence[str]:
        return self._client.ask("names.list") or []

    def stop(self) -> None:
        self._client.stop()


class ResolverProxies:
    def __init__(self, client: ResolverClient) -> None:
        self._client = client

    def set(self, owner: str, forwards: Sequence[Forward]) -> None:
        wanted = [forward_message(one) for one in checked_forwards(owner, forwards)]
        start = bool(wanted) or self._client.holds("proxies", owner)
        self._client.ask("proxies.set", start=start, owner=owner, forwards=wanted)

    def get(self, owner: str) -> tuple[Forward, ...]:
        return tuple(forward_from(one) for one in self._client.ask("proxies.get", owner=checked_owner(owner)) or ())

    def list(self) -> Sequence[str]:
        return self._client.ask("proxies.list") or []


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _peer(connection: socket.socket) -> int:
    pid: int = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
    return pid


def _connect(folder: Path) -> socket.socket:
    """Raises: _Gone."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # a timeout of Python's costs a system call more each time
        made.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(_TIMEOUT), 0))
    try:
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            made.connect(f"/proc/self/fd/{at}/{SOCKET}")  # the path may be longer than the address of a socket may be
        finally:
            os.close(at)
    except OSError:
        made.close()
        raise _Gone from None
    return made
