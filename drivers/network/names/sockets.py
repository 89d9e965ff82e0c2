"""Sockets of the host's network, from addresses written as numbers."""

import socket
from typing import Any


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Of IPv6 alone where the address is. Raises: OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(numeric(address, port, kind))
    except BaseException:
        made.close()
        raise
    return made


def numeric(address: str, port: int, kind: socket.SocketKind) -> tuple[Any, ...]:
    """With the number of the zone, which IPv6 addresses may name."""
    return socket.getaddrinfo(address, port, 0, kind, 0, socket.AI_NUMERICHOST)[0][4]
