"""PURE: which subnets a network can have, and which of their addresses a host."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_NEVER = tuple(
    (ip_network(subnet), what)
    for subnet, what in (
        ("0.0.0.0/8", "means this host"),
        ("127.0.0.0/8", "is each host's own"),
        ("169.254.0.0/16", "is link-local"),
        ("224.0.0.0/3", "is multicast or reserved"),
        ("::/96", "is reserved"),
        ("::ffff:0:0/96", "stands for IPv4; write IPv4 itself"),
        ("fe80::/10", "is link-local"),
        ("ff00::/8", "is multicast"),
    )
)


@lru_cache(maxsize=4096)
def unusable(subnet: Network) -> str:
    """Why it cannot be a subnet of a network; "" when it can."""
    for never, what in _NEVER:
        if overlap(subnet, never):
            return f"{never} {what}"
    if subnet.num_addresses < 2:
        return "it has one address, which is the gateway's, and no container could have any"
    return ""


def hosts(subnet: Network) -> range:
    """The numbers of a subnet that a host can have: not its own, and of an IPv4 one not its broadcast address. One with
    two addresses or fewer has neither (RFC 3021, RFC 6164)."""
    begin, end = first(subnet), last(subnet) + 1
    if subnet.max_prefixlen - subnet.prefixlen <= 1:
        return range(begin, end)
    return range(begin + 1, end - 1 if subnet.version == 4 else end)


def never_a_host(subnet: Network, address: Address) -> str:
    """Why no host can have an address of the subnet; "" when one can."""
    number = int(address)
    if number in hosts(subnet):
        return ""
    if number == first(subnet):
        return f"is the address of the subnet {subnet} itself"
    return f"is the broadcast address of {subnet}"


def gateway_of(subnet: Network) -> Address:
    """The one it has where none is said."""
    return at(subnet, hosts(subnet).start)


def at(subnet: Network, number: int) -> Address:
    return (IPv4Address if subnet.version == 4 else IPv6Address)(number)


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and first(one) <= last(other) and first(other) <= last(one)


def within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and first(outer) <= first(inner) and last(inner) <= last(outer)


def first(subnet: Network) -> int:
    return int(subnet.network_address)


def last(subnet: Network) -> int:
    return int(subnet.broadcast_address)
