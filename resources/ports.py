"""PURE: when two ports of the host get in each other's way."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

MAX_PORTS = 4096
"""Of one container. Each is a socket and a few rules, and of sockets all containers together have what one process may
open."""
_WILDCARDS = {"": frozenset({4, 6}), "0.0.0.0": frozenset({4}), "::": frozenset({6})}


def overlap(one: str | None, other: str | None) -> bool:
    """Whether the same port of the same protocol can be had at only one of these two addresses of the host: one is all
    addresses of a family the other has, or they are the same. None and "" are 0.0.0.0 and [::] together.

    Raises: ValueError for what is no address.
    """
    first, second = canonical(one), canonical(other)
    if first == second:
        return True
    if first not in _WILDCARDS and second not in _WILDCARDS:
        return False
    return bool(_families(first) & _families(second))


@lru_cache(maxsize=4096)
def canonical(address: str | None) -> str:
    """The one way it is written here. An IPv6 address that stands for an IPv4 one is that one: the kernel says so too.

    Raises: ValueError.
    """
    if not address:
        return ""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _families(address: str) -> frozenset[int]:
    """4, 6 or both: what of IP a canonical address is of."""
    return _WILDCARDS.get(address) or frozenset({6 if ":" in address else 4})
