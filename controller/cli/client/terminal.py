"""The user's standard input, lent to a stream in the engine: raw where both sides are terminals."""

import posix
import signal
import sys
import termios
import tty

from controller.cli.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_LEAVE_KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q, as in other engines."""


class Terminal:
    """`wanted`: the engine is ready for input. Nothing is read before, so that what it does not want stays unread."""

    def __init__(self, send: "Callable[[bytes, bytes], None]", *, raw: bool, detachable: bool) -> None:
        self.wanted = False
        self._send = send
        self._keys = _LEAVE_KEYS if detachable else b""
        self._held = b""
        self._mode = termios.tcgetattr(0) if raw and posix.isatty(0) else None
        self._handlers = {}
        if self._mode is not None:
            # Whoever ends us while the terminal is raw shall not leave it so.
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _end)
            tty.setraw(0, termios.TCSADRAIN)

    def restore(self) -> None:
        if self._mode is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._mode)
            self._mode = None
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def pass_input(self) -> None:
        """Send on what there is; end of input is an empty frame."""
        try:
            data = posix.read(0, frames.CHUNK)
        except BlockingIOError:
            return
        except OSError:  # the terminal has gone
            data = b""
        self.wanted = False
        if not data or not self._keys:
            self._send(frames.INPUT, data)
            return
        data = self._held + data
        before, keys, _ = data.partition(self._keys)
        if keys:
            if before:
                self._send(frames.INPUT, before)
            self._send(frames.DETACH, b"")
            return
        self._held = data[-1:] if data.endswith(self._keys[:1]) else b""
        data = data[: len(data) - len(self._held)]
        if data:
            self._send(frames.INPUT, data)
        else:
            self.wanted = True


def _end(number: int, _: "FrameType | None") -> None:
    sys.exit(128 + number)
