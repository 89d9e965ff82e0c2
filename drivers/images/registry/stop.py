"""How the threads of one pull are ended at once: nothing waits on, neither for a socket nor for a delay."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from resources.errors import Cancelled


class Stop:
    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._lines: set[Line] = set()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            lines = list(self._lines)
        for line in lines:
            line.cut()

    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises: Cancelled."""
        if self._event.is_set():
            raise Cancelled("the pull was cancelled")

    def wait(self, seconds: float) -> None:
        """Raises: Cancelled."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def watching(self, line: "Line") -> Iterator[None]:
        """Cut the line when the stop comes, for as long as the context lasts."""
        with self._lock:
            self._lines.add(line)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._lines.discard(line)


class Line:
    """A second hold on a connection's socket. TLS takes the first one over while it greets; cutting works all the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def attach(self, connected: socket.socket) -> None:
        with self._lock:
            self._release()
            self._socket = connected.dup()
            if self._cut:
                self._shut()

    def cut(self) -> None:
        """From any thread: whoever reads from or writes to the connection gets an error at once."""
        with self._lock:
            self._cut = True
            self._shut()

    def close(self) -> None:
        with self._lock:
            self._release()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Watchdog:
    """Cuts a line when one step on it lasts longer than so many seconds; it looks each time they have passed.

    A socket's own timeout begins anew with every byte: a line of text that never ends never meets it.
    """

    def __init__(self, line: Line, seconds: float) -> None:
        self._line = line
        self._seconds = seconds
        self._since: float | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._closed = False
        self._arm()

    @contextmanager
    def step(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _arm(self) -> None:
        with self._lock:
            if not self._closed:
                self._timer = threading.Timer(self._seconds, self._look)
                self._timer.daemon = True
                self._timer.start()

    def _look(self) -> None:
        since = self._since
        if since is not None and time.monotonic() - since >= self._seconds:
            self._line.cut()
        else:
            self._arm()
