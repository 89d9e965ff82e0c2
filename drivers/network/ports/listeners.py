"""Sockets of the host's own network that listen or are bound to, and whose they are.

The kernel is asked over netlink (sock_diag); one that cannot answer has the lists in /proc/net, which do not say whether a
socket of IPv6 takes IPv4 too: then it is taken to. What answers is the network namespace of the calling thread.
"""

import os
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from functools import lru_cache
from pathlib import Path

from drivers.network.names.interface import Forward
from drivers.network.netlink.messages import Netlink, Request, attributes
from drivers.network.ports.interface import Listener, SocketOwner, Transport
from resources.errors import NotFound, Unsupported
from resources.ports import overlap

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI48x")
_SOCKET = struct.Struct("=BxxxH2x16s44xI")
_ONLY_IPV6 = 11
_LISTENING, _UNCONNECTED, _BOUND = 10, 7, 13
"""A kernel before 6.8 does not tell of those that are bound alone."""
_TRANSPORTS: tuple[tuple[Transport, int, tuple[int, ...]], ...] = (
    ("tcp", socket.IPPROTO_TCP, (_LISTENING, _BOUND)),
    ("udp", socket.IPPROTO_UDP, (_UNCONNECTED,)),
)
_FAMILIES = {socket.AF_INET: "", socket.AF_INET6: "6"}
_INIT = 1
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


class HostListeners:
    """`stand_in` is the process of ours that holds ports, and listens where no rule can: what it has is not told."""

    def __init__(self, stand_in: Callable[[], int | None]) -> None:
        self._stand_in = stand_in

    def __call__(self) -> Sequence[Listener]:
        found = all_listeners()
        pid = self._stand_in()
        own = frozenset() if pid is None else set(_sockets(pid))
        return [one for one in found if one.inode not in own]

    def whose(self, ports: Sequence[Forward]) -> str:
        """In words, the first of these that somebody has; "" when nobody has any."""
        found: defaultdict[tuple[Transport, int], list[Listener]] = defaultdict(list)
        for one in self():
            found[one.protocol, one.port].append(one)
        for port in ports:
            for one in found[port.protocol, port.port]:
                if overlap(one.place, port.address):
                    by = owner(one)
                    what = f"the host's port {port.port}/{port.protocol} is in use"
                    return f"{what}: {by} has it at {one.place or 'every address'}" if by else what
        return ""


def all_listeners() -> list[Listener]:
    """Raises: EngineError."""
    found: list[Listener] = []
    with Netlink(_SOCK_DIAG) as netlink:
        for transport, protocol, states in _TRANSPORTS:
            for family, suffix in _FAMILIES.items():
                request = Request(_BY_FAMILY, _REQUEST.pack(family, protocol, 0, sum(1 << state for state in states)))
                try:
                    replies = netlink.dump("cannot list sockets", request)
                except (NotFound, Unsupported):  # a kernel without this part of it
                    found += _of_proc(transport, states[0], Path(f"/proc/thread-self/net/{transport}{suffix}"))
                    continue
                found += [_listener(transport, reply.body) for reply in replies]
    return [one for one in found if one.port]


def owner(listener: Listener) -> SocketOwner | None:
    """Of several processes that have the socket the one that was there first, and before init, which may have opened it for
    another."""
    if not listener.inode:
        return None
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    for pid in sorted(pids, key=lambda pid: (pid == _INIT, pid)):
        if listener.inode in _sockets(pid):
            return SocketOwner(pid, _name(pid))
    return None


def reserved_ports() -> Set[int]:
    """What the administrator keeps free ports from being taken of."""
    try:
        return ports_of(_RESERVED.read_text())
    except OSError:
        return frozenset()


def ports_of(text: str) -> frozenset[int]:
    """Of a list such as `80,8000-8009`."""
    ends = [part.split("-") for part in text.replace(",", " ").split()]
    return frozenset(port for end in ends for port in range(int(end[0]), int(end[-1]) + 1))


def _listener(transport: Transport, message: bytes) -> Listener:
    family, port, address, inode = _SOCKET.unpack_from(message)
    written = _written(family, address)
    only = written == "::" and attributes(message, _SOCKET.size).get(_ONLY_IPV6) == b"\1"
    return Listener(transport, written, socket.ntohs(port), only, inode)


def _of_proc(transport: Transport, state: int, path: Path) -> Iterator[Listener]:
    try:
        lines = path.read_bytes().splitlines()[1:]
    except FileNotFoundError:  # without IPv6
        return
    for line in lines:
        fields = line.split(None, 10)
        if int(fields[3], 16) == state:
            address, _, port = fields[1].partition(b":")
            # Words of 32 bits, each printed as a number of this machine.
            words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
            family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
            packed = struct.pack(f"={len(words)}I", *words).ljust(16, b"\0")
            yield Listener(transport, _written(family, packed), int(port, 16), inode=int(fields[9]))


@lru_cache(maxsize=1024)
def _written(family: int, packed: bytes) -> str:
    return socket.inet_ntop(family, packed[: 4 if family == socket.AF_INET else 16])


def _sockets(pid: int) -> Iterator[int]:
    """The inodes of all it has open; none when it is gone."""
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for entry in entries:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _name(pid: int) -> str:
    try:
        said = Path(f"/proc/{pid}/comm").read_bytes()[:64].rstrip(b"\n").decode(errors="replace")
    except OSError:
        said = ""
    return "".join(character if character.isprintable() else "?" for character in said) or "a process"
