"""Arithmetic of addresses and subnets."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.interface import Pool
from drivers.network.ipam import subnets
from drivers.network.ipam.interface import SubnetRequest
from drivers.network.ipam.subnets import AddressPool
from resources.errors import InvalidArgument

FOUR = st.builds(
    lambda number, length: ip_network((number, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
SIX = st.builds(
    lambda number, length: ip_network((number, length), strict=False),
    st.integers(2**32, 2**128 - 1),
    st.integers(0, 128),
)
NETWORKS = st.one_of(FOUR, SIX)


@given(NETWORKS, NETWORKS)
def test_overlap_is_that_of_the_library(one: IPv4Network, other: IPv4Network) -> None:
    expected = one.version == other.version and one.overlaps(other)
    assert subnets.overlap(one, other) is expected


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=40), st.integers(26, 30))
def test_the_first_free_subnet_is_the_first_that_overlaps_none(spans: list[tuple[int, int]], size: int) -> None:
    pool = ip_network("10.1.1.0/24")
    base = int(pool.network_address)
    blocked: list[subnets.Network] = [
        ip_network((base + number, length), strict=False) for number, length in spans[:-1]
    ]
    blocked += [ip_network("fd00::/64"), ip_network("10.1.0.0/24"), ip_network("10.1.2.0/23")]
    expected = next((one for one in pool.subnets(new_prefix=size) if not any(map(one.overlaps, blocked[:-3]))), None)
    assert subnets.first_free(pool, size, blocked) == expected


def test_a_route_that_takes_the_whole_pool_leaves_nothing() -> None:
    pool = ip_network("10.192.0.0/12")
    assert subnets.first_free(pool, 22, [ip_network("10.0.0.0/8")]) is None
    assert subnets.first_free(pool, 22, [ip_network("10.192.4.0/31"), ip_network("10.128.0.0/13")]) == ip_network(
        "10.192.0.0/22"
    )
    assert subnets.first_free(ip_network("fd00::/8"), 64, [ip_network("fd00::/16")]) == ip_network("fd01::/64")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (SubnetRequest("10.42.0.0/24"), Pool("10.42.0.0/24", "10.42.0.1")),
        (SubnetRequest("10.42.0.0/31"), Pool("10.42.0.0/31", "10.42.0.0")),
        (SubnetRequest("fd00:42::/64"), Pool("fd00:42::/64", "fd00:42::1")),
        (SubnetRequest("fd00:42::/127"), Pool("fd00:42::/127", "fd00:42::")),
        (
            SubnetRequest("FD00:0042:0::/64", "fd00:42::0:9", "fd00:42:0:0:1::/80", ("fd00:42:0::2", "fd00:42::2")),
            Pool("fd00:42::/64", "fd00:42::9", "fd00:42:0:0:1::/80", ("fd00:42::2",)),
        ),
        (SubnetRequest("10.42.0.0/24", ip_range="10.42.0.0/24"), Pool("10.42.0.0/24", "10.42.0.1")),
        (SubnetRequest("fd00:42::/64", "fd00:42::ffff:ffff:ffff:ffff"),) * 2,
    ],
)
def test_a_request_is_written_in_one_way(request_: SubnetRequest, expected: Pool | SubnetRequest) -> None:
    if isinstance(expected, SubnetRequest):
        expected = Pool(expected.subnet, expected.gateway)
    assert subnets.pool_of(request_) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([SubnetRequest("10.42.0.1/24")], "is no subnet such as"),
        ([SubnetRequest("10.42.0.0/24\n")], "is no subnet such as"),
        ([SubnetRequest("10.42.0.0/32")], "has one address"),
        ([SubnetRequest("fd00::1/128")], "has one address"),
        ([SubnetRequest("10.42.0.0/24", "10.43.0.1")], r"10\.43\.0\.1 is not in 10\.42\.0\.0/24"),
        ([SubnetRequest("10.42.0.0/24", "fd00::1")], "is not in"),
        ([SubnetRequest("10.42.0.0/24", "ten")], "is no IP address"),
        ([SubnetRequest("fd00::/64", "fd00::1%eth0")], "names a link"),
        ([SubnetRequest("10.42.0.0/24", "10.42.0.0")], "it is the address of the subnet"),
        ([SubnetRequest("10.42.0.0/24", "10.42.0.255")], "it is the broadcast address"),
        ([SubnetRequest("fd00::/64", "fd00::")], "it is the address of the subnet"),
        ([SubnetRequest("10.42.0.0/24", ip_range="10.42.0.0/23")], "range .* is not in"),
        ([SubnetRequest("10.42.0.0/24", ip_range="fd00::/80")], "range .* is not in"),
        ([SubnetRequest("10.42.0.0/24", reserved=("10.42.1.0",))], "is not in"),
        ([SubnetRequest("10.42.0.0/24"), SubnetRequest("10.42.0.128/25")], "overlap"),
        ([SubnetRequest("127.5.0.0/16")], "cannot be a subnet of a network"),
        ([SubnetRequest("0.0.0.0/0")], "cannot be a subnet of a network"),
        ([SubnetRequest("239.0.0.0/24")], "is multicast"),
        ([SubnetRequest("fe80::/64")], "is link-local"),
        ([SubnetRequest("::ffff:10.0.0.0/112")], "cannot be a subnet of a network"),
    ],
)
def test_what_cannot_be(asked: list[SubnetRequest], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        subnets.pools(asked)


def given_out(pool: Pool) -> list[str]:
    numbers = subnets.assignable(pool)
    return [subnets.address_at(pool, number) for number in numbers if number not in subnets.excluded(pool)]


def test_what_endpoints_get() -> None:
    assert given_out(Pool("10.42.0.0/29", "10.42.0.1")) == [f"10.42.0.{number}" for number in range(2, 7)]
    assert given_out(Pool("10.42.0.0/29", "10.42.0.6", "10.42.0.0/30", ("10.42.0.2",))) == ["10.42.0.1", "10.42.0.3"]
    assert given_out(Pool("10.42.0.0/29", "10.42.0.1", "10.42.0.4/30")) == [f"10.42.0.{number}" for number in (4, 5, 6)]
    assert given_out(Pool("10.42.0.0/31", "10.42.0.0")) == ["10.42.0.1"]
    assert given_out(Pool("fd00::/126", "fd00::1")) == ["fd00::2", "fd00::3"]
    assert given_out(Pool("fd00::/127", "fd00::")) == ["fd00::1"]
    assert given_out(Pool("10.42.0.0/24", "10.42.0.1", "10.42.0.255/32")) == []
    wide = subnets.assignable(Pool("fd00::/8", "fd00::1"))
    assert wide.stop - wide.start == 2**120 - 1


@given(st.integers(16, 31), st.data())
def test_no_endpoint_gets_what_the_library_calls_no_host(length: int, data: st.DataObject) -> None:
    subnet = ip_network((int(ip_address("10.42.0.0")), length))
    assert isinstance(subnet, IPv4Network)
    pool = subnets.pool_of(SubnetRequest(str(subnet)))
    numbers = subnets.assignable(pool)
    hosts = range(int(subnet[0]), int(subnet[-1]) + 1) if length == 31 else range(int(subnet[1]), int(subnet[-1]))
    assert numbers == hosts
    address = data.draw(st.integers(int(subnet[0]), int(subnet[-1])).map(ip_address))
    usable = int(address) in hosts and address != ip_address(pool.gateway)
    assert (subnets.unassignable(pool, address) == "") is usable
    assert subnets.may_be_given(pool, address) is usable


def test_address_pools_are_checked() -> None:
    assert AddressPool("10.192.0.0/12", 22).checked() == IPv4Network("10.192.0.0/12")
    assert AddressPool("fd00::/48", 64).checked() == IPv6Network("fd00::/48")
    for pool, size in (("10.192.0.0/12", 11), ("10.192.0.0/12", 31), ("10.0.0.1/8", 24), ("224.0.0.0/8", 24)):
        with pytest.raises(InvalidArgument):
            AddressPool(pool, size).checked()
