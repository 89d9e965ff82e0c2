"""One engine a state root: held by a lock that ends with its process, however it ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from resources.errors import FailedPrecondition

HANDOVER = 15.0
"""Seconds in which one that ends, or was killed, lets go of it."""
_NAMED = 1.0
"""Seconds in which one that has just got it says who it is."""
_LOOK = 0.02
_ENDS = "ends"
_SIGKILL = 1 << 8


class Held(FailedPrecondition):
    """Another engine has the root, and stays."""


class EngineLock:
    """Raises: Held naming the process that holds it."""

    def __init__(self, root: Path) -> None:
        # On the folder, which nobody removes by mistake as a file in it may be; the file says whose it is.
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file = root / "engine.lock"
        begun = time.monotonic()
        while not self._taken():
            pid, ends = _holder(self._file)
            patience = HANDOVER if ends or (pid and not _stays(pid)) else 0 if pid else _NAMED
            if time.monotonic() - begun >= patience:
                os.close(self._fd)
                raise Held(
                    f"another engine (pid {pid or 'unknown'}) serves {root}",
                    hint="talk to that one, end it with `lading shutdown`, or give another --root",
                )
            time.sleep(_LOOK)
        self._note("")

    def leaving(self) -> None:
        """Whoever comes now waits for the lock."""
        self._note(f" {_ENDS}")

    def release(self) -> None:
        os.close(self._fd)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _note(self, word: str) -> None:
        with contextlib.suppress(OSError):  # a full disk, say
            self._file.write_text(f"{os.getpid()}{word}\n")


def _holder(file: Path) -> tuple[str, bool]:
    """Its pid, "" where that is not known; and whether it is about to end."""
    try:
        words = file.read_bytes()[:32].decode(errors="replace").split()
    except OSError:
        return "", False
    pid = words[0] if words and words[0].isdecimal() else ""
    return pid, words[1:] == [_ENDS]


def _stays(pid: str) -> bool:
    """One that was killed may hold the lock until the last of its threads has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    killed = any(int(found.get(name, "0"), 16) & _SIGKILL for name in ("SigPnd", "ShdPnd"))
    return not killed and found.get("State", "X").strip()[:1] not in "ZX"
