"""Rings of those that wait for what the next one has: one gives way."""

from collections.abc import Mapping

import pytest

from drivers.network.interface import Pool
from drivers.network.ipam.interface import AddressClaim, Obstacle, SubnetRequest
from drivers.network.ipam.pools import DefaultIpam
from resources.errors import ResourceExhausted
from tests.unit.drivers.network.ipam import DUAL, ONE, TWO


def wishing(ipam: DefaultIpam, wishes: Mapping[str, tuple[str, str]]) -> None:
    """Holders, with what they have and what they wait for."""
    for holder, (has, wants) in wishes.items():
        ipam.allocate(ONE, DUAL[:1], holder, ipv4=f"10.42.0.{has}")
        if wants:
            ipam.await_addresses(ONE, holder, ipv4=f"10.42.0.{wants}")


def yielding(ipam: DefaultIpam, holders: str) -> list[str]:
    return [holder for holder in holders if ipam.claims(holder)[ONE].yields]


@pytest.mark.parametrize(
    ("wishes", "yields"),
    [
        ({"a": ("5", "6"), "b": ("6", "5")}, ["a"]),
        ({"b": ("5", "6"), "c": ("6", "7"), "a": ("7", "5")}, ["a"]),
        ({"a": ("5", "6"), "b": ("6", "5"), "c": ("7", "8"), "d": ("8", "7")}, ["a", "c"]),
        ({"a": ("5", "6"), "b": ("6", "7"), "c": ("7", "")}, []),
        ({"a": ("5", "6"), "b": ("6", "7"), "c": ("7", "6")}, ["b"]),
        ({"a": ("5", "5")}, []),
    ],
)
def test_of_each_ring_just_one_gives_way(
    ipam: DefaultIpam, wishes: Mapping[str, tuple[str, str]], yields: list[str]
) -> None:
    wishing(ipam, wishes)
    assert yielding(ipam, "".join(wishes)) == yields


def test_who_has_given_way_waits_on_and_nobody_else_gets_what_is_awaited(ipam: DefaultIpam) -> None:
    pools = [Pool("10.42.0.0/29", "10.42.0.1")]
    wishing(ipam, {"a": ("5", "6"), "b": ("6", "5")})
    assert ipam.obstacle(ONE, "a", ["10.42.0.6"]) == "the address 10.42.0.6 is b's"
    ipam.vacate("a", ONE)
    assert ipam.claims("a") == {ONE: AddressClaim(awaits=("10.42.0.6",))}
    assert yielding(ipam, "ab") == []
    for holder in "cde":
        ipam.allocate(ONE, pools, holder)
    with pytest.raises(ResourceExhausted):
        ipam.allocate(ONE, pools, "f")
    assert ipam.obstacle(ONE, "b", ["10.42.0.5"]) == ""
    ipam.allocate(ONE, pools, "b", ipv4="10.42.0.5")
    assert ipam.claims("b") == {ONE: AddressClaim(("10.42.0.5",), ("10.42.0.6",))}
    assert ipam.obstacle(ONE, "a", ["10.42.0.6"])
    ipam.let_go("b", ONE)
    assert ipam.allocate(ONE, pools, "a", ipv4="10.42.0.6") == ("10.42.0.6",)
    assert ipam.claims("a") == {ONE: AddressClaim(("10.42.0.6",))}
    ipam.allocate(ONE, DUAL[:1], "a", ipv4="10.42.0.7")
    assert ipam.allocate(ONE, DUAL[:1], "a", ipv4="10.42.0.6") == ("10.42.0.6",), "back to what it had"
    assert ipam.claims("a") == {ONE: AddressClaim(("10.42.0.6",), ("10.42.0.7",))}


def test_of_networks_too_one_gives_way(ipam: DefaultIpam) -> None:
    first, second = (SubnetRequest("10.42.0.0/24"),), (SubnetRequest("10.42.1.0/24"),)
    both = (SubnetRequest("10.42.0.0/23"),)
    pools = ipam.allocate_subnets(ONE, first)
    ipam.allocate_subnets(TWO, second)
    assert ipam.subnet_claim(ONE, both).obstacle == Obstacle("10.42.1.0/24", "222222222222")
    ipam.await_subnets(ONE, both)
    assert not ipam.yields_subnets(ONE)
    ipam.await_subnets(TWO, first)
    assert (ipam.yields_subnets(ONE), ipam.yields_subnets(TWO)) == (True, False)
    ipam.allocate(ONE, pools, "a")
    assert ipam.subnet_claim(ONE, both).inhabited
    ipam.vacate("a", ONE)
    assert not ipam.subnet_claim(ONE, both).inhabited
    ipam.vacate_subnets(ONE)
    assert ipam.subnet_claim(TWO, first).obstacle is None
    ipam.allocate_subnets(TWO, first)
    assert not ipam.subnet_claim(TWO, first).stale
    assert ipam.subnet_claim(ONE, both).awaits
