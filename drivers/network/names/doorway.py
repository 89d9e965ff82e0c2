"""Where a sandbox asks: sockets that are opened inside its network namespace, and hold it until they are closed."""

import os
import socket
from contextlib import suppress

from drivers.kernel.namespaces import Namespace, setns
from drivers.network.names.redirect import Redirect

ADDRESS = "127.0.0.11"
_PORTS = (1021, 1022, 0)
"""Ports that no service has (RFC 4727), and at last any: a container may listen at all addresses of whatever port it likes."""
_IP_FREEBIND = 15
_BACKLOG = 64

Identity = tuple[int, int]


class Doorway:
    __slots__ = ("identity", "redirect", "tcp", "udp")

    def __init__(self, netns: str) -> None:
        """Raises: OSError."""
        fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # whatever lies there
        try:
            status = os.fstat(fd)
            self.identity = (status.st_dev, status.st_ino)
            self.udp, self.tcp, self.redirect = _visit(fd)
        finally:
            os.close(fd)

    def leads_to(self, netns: str) -> bool:
        """Whether that path is still, or again, the namespace it was opened in."""
        return identity(netns) == self.identity

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()
        self.redirect.close()


def identity(netns: str) -> Identity | None:
    try:
        status = os.stat(netns)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _visit(fd: int) -> tuple[socket.socket, socket.socket, Redirect]:
    """There and back in the only thread of the process: a thread for it would take longer than all the rest."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, Namespace.NETWORK)
        try:
            return _open()
        finally:
            try:
                setns(home, Namespace.NETWORK)
            except OSError:
                os._exit(1)  # never to go on in a container's network: the next process begins at home
    finally:
        os.close(home)


def _open() -> tuple[socket.socket, socket.socket, Redirect]:
    opened: list[socket.socket] = []
    try:
        opened.append(_bound(socket.SOCK_DGRAM))
        opened.append(_bound(socket.SOCK_STREAM))
        udp, tcp = opened
        tcp.listen(_BACKLOG)
        redirect = Redirect(ADDRESS, udp.getsockname()[1], tcp.getsockname()[1])
    except BaseException:
        for one in opened:
            one.close()
        raise
    return udp, tcp, redirect


def _bound(kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # loopback may be down at this moment
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections of a process before this one
        for port in _PORTS[:-1]:
            with suppress(OSError):
                made.bind((ADDRESS, port))
                return made
        made.bind((ADDRESS, _PORTS[-1]))
    except BaseException:
        made.close()
        raise
    return made
