"""The engine's side of the resolver process: it is started when it is needed, and spoken to over its socket."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import resources.errors
from drivers.kernel import files
from drivers.network.names.connection import TIMEOUT, Gone, connect, is_open, peer, process_of
from drivers.network.names.framing import LOCK, LOG, SNAPSHOT, VERSION, FrameError, Frames, Message, frame
from drivers.network.names.holder import end_holder
from drivers.network.names.interface import Forward, SandboxNames
from drivers.network.names.pace import Pace
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
from drivers.network.names.watch import ProcessWatch
from resources.errors import Unavailable

_PROCESS = Path(__file__).with_name("process.py")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MALLOC_ARENA_MAX": "1"}
_START_WAIT = 20.0


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
        self._watch = ProcessWatch(self.folder)
        self._pace = Pace()

    def close(self) -> None:
        """Leave the process alone."""
        self._watch.close()
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
                except Gone:
                    # It was killed, or the engine before this one has ended it: what was asked may have been done or not,
                    # and is asked again.
                    if not self._is_there():
                        if not start:
                            return None
                        self._start()
        raise Unavailable("the resolver process ends whenever it is asked", hint=self._see_log())

    def endings(self) -> Iterator[float]:
        for _ in self._watch.endings():
            yield self._pace.left(time.monotonic())

    def keep(self, fd: int, *, start: bool) -> None:
        with self._lock:
            if self._kept is None or not os.path.sameopenfile(fd, self._kept):
                if self._kept is not None:
                    os.close(self._kept)
                self._kept = os.dup(fd)
                self._hang_up()
            if self._socket is None or not is_open(self._socket):
                self._hang_up()
                self.ask("socket.has", start=start)  # a connection begins with it

    def kept(self) -> int | None:
        with self._lock:
            came: list[int] = []
            for _ in range(2):
                try:
                    self._exchange({"op": "socket.kept"}, came)
                    break
                except Gone:
                    continue
            return came[0] if came else None

    def pid(self) -> int | None:
        """Of the process; None when there is none."""
        try:
            with contextlib.closing(connect(self.folder)) as connection:
                return peer(connection)
        except Gone:
            return None

    def stop(self) -> None:
        with self._lock:
            self._hang_up()  # what is open may lead to a process that is dead, and another one be there
            with contextlib.suppress(Gone):
                self._end()
            end_holder(str(self.folder / LOCK))
            with contextlib.suppress(OSError):
                files.clear(str(self.folder))
            self._pace = Pace()

    def holds(self, kind: str, key: str) -> bool:
        """Whether the snapshot knows of it, process or no process."""
        return os.path.lexists(self.folder / SNAPSHOT / kind / key)

    def _exchange(self, message: Message, came: list[int] | None = None) -> Any:
        connection = self._connected()
        answer = self._said(connection, message, came=came)
        if "error" in answer:
            kind = getattr(resources.errors, str(answer["error"]), Unavailable)
            raise kind(str(answer["message"]), hint=self._see_log() if answer.get("logged") else "")
        return answer["ok"]

    def _connected(self, *, replace: bool = True) -> socket.socket:
        if self._socket is None:
            self._socket = connect(self.folder)
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
            self._watch.met(peer(self._socket))
            if self._kept is not None:
                self._said(self._socket, {"op": "socket.keep"}, passed=self._kept)
        return self._socket

    def _said(
        self, connection: socket.socket, message: Message, *, passed: int | None = None, came: list[int] | None = None
    ) -> Message:
        """`passed` is a descriptor that goes with it; those that come with the answer are put into `came`. Raises: Gone,
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
            raise Gone from None
        return answer

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _is_there(self) -> bool:
        try:
            connect(self.folder).close()
        except Gone:
            return False
        return True

    def _end(self, *, kill: bool = False) -> None:
        """Tell the process to end, and wait until it has; one that does not is killed. Raises: Gone."""
        connection = self._socket or connect(self.folder)
        self._socket = connection
        try:
            process = process_of(connection)
        except Gone:
            self._hang_up()
            raise
        try:
            ended = select.poll()
            ended.register(process, select.POLLIN)
            with contextlib.suppress(OSError):
                connection.sendall(frame({"op": "exit"}))
            if kill or not ended.poll(TIMEOUT * 500):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                ended.poll(TIMEOUT * 500)
        finally:
            os.close(process)
            self._hang_up()

    def _start(self) -> None:
        """Raises: Unavailable. Of two that start it at once one finds the other's."""
        now = time.monotonic()
        if pause := self._pace.left(now):
            raise Unavailable(
                f"the resolver process has ended {self._pace.times} times in a row, and is started again in {pause:.1f} s",
                hint=self._see_log(),
            )
        self._pace.begin(now)
        try:
            files.make_folder(str(self.folder))
            answer = subprocess.run(
                [sys.executable, "-I", "-S", str(_PROCESS), str(self.folder), self._instance],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
                timeout=_START_WAIT,
                check=False,
            )
        except OSError as error:
            raise self._unstarted(files.reason(error)) from error
        except subprocess.TimeoutExpired as error:
            end_holder(str(self.folder / LOCK))
            raise self._unstarted(f"it was not ready within {_START_WAIT:.0f} s and was ended") from error
        if answer.returncode and not self._is_there():
            lines = answer.stdout.decode(errors="replace").strip().splitlines()[-1:]
            raise self._unstarted(lines[0][:400] if lines else "it ended at once")

    def _unstarted(self, why: str) -> Unavailable:
        return Unavailable(f"the resolver process cannot be started: {why}", hint=self._see_log())

    def _see_log(self) -> str:
        return f"see {self.folder}/{LOG}"


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
