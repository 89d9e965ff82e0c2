"""The standard streams of an exec and of an attached task.

An exec runs the OCI runtime in the foreground as our child: its status is the code, so that no process of ours has to
become a reaper of strangers. A terminal is a pty of ours that the runtime takes as its controlling one (setsid -c) and
forwards, sizes included.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable, Sequence
from pathlib import Path

from drivers.kernel.pidfd import exit_code, exit_status, open_pidfd
from drivers.runtime import conmon
from drivers.runtime.layout import Bundle
from resources.errors import FailedPrecondition, Unavailable

_CHUNK = 65536
_START_TIMEOUT = 20.0
_LINGER = 0.5
"""How long the runtime has to end after the process; runc does not while a grandchild keeps a stream open."""
_LAST_PATIENCE = 5.0
_UNKNOWN = 255
_ATTACH_PACKET = 8193  # one byte for the stream, and conmon's buffer


class ExecStream:
    """One `runtime exec` in the foreground. `files` are its process description, pid file and log."""

    def __init__(
        self, command: Sequence[str], files: Sequence[Path], *, terminal: bool, rows: int, columns: int
    ) -> None:
        self._process_file, self._pid_file, self._log = files
        self._terminal = terminal
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._outputs: dict[int, str] = {}
        self._input: int | None = None
        self._exited = False
        self._task: int | None = None
        self._pid = 0
        self._code: int | None = None
        try:
            if terminal:
                self._spawn_terminal(command, rows, columns)
            else:
                self._spawn_pipes(command)
        except OSError as error:
            self._epoll.close()
            self._remove_files()
            raise Unavailable(f"{command[0]} cannot be run: {error.strerror}") from error
        self._child_fd = os.pidfd_open(self._child.pid)
        self._epoll.register(self._child_fd, select.EPOLLIN)
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLHUP)
        try:
            self._await_start()
        except BaseException:
            self.close()
            raise
        if self._task is not None:
            self._epoll.register(self._task, select.EPOLLIN)
        self._remove_files()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def read(self) -> tuple[str, bytes] | None:
        while self._outputs:
            # Once the process is gone only what is in the pipes is left, even if a grandchild keeps them open.
            events = self._epoll.poll(_LINGER if self._exited else None)
            for fd, _ in events:
                if fd in (self._child_fd, self._task):
                    self._exited = True
                    self._epoll.unregister(fd)
                elif (data := self._take(fd)) is not None:
                    return self._outputs[fd], data
            if self._exited and not events:
                break
        return None

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            with self._lock:
                if self._input is None:
                    raise FailedPrecondition("standard input of the process is closed")
                try:
                    view = view[os.write(self._input, view[:_CHUNK]) :]
                    continue
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno in (errno.EPIPE, errno.EIO):
                        raise FailedPrecondition("standard input of the process is closed") from error
                    raise
                waiting = self._input
            # Not under the lock: whoever closes the input or the stream must not wait for a process that reads nothing.
            select.select([], [waiting], [], 0.1)

    def close_stdin(self) -> None:
        if self._terminal:
            return
        with self._lock:
            if self._input is not None:
                os.close(self._input)
                self._input = None

    def resize(self, rows: int, columns: int) -> None:
        with self._lock:
            if self._terminal and self._input is not None:
                _set_size(self._input, rows, columns)
                _set_size_inside(self._pid, rows, columns)

    def wait(self) -> int:
        if self._code is None:
            code = self._wait()
            self._code = 128 - code if code < 0 else code
        return self._code

    def _wait(self) -> int:
        """The runtime's status, which is the process's; or the kernel's, when the runtime waits for a grandchild."""
        if self._task is not None and self._child.poll() is None:
            poll = select.poll()
            for fd in (self._child_fd, self._task):
                poll.register(fd, select.POLLIN)
            poll.poll()
            try:
                return self._child.wait(_LINGER)
            except subprocess.TimeoutExpired:
                status = exit_status(self._task)
                if status is not None:
                    self._child.kill()
                    self._child.wait()
                    return exit_code(status)
        try:
            return self._child.wait(_LAST_PATIENCE if self._exited and self._task is None else None)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            return _UNKNOWN

    def kill(self, signal: int) -> None:
        with self._lock:
            if self._task is not None:
                _send(self._task, signal)

    def close(self) -> None:
        if self._child.poll() is None:
            self.kill(signal.SIGKILL)
            try:
                self._child.wait(_LINGER)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._remove_files()
        with self._lock:
            if self._epoll.closed:
                return
            self._epoll.close()
            own = {*self._outputs, self._child_fd, *([self._input] if self._input is not None else [])}
            own |= {self._task} if self._task is not None else set()
            self._outputs, self._input, self._task = {}, None, None
            for fd in own:
                os.close(fd)

    def _spawn_pipes(self, command: Sequence[str]) -> None:
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (stdin, self._input), (out, stdout), (err, stderr) = pipes
        try:
            self._child = _spawn(command, stdin, stdout, stderr)
        except OSError:
            for fd in (self._input, out, err):
                os.close(fd)
            raise
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        os.set_blocking(self._input, False)
        self._outputs = {out: "stdout", err: "stderr"}

    def _spawn_terminal(self, command: Sequence[str], rows: int, columns: int) -> None:
        master, slave = os.openpty()
        self._input = master
        try:
            # Raw from the start: echo and line ends are the business of the terminal inside.
            tty.setraw(slave)
            if rows and columns:
                _set_size(slave, rows, columns)
            self._child = _spawn(["/usr/bin/setsid", "-c", *command], slave, slave, slave)
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._outputs = {master: "stdout"}

    def _take(self, fd: int) -> bytes | None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:  # a pty whose other side is closed
                raise
            data = b""
        if data:
            return data
        with self._lock:
            self._epoll.unregister(fd)
            del self._outputs[fd]
            if fd != self._input:
                os.close(fd)
        return None

    def _await_start(self) -> None:
        """Wait for the pid file. Raises: FailedPrecondition with what the runtime says when there will be none."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            ended = self._child.poll() is not None
            with contextlib.suppress(OSError, ValueError):
                pid = int(self._pid_file.read_text())
                if not ended:
                    self._pid, self._task = pid, open_pidfd(pid)
                    self._exited = self._task is None  # gone already, though the runtime may wait for a grandchild
                return
            if ended:
                raise conmon.runtime_error(runtime_message(self._log), "exec")
            if time.monotonic() > deadline:
                raise Unavailable("the OCI runtime does not start the process", hint="is the host loaded?")
            time.sleep(0.001)

    def _remove_files(self) -> None:
        for path in (self._process_file, self._pid_file, self._log):
            path.unlink(missing_ok=True)


class AttachStream:
    """A task's own streams, through conmon's socket."""

    def __init__(self, bundle: Bundle, wait: Callable[[], int], *, terminal: bool) -> None:
        self._bundle = bundle
        self._wait = wait
        self._terminal = terminal
        self._socket = _connect(bundle)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> tuple[str, bytes] | None:
        while True:
            try:
                packet = self._socket.recv(_ATTACH_PACKET)
            except ConnectionError:
                return None
            if not packet:
                return None
            if len(packet) > 1:
                return ("stderr" if packet[0] == 3 else "stdout"), packet[1:]

    def write(self, data: bytes) -> None:
        try:
            for start in range(0, len(data), _ATTACH_PACKET - 1):
                self._socket.send(data[start : start + _ATTACH_PACKET - 1], socket.MSG_NOSIGNAL)
        except OSError as error:
            raise FailedPrecondition("standard input of the task is closed") from error

    def close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal:
            with contextlib.suppress(FailedPrecondition):  # it has just ended
                conmon.resize(self._bundle, rows, columns)

    def wait(self) -> int:
        return self._wait()

    def kill(self, signal: int) -> None:
        del signal  # who attaches looks on; the runtime's kill is for the task

    def close(self) -> None:
        self._socket.close()


def runtime_message(log: Path) -> str:
    """The last complaint in an OCI runtime's JSON log."""
    with contextlib.suppress(OSError):
        for line in reversed(log.read_bytes()[-65536:].splitlines()):
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and value.get("msg"):
                    return str(value["msg"])
    return "no message"


def _connect(bundle: Bundle) -> socket.socket:
    directory = os.open(bundle.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # A socket address has room for 107 bytes; this one is short wherever the run root is.
        connection.connect(f"/proc/self/fd/{directory}/attach")
    except OSError as error:
        connection.close()
        raise FailedPrecondition("the supervisor of the container is gone; it cannot be attached to") from error
    finally:
        os.close(directory)
    return connection


def _spawn(command: Sequence[str], stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(command), stdin=stdin, stdout=stdout, stderr=stderr, env=conmon.ENVIRONMENT, close_fds=True, cwd="/"
    )


def _set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def _set_size_inside(pid: int, rows: int, columns: int) -> None:
    """crun's exec does not pass a new size on: set it on the terminal the process has, if that is what it has."""
    with contextlib.suppress(OSError):
        handle = os.open(f"/proc/{pid}/fd/0", os.O_PATH | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            # Whatever else a process puts there is not opened: a pty slave has one of these major numbers.
            if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) not in range(136, 144):
                return
            terminal = os.open(f"/proc/self/fd/{handle}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(handle)
        try:
            _set_size(terminal, rows, columns)
        finally:
            os.close(terminal)


def _send(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
