"""Starting an engine in the background for a command that found none, and waiting for one that ends."""

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from controller.cli.client.connection import connect, peer
from controller.cli.client.conversation import SILENCE, process_state, unanswered
from controller.cli.words import Line

if TYPE_CHECKING:
    from _socket import socket

CHECKOUT = os.path.abspath(__file__).rsplit("/", 4)[0]
"""Where `controller` is imported from, as here."""
_PATIENCE = 120.0
_STARTS = 3
_GRACE = 2.0
_ANOTHER = 75
"""With which an engine ends whose root another one has (controller.daemon)."""
_LAST_LINES = 12
_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def start(line: Line) -> "socket | None":
    """Start an engine and connect to it; None when that fails, which has then been explained."""
    if os.geteuid() != 0:
        sys.stderr.write("lading: no engine runs here, and only root can start one\n")
        return None
    log = os.path.join(line.root, "engine.log")
    for _ in range(_STARTS):
        try:
            os.makedirs(line.root, mode=0o700, exist_ok=True)
            begin = os.stat(log).st_size if os.path.exists(log) else 0
            pid = _spawn(line, log)
        except OSError as error:
            sys.stderr.write(f"lading: no engine can be started in {line.root}: {error.strerror}\n")
            return None
        child = _Child(pid)
        try:
            connection = _await(child, line)
        finally:
            child.close()
        if connection is not None:
            if peer(connection) == pid:
                sys.stderr.write(f"started an engine (pid {pid}); `lading shutdown` ends it\n")
            return connection
        if child.code != _ANOTHER:
            break
    how = f" (it was ended by signal {-child.code})" if child.code is not None and child.code < 0 else ""
    sys.stderr.write(f"lading: the engine did not start{how}; the end of {log}:\n{_tail(log, begin)}")
    return None


class _Child:
    """The engine that was started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        """As of subprocess; None while it runs."""
        self._handle = os.pidfd_open(pid)

    def ended(self) -> bool:
        if self.code is None and _ended(self._handle, 0):
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def dismiss(self) -> None:
        """Somebody else's came first. Ours could still take over, should that one end before it looks."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGTERM)

    def close(self) -> None:
        os.close(self._handle)


def await_end(pid: int) -> int:
    """An engine that shuts down has let go of its files once this returns."""
    try:
        engine = os.pidfd_open(pid)
    except OSError:  # it has ended already
        return 0
    try:
        if not _ended(engine, _PATIENCE):
            sys.stderr.write(f"lading: the engine (pid {pid}) has not ended within {_PATIENCE:.0f} s\n")
            return 1
        return 0
    finally:
        os.close(engine)


def _spawn(line: Line, log: str) -> int:
    program = (
        f"import sys; sys.path.insert(0, {CHECKOUT!r}); from controller.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    roots = ["--root", os.path.abspath(line.root), "--run-root", os.path.abspath(line.run_root)]
    arguments = [sys.executable, "-IS", "-c", program, *roots, "serve", "--background"]
    return os.posix_spawn(
        sys.executable,
        arguments,
        {name: value for name, value in os.environ.items() if _kept(name)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _kept(name: str) -> bool:
    """The engine outlives the shell it was started from: what that has in its environment is not for it to keep."""
    return name.upper() in _KEPT or name.startswith(("LADING_", "LC_"))


def _await(child: _Child, line: Line) -> "socket | None":
    begun = time.monotonic()
    told, grace = False, 0.0
    while (now := time.monotonic()) < begun + _PATIENCE:
        connection = _connected(line.run_root)
        if connection is not None:
            if peer(connection) != child.pid:
                child.dismiss()
            return connection
        if child.ended():
            # Another engine may have been a moment faster: it holds the root and is about to answer, or has been killed.
            grace = grace or now + _GRACE
            if child.code != _ANOTHER or (now > grace and not _engine_at(line.root)):
                return None
        elif not told and now > begun + SILENCE:
            told = True
            state = process_state(child.pid)
            sys.stderr.write(f"lading: {_late(child.pid, state)}\n")
        time.sleep(0.005)
    return None


def _connected(run_root: str) -> "socket | None":
    try:
        return connect(run_root)
    except BlockingIOError:  # it has more to do than it can take in, and will
        return None


def _late(pid: int, state: str) -> str:
    if state == "stopped":
        return unanswered(pid, state, SILENCE)
    return f"the engine (pid {pid}) is still starting after {SILENCE} s"


def _engine_at(root: str) -> bool:
    """Whether the one that had the root last lives, by all that can be seen."""
    try:
        with open(os.path.join(root, "engine.lock"), "rb") as file:
            pid = int(file.read(32).split()[0])
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"\0serve\0" in file.read(65536) and process_state(pid) != "killed"
    except (OSError, ValueError, IndexError):
        return False


def _ended(process: int, within: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(within * 1000))


def _tail(log: str, begin: int) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(begin)
            lines = file.read(1 << 20).decode(errors="replace").splitlines()
    except OSError as error:
        return f"  ({error.strerror})\n"
    return "".join(f"  {entry}\n" for entry in lines[-_LAST_LINES:]) or "  (it says nothing)\n"
