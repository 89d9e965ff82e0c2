"""The connection of a client to an engine: a socket in its run root."""

import posix
import sys
from _socket import AF_UNIX, SO_PEERCRED, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET, socket

CONNECT_SECONDS = 10


def connect(run_root: str) -> "socket | None":
    """None when no engine answers. Raises: OSError when there may be one that cannot be talked to, BlockingIOError when
    it takes nobody in."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        send_within(connection, CONNECT_SECONDS)
        connect_to(connection, run_root)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def connect_to(connection: socket, run_root: str) -> None:
    if len(run_root) < 90:
        connection.connect(f"{run_root}/command.sock")
        return
    # An address has room for 107 bytes; this way it is short wherever the run root is.
    folder = posix.open(run_root, posix.O_PATH | posix.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/command.sock")
    finally:
        posix.close(folder)


def peer(connection: socket) -> int:
    """The pid of who listens there."""
    return int.from_bytes(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[:4], sys.byteorder)


def send_within(connection: socket, seconds: int) -> None:
    """Whether connecting or sending: BlockingIOError after so long."""
    connection.setsockopt(SOL_SOCKET, SO_SNDTIMEO, seconds.to_bytes(8, sys.byteorder) + bytes(8))
