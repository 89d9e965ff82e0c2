"""PURE: arithmetic of addresses and subnets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import combinations

from drivers.network.interface import Pool
from drivers.network.ipam.interface import SubnetRequest
from resources import subnets
from resources.errors import InvalidArgument
from resources.subnets import Address
from resources.subnets import Network as Network
from resources.subnets import overlap as overlap


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
    gateway = _inside(subnet, request.gateway) if request.gateway else subnets.gateway_of(subnet)
    flaw = subnets.never_a_host(subnet, gateway)
    if flaw:
        raise InvalidArgument(f"{gateway} cannot be the gateway: it {flaw}")
    part = parsed_network(request.ip_range or request.subnet)
    if not subnets.within(part, subnet):
        raise InvalidArgument(f"the range {part} is not in {subnet}")
    reserved = dict.fromkeys(str(_inside(subnet, address)) for address in request.reserved)
    return Pool(str(subnet), str(gateway), "" if part == subnet else str(part), tuple(reserved))


def assignable(pool: Pool) -> range:
    """The numbers endpoints get addresses out of, but for those of `excluded`."""
    hosts, part = subnets.hosts(parsed_network(pool.subnet)), parsed_network(pool.ip_range or pool.subnet)
    return range(max(hosts.start, subnets.first(part)), min(hosts.stop, subnets.last(part) + 1))


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
    return subnets.never_a_host(parsed_network(pool.subnet), address)


def contains(pool: Pool, address: Address) -> bool:
    return address.version == version(pool) and address in parsed_network(pool.subnet)


def version(pool: Pool) -> int:
    return parsed_network(pool.subnet).version


def address_at(pool: Pool, number: int) -> str:
    return str(subnets.at(parsed_network(pool.subnet), number))


def first_free(pool: Network, size: int, blocked: Iterable[Network]) -> Network | None:
    """The first subnet of the pool with a prefix of that length that overlaps none of `blocked`."""
    step = 1 << (pool.max_prefixlen - size)
    start, end = subnets.first(pool), subnets.last(pool) + 1
    spans = sorted((subnets.first(one), subnets.last(one)) for one in blocked if one.version == pool.version)
    for first, last in spans:
        if first >= start + step:
            break
        if last >= start:
            start = (last // step + 1) * step
    return type(pool)((start, size)) if start + step <= end else None


def _inside(subnet: Network, text: str) -> Address:
    address = parsed_address(text)
    if address.version != subnet.version or address not in subnet:
        raise InvalidArgument(f"{address} is not in {subnet}")
    return address


def _check_usable(subnet: Network) -> None:
    flaw = subnets.unusable(subnet)
    if flaw:
        raise InvalidArgument(f"{subnet} cannot be a subnet of a network: {flaw}")
