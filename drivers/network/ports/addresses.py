"""The addresses of the host, and whether programs may bind others: those of the calling thread's network namespace."""

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from drivers.network.netlink.messages import Netlink, Request, attributes, fixed

_GET_ADDRESS = 22
_IFADDR = struct.Struct("=BBBBI")
_ADDRESS, _LOCAL = 1, 2
_MAY_BIND_OTHERS = {4: Path("/proc/sys/net/ipv4/ip_nonlocal_bind"), 6: Path("/proc/sys/net/ipv6/ip_nonlocal_bind")}


def host_addresses() -> Sequence[str]:
    """IPv4 first, in the order of their links. Raises: EngineError."""
    found = []
    with Netlink() as kernel:
        for reply in kernel.dump("cannot list addresses", Request(_GET_ADDRESS, _IFADDR.pack(0, 0, 0, 0, 0))):
            family, _, _, _, link = fixed(_IFADDR, reply.body)
            values = attributes(reply.body, _IFADDR.size)
            value = values.get(_LOCAL) or values.get(_ADDRESS)
            if value:
                found.append((family, link, str(ip_address(value))))
    return [value for _, _, value in sorted(found, key=lambda one: one[:2])]


def unbound_families() -> frozenset[int]:
    """Families (4, 6) of which a program may bind addresses that are not there: floating ones, say."""
    return frozenset(family for family, path in _MAY_BIND_OTHERS.items() if _on(path))


def _on(path: Path) -> bool:
    try:
        return path.read_bytes().strip() == b"1"
    except OSError:  # without IPv6
        return False
