"""The real command as tests run it, from a terminal too."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[4]
START = (
    f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from controller.cli.main import main; "
    "sys.exit(main(sys.argv[1:]))"
)


def command(run_root: Path, *argv: str, options: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-IS", *options, "-c", START, "--run-root", str(run_root), *argv]


def call(run_root: Path, *argv: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command(run_root, *argv), capture_output=True, timeout=60, check=False, **options)


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.005)


class Terminal:
    """What a user sits at."""

    def __init__(self, *argv: str) -> None:
        self.master, self._slave = pty.openpty()
        self.size(24, 80)
        self.before = termios.tcgetattr(self._slave)
        environment = {**os.environ, "TERM": "xterm"}
        self.client = subprocess.Popen(
            argv, stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True, env=environment
        )
        self.shown = b""

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def raw(self) -> bool:
        return not termios.tcgetattr(self._slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    @property
    def as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def shows(self, text: bytes) -> bool:
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536)
        return text in self.shown

    def end(self) -> None:
        if self.client.poll() is None:
            self.client.kill()
        self.client.wait()
        os.close(self.master)
        os.close(self._slave)


@contextmanager
def terminal(argv: Sequence[str]) -> Iterator[Terminal]:
    made = Terminal(*argv)
    try:
        yield made
    finally:
        made.end()
