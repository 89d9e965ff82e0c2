"""Sockets of the host's network, from addresses written as numbers."""

import errno
import socket
from typing import Any

_TCP_REPAIR, _REPAIR_ENDS = 19, -1


def bound(kind: socket.SocketKind, address: str, port: int, *, beside: bool = False) -> socket.socket:
    """To be served. Of IPv6 alone where the address is. `beside` another of ours, which is bound to all addresses and lets it
    at this moment. Raises: OSError."""
    made = _made(kind, address)
    try:
        if kind == socket.SOCK_STREAM or beside:
            share(made, True)
        made.bind(numeric(address, port, kind))
        if kind == socket.SOCK_DGRAM:
            share(made, False)
    except BaseException:
        made.close()
        raise
    return made


def held(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Bound, so that nobody else is, and never served. Raises: OSError."""
    made = _made(kind, address)
    try:
        place = numeric(address, port, kind)
        if kind == socket.SOCK_DGRAM:
            # What comes while there is no rule stays here, and that is as little as can be.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            made.bind(place)
        else:
            _bind_past_connections(made, place)
    except BaseException:
        made.close()
        raise
    return made


def share(one: socket.socket, shared: bool) -> None:
    """Whether another that says so too may be bound beside it."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)


def numeric(address: str, port: int, kind: socket.SocketKind) -> tuple[Any, ...]:
    """With the number of the zone, which IPv6 addresses may name."""
    return socket.getaddrinfo(address, port, 0, kind, 0, socket.AI_NUMERICHOST)[0][4]


def _made(kind: socket.SocketKind, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def _bind_past_connections(made: socket.socket, place: tuple[Any, ...]) -> None:
    """Connections go on, or wait to be forgotten, when who listened is gone; and others begin at any port of the host. None of
    them is led anywhere by a rule, and none of them listens."""
    try:
        made.bind(place)
        return
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    try:
        share(made, True)
        made.bind(place)
        return
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _is_anybodys(place[0], place[1]):
            raise
    finally:
        share(made, False)
    made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    made.bind(place)
    made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ENDS)


def _is_anybodys(address: str, port: int) -> bool:
    """Whether a socket is bound there that is no connection; also when the kernel does not tell those that do not listen."""
    try:
        # Needed hardly ever, and a quarter of the size of the process.
        from drivers.network.ports.listeners import all_listeners
        from resources.errors import EngineError
        from resources.ports import overlap
    except ImportError:  # another version is installed by now than the one that runs
        return True
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        try:
            found = [one for one in all_listeners() if one.protocol == "tcp"]
        except EngineError:
            return True
        told = any(one.port == mine.getsockname()[1] for one in found)
    return not told or any(one.port == port and overlap(one.place, address) for one in found)
