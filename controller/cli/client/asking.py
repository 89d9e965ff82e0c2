"""One question to the user at the terminal, and the line that is typed for it."""

import os
import signal
import sys
import termios

from resources.errors import Cancelled, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_MAX = 8192


def ask(question: str, *, hidden: bool) -> str:
    """Raises: InvalidArgument without a terminal; Cancelled for Ctrl-C, Ctrl-D and the end of the terminal."""
    if not os.isatty(0):
        raise InvalidArgument("there is no terminal to ask on")
    sys.stderr.write(question)
    sys.stderr.flush()
    mode = termios.tcgetattr(0)
    # Whoever ends us here shall not leave the terminal without its echo.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, _interrupted) for number in numbers}
    try:
        if hidden:
            silent = [*mode[:3], mode[3] & ~termios.ECHO, *mode[4:]]
            termios.tcsetattr(0, termios.TCSAFLUSH, silent)
        return _line()
    except (KeyboardInterrupt, OSError) as error:
        raise Cancelled("interrupted") from error
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, mode)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if hidden:
            sys.stderr.write("\n")
            sys.stderr.flush()


def _line() -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, _MAX)
        data += piece
        if not piece or len(data) > _MAX:
            raise Cancelled("interrupted")
    return data.decode("utf-8", "replace").rstrip("\r\n")


def _interrupted(*_: "int | FrameType | None") -> None:
    raise KeyboardInterrupt
