"""Who has the process's lock and cannot be spoken to: one that hangs before it is there."""

import os
import select
import signal
from contextlib import suppress

NAME = b"lading-resolver"
"""What the process calls itself, before it takes the lock."""
_PATIENCE = 2500


def holder(lock: str) -> int | None:
    """The number of the process that has it, as far as that can be seen from here."""
    try:
        status = os.stat(lock, follow_symlinks=False)
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open("/proc/locks") as file:
            for line in file:
                words = line.split()
                if len(words) > 5 and words[1] == "FLOCK" and words[5] == place and int(words[4]) > 0:
                    return int(words[4])
    except (OSError, ValueError):
        pass
    return None


def end_holder(lock: str) -> None:
    """Only a process of ours. Whoever has the lock otherwise keeps it."""
    pid = holder(lock)
    if pid is None:
        return
    with suppress(OSError):
        process = os.pidfd_open(pid)
        try:
            with open(f"/proc/{pid}/comm", "rb") as file:
                name = file.read().strip()
            if holder(lock) == pid and name == NAME:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                ended = select.poll()
                ended.register(process, select.POLLIN)
                ended.poll(_PATIENCE)
        finally:
            os.close(process)
