"""PURE: arithmetic of addresses and subnets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import TypeAlias

from drivers.network.interface import Pool, SubnetRequest
from resources.errors import InvalidArgument

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
        ("::ffff:0:0/96", "stands for IPv4"),
        ("fe80::/10", "is link-local"),
        ("ff00::/8", "is multicast"),
    )
)


@dataclass(frozen=True, slots=True)
class AddressPool:
    """What networks that ask for no subnet get one of."""

    pool: str
    """`10.192.0.0/12`"""
    size: int
    """The length of the prefix of each of its subnets."""

    def checked(self) -> Network:
        """Raises: InvalidArgument."""
        pool = parsed_network(self.pool)
        if not pool.prefixlen <= self.size <= pool.max_prefixlen - 2:
            raise InvalidArgument(f"an address pool {pool} has no subnets of the size /{self.size}")
        _check_usable(pool)
        return pool


@lru_cache(maxsize=4096)
def parsed_network(text: str) -> Network:
    """Raises: InvalidArgument."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"{text[:80]!a} is no subnet such as 10.42.0.0/24 or fd00:42::/64") from error


def parsed_address(text: str) -> Address:
    """Raises: InvalidArgument."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"{text[:80]!a} is no IP address") from error
    if "%" in text:
        raise InvalidArgument(f"{text[:80]!a} names a link of this host, which an address here cannot")
    return address


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and _first(one) <= _last(other) and _first(other) <= _last(one)


def pools(asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
    """What a network gets for that, in the one way it is written. Raises: InvalidArgument."""
    found = tuple(map(pool_of, asked))
    for one, other in combinations(found, 2):
        if overlap(parsed_network(one.subnet), parsed_network(other.subnet)):
            raise InvalidArgument(f"two subnets of one network overlap: {one.subnet} and {other.subnet}")
    return found


def pool_of(request: SubnetRequest) -> Pool:
    """Raises: InvalidArgument."""
    subnet = parsed_network(request.subnet)
    _check_usable(subnet)
    if subnet.num_addresses < 2:
        raise InvalidArgument(f"{subnet} has one address, and that is the gateway's: no container could have any")
    gateway = _inside(subnet, request.gateway) if request.gateway else _at(subnet, _hosts(subnet).start)
    if int(gateway) not in _hosts(subnet):
        raise InvalidArgument(f"{gateway} cannot be the gateway: it {_never_a_host(subnet, gateway)}")
    part = parsed_network(request.ip_range or request.subnet)
    if part.version != subnet.version or _first(part) < _first(subnet) or _last(part) > _last(subnet):
        raise InvalidArgument(f"the range {part} is not in {subnet}")
    reserved = dict.fromkeys(str(_inside(subnet, address)) for address in request.reserved)
    return Pool(str(subnet), str(gateway), "" if part == subnet else str(part), tuple(reserved))


def assignable(pool: Pool) -> range:
    """The numbers endpoints get addresses out of, but for those of `excluded`."""
    hosts, part = _hosts(parsed_network(pool.subnet)), parsed_network(pool.ip_range or pool.subnet)
    return range(max(hosts.start, _first(part)), min(hosts.stop, _last(part) + 1))


def excluded(pool: Pool) -> frozenset[int]:
    return frozenset(int(parsed_address(address)) for address in (pool.gateway, *pool.reserved))


def may_be_given(pool: Pool, address: Address) -> bool:
    """Whether an endpoint gets it that does not ask for just that one."""
    number = int(address)
    return contains(pool, address) and number in assignable(pool) and number not in excluded(pool)


def unassignable(pool: Pool, address: Address) -> str:
    """Why no endpoint can have an address of the subnet, even if it asks for it; "" when one can."""
    if address == parsed_address(pool.gateway):
        return f"is the gateway of {pool.subnet}"
    subnet = parsed_network(pool.subnet)
    return "" if int(address) in _hosts(subnet) else _never_a_host(subnet, address)


def contains(pool: Pool, address: Address) -> bool:
    return address.version == version(pool) and address in parsed_network(pool.subnet)


def version(pool: Pool) -> int:
    return parsed_network(pool.subnet).version


def address_at(pool: Pool, number: int) -> str:
    return str(_at(parsed_network(pool.subnet), number))


def first_free(pool: Network, size: int, blocked: Iterable[Network]) -> Network | None:
    """The first subnet of the pool with a prefix of that length that overlaps none of `blocked`."""
    step = 1 << (pool.max_prefixlen - size)
    start, end = _first(pool), _last(pool) + 1
    spans = sorted((_first(one), _last(one)) for one in blocked if one.version == pool.version)
    for first, last in spans:
        if first >= start + step:
            break
        if last >= start:
            start = (last // step + 1) * step
    return type(pool)((start, size)) if start + step <= end else None


def _hosts(subnet: Network) -> range:
    """The numbers of a subnet that a host can have: not its own, and of an IPv4 one not its broadcast address. One with
    two addresses or fewer has neither (RFC 3021, RFC 6164)."""
    first, end = _first(subnet), _last(subnet) + 1
    if subnet.max_prefixlen - subnet.prefixlen <= 1:
        return range(first, end)
    return range(first + 1, end - 1 if subnet.version == 4 else end)


def _never_a_host(subnet: Network, address: Address) -> str:
    if int(address) == _first(subnet):
        return f"is the address of the subnet {subnet} itself"
    return f"is the broadcast address of {subnet}"


def _inside(subnet: Network, text: str) -> Address:
    address = parsed_address(text)
    if address.version != subnet.version or address not in subnet:
        raise InvalidArgument(f"{address} is not in {subnet}")
    return address


def _check_usable(subnet: Network) -> None:
    for never, what in _NEVER:
        if overlap(subnet, never):
            raise InvalidArgument(f"{subnet} cannot be a subnet of a network: {never} {what}")


def _at(subnet: Network, number: int) -> Address:
    return (IPv4Address if subnet.version == 4 else IPv6Address)(number)


def _first(network: Network) -> int:
    return int(network.network_address)


def _last(network: Network) -> int:
    return int(network.broadcast_address)
