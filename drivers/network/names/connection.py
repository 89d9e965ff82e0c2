"""The engine's end of the process's socket."""

import os
import socket
import struct
from pathlib import Path

from drivers.network.names.framing import SOCKET

TIMEOUT = 5.0
_PEER = struct.Struct("=3i")


class Gone(Exception):
    """There is no process, or it ended before it answered."""


def connect(folder: Path) -> socket.socket:
    """Raises: Gone."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # a timeout of Python's costs a system call more each time
        made.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(TIMEOUT), 0))
    try:
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            made.connect(f"/proc/self/fd/{at}/{SOCKET}")  # the path may be longer than the address of a socket may be
        finally:
            os.close(at)
    except OSError:
        made.close()
        raise Gone from None
    return made


def peer(connection: socket.socket) -> int:
    """The process's number."""
    pid: int = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
    return pid


def is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def process_of(connection: socket.socket) -> int:
    """A descriptor of the process. Raises: Gone."""
    try:
        process = os.pidfd_open(peer(connection))
    except ProcessLookupError:
        raise Gone from None
    if is_open(connection):
        return process
    os.close(process)  # that number may be another process's by now
    raise Gone
