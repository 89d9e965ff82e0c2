"""The loopback link of the namespace a thread is in: one netlink message to raise it, one to look."""

import errno
import os
import socket
import struct

_RTM_NEWLINK, _RTM_GETLINK, _NLMSG_ERROR = 16, 18, 2
_REQUEST, _ACK = 1, 4
_IFF_UP = 1
_LOOPBACK = 1
"""The index of `lo` in every network namespace."""
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")


def raise_loopback() -> None:
    """Raises: OSError."""
    answer = _ask(_RTM_NEWLINK, _REQUEST | _ACK, _IFINFO.pack(0, 0, _LOOPBACK, _IFF_UP, _IFF_UP))
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0] if kind == _NLMSG_ERROR else errno.EPROTO
    if code:
        raise OSError(code, os.strerror(code))


def loopback_is_up() -> bool:
    answer = _ask(_RTM_GETLINK, _REQUEST, _IFINFO.pack(0, 0, _LOOPBACK, 0, 0))
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWLINK:
        return False
    flags: int = _IFINFO.unpack_from(answer, _HEADER.size)[3]
    return bool(flags & _IFF_UP)


def _ask(kind: int, flags: int, body: bytes) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        return link.recv(65536)
