"""The resolver process: `python -I -S process.py <folder> <instance>`.

It is started by path and loads the standard library and modules of ours that need no more. It puts itself in the background:
whoever starts it reads "ready", or why not, and its exit code.
"""

import os
import sys

if not __package__:
    # Isolated from environment and working directory: the tree it belongs to is found from its own place.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)).rsplit(os.sep, 3)[0])

import errno
import fcntl
import resource
import signal
import socket
import stat
import time
from contextlib import suppress

from drivers.kernel import files
from drivers.network.names.control import Control
from drivers.network.names.framing import LOCK, LOG, SNAPSHOT, SOCKET
from drivers.network.names.holder import NAME, end_holder, holder
from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import Loop
from drivers.network.names.service import Service
from drivers.network.names.snapshot import Snapshot

_LOCK_WAIT = 5.0
"""How long one that was told to end, or killed, may take to be gone. Then it is ended."""
_READY_WAIT = 15
"""Seconds until the kernel ends a process that is not ready: whatever it hangs at, it is in nobody's way."""
_MAX_LOG = 64 * 1024
_OUT_OF_MEMORY_SCORE = b"-500"
_SPARE = 128
"""Descriptors for what nobody counts: the engine's connections, files."""
_BACKLOG = 64
_LOOK = 2.0
"""How often the process looks whether it can still be found. One that cannot would hold names and ports for ever."""


class Log:
    """Short lines of our own words: no name, no packet. When it is full it begins anew."""

    def __init__(self, path: str) -> None:
        self._fd = files.held_open(path, os.O_WRONLY | os.O_APPEND)

    def say(self, text: str) -> None:
        with suppress(OSError):
            if os.fstat(self._fd).st_size > _MAX_LOG:
                os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())

    def failure(self, error: Exception) -> None:
        number = f" {error.errno}" if isinstance(error, OSError) else ""
        self.say(f"failed: {type(error).__name__}{number} at {_where(error)}")


def _where(error: Exception) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else "?"


def main(folder: str) -> int:
    os.umask(0o077)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        answer = os.read(reader, 4096)
        os.write(1, answer or b"it ended before it was ready")
        return 0 if answer == b"ready" else 1
    os.close(reader)
    _leave_everything(writer)
    signal.alarm(_READY_WAIT)
    try:
        files.make_folder(folder)
        lock = _locked(folder)
        if lock is None:
            os.write(writer, b"ready")
        else:
            _serve(folder, lock, writer)
    except Exception as error:
        with suppress(OSError):
            said = files.reason(error) if isinstance(error, OSError) else f"it failed at {_where(error)}"
            os.write(writer, said.encode(errors="replace")[:4096])
        return 1
    return 0


def _serve(folder: str, lock: int, writer: int) -> None:
    log = Log(os.path.join(folder, LOG))
    loop = Loop(log.failure)
    descriptors = Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE)
    service = Service(loop, descriptors, Snapshot(os.path.join(folder, SNAPSHOT)))
    found, lost = service.restore()
    log.say(f"ready: {found} restored, {lost} gone")
    # Only now can it be found: whoever finds it finds it whole.
    control = Control(loop, _listening(folder), service.handle, log.failure)
    _stay_findable(folder, lock, loop, control)
    with suppress(BrokenPipeError):  # whoever started it was killed meanwhile
        os.write(writer, b"ready")
    os.close(writer)
    signal.alarm(0)
    loop.run()


def _stay_findable(folder: str, lock: int, loop: Loop, control: Control) -> None:
    """Where the socket was removed there is a new one; without its lock, another process may serve the folder: it ends."""
    mine, found = os.fstat(lock), _status(folder, SOCKET)

    def look() -> None:
        nonlocal found
        loop.later(_LOOK, look)
        there = _status(folder, LOCK)
        if there is None or not os.path.samestat(there, mine):
            loop.stop()
            return
        there = _status(folder, SOCKET)
        if there is None or found is None or not os.path.samestat(there, found):
            control.listen(_listening(folder))
            found = _status(folder, SOCKET)

    loop.later(_LOOK, look)


def _status(folder: str, name: str) -> os.stat_result | None:
    try:
        return os.lstat(os.path.join(folder, name))
    except OSError:
        return None


def _listening(folder: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    temporary = f".{SOCKET}.new"
    os.chdir(folder)  # the path may be longer than the address of a socket may be
    files.clear(temporary)
    made.bind(temporary)
    os.chmod(temporary, 0o600)
    made.listen(_BACKLOG)
    if (there := _status(".", SOCKET)) is not None and stat.S_ISDIR(there.st_mode):
        files.clear(SOCKET)
    os.rename(temporary, SOCKET)
    os.chdir("/")
    return made


def _locked(folder: str) -> int | None:
    """The lock, until the process ends. None when there is another one that serves already.

    Raises: TimeoutError.
    """
    path = os.path.join(folder, LOCK)
    deadline, patient = time.monotonic() + _LOCK_WAIT, True
    while True:
        fd = files.held_open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd  # never closed: the descriptor is the lock
        except (BlockingIOError, FileNotFoundError):
            if _answers(folder):
                return None
        os.close(fd)
        if time.monotonic() > deadline:
            if not patient:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"held by process {holder(path) or 'unknown'}, which does not answer", path
                )
            end_holder(path)
            deadline, patient = time.monotonic() + 1.0, False
        time.sleep(0.005)


def _answers(folder: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as made:
        os.chdir(folder)
        made.settimeout(1.0)
        try:
            made.connect(SOCKET)
        except OSError:
            return False
        finally:
            os.chdir("/")
    return True


def _leave_everything(keep: int) -> None:
    """Nothing of whoever started it: session, descriptors, signals, limits, working directory."""
    os.setsid()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != keep:
            with suppress(OSError):
                os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path, text in (("oom_score_adj", _OUT_OF_MEMORY_SCORE), ("comm", NAME)):
        with suppress(OSError), open(f"/proc/self/{path}", "wb") as file:
            file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
