"""Subnets and addresses, who has them and who gets which."""

import threading
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from controller.store.sqlite import SqliteStore
from drivers.network.interface import Pool
from drivers.network.ipam.host_routes import Route
from drivers.network.ipam.interface import AddressClaim, Obstacle, SubnetRequest
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from resources.errors import Conflict, InvalidArgument, ResourceExhausted
from tests.unit.drivers.network.ipam import DUAL, ONE, TWO, engine

SMALL = Pool("10.42.0.0/29", "10.42.0.1")


def test_a_network_that_asks_for_nothing_gets_the_next_free_subnet(allocations: Allocations) -> None:
    routes = [Route("10.192.0.0/21", "eth0", True), Route("10.192.12.0/30", "", False), Route("fd00::/8", "eth0", True)]
    ipam = engine(allocations, routes)
    assert ipam.pools(ONE, ()) == ()
    assert ipam.allocate_subnets(ONE, ()) == (Pool("10.192.8.0/22", "10.192.8.1"),)
    assert ipam.allocate_subnets(TWO, ()) == (Pool("10.192.16.0/22", "10.192.16.1"),)
    routes.append(Route("10.192.8.0/22", "br-1111", True))
    assert ipam.allocate_subnets(ONE, ()) == ipam.pools(ONE, ()) == (Pool("10.192.8.0/22", "10.192.8.1"),)
    assert engine(allocations).pools(ONE, ()) == (Pool("10.192.8.0/22", "10.192.8.1"),)
    assert ipam.pools(ONE, (SubnetRequest("10.192.8.0/22"),)) == (), "that was not asked for"


def test_a_network_keeps_its_subnet_when_one_before_it_becomes_free(
    allocations: Allocations, ipam: DefaultIpam
) -> None:
    ipam.allocate_subnets(ONE, ())
    (given,) = ipam.allocate_subnets(TWO, ())
    allocations.hold(ONE, "subnet", {})
    assert ipam.allocate_subnets(TWO, ()) == ipam.pools(TWO, ()) == (given,)


class Stubborn(Allocations):
    """Says that nothing is taken, and gives nothing."""

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        raise Conflict(f"somebody holds {wanted}")


def test_a_store_that_gives_nothing_is_not_asked_for_ever() -> None:
    ipam = engine(Stubborn(MemoryStore()))
    with pytest.raises(Conflict, match="somebody holds"):
        ipam.allocate_subnets(ONE, ())
    with pytest.raises(Conflict, match="somebody holds"):
        ipam.allocate(ONE, DUAL, "a", ipv4="10.42.0.7")


def test_a_vpn_that_takes_the_first_pool_leaves_the_second(allocations: Allocations) -> None:
    assert engine(allocations, [Route("10.0.0.0/8", "tun0", False)]).allocate_subnets(ONE, ()) == (
        Pool("172.16.0.0/22", "172.16.0.1"),
    )


def test_when_no_subnet_is_left(allocations: Allocations) -> None:
    ipam = engine(allocations, address_pools=[AddressPool("10.192.0.0/23", 24)])
    for number in range(2):
        ipam.allocate_subnets(f"{number}", ())
    message = r"no subnet is free: .* 10\.192\.0\.0/23 \(in subnets of /24\)"
    with pytest.raises(ResourceExhausted, match=message):
        ipam.allocate_subnets("2", ())
    allocations.hold("0", "subnet", {})
    assert ipam.allocate_subnets("2", ()) == (Pool("10.192.0.0/24", "10.192.0.1"),)


def test_subnets_that_are_asked_for(allocations: Allocations, ipam: DefaultIpam) -> None:
    asked = (SubnetRequest("10.42.0.0/24", reserved=("10.42.0.9",)), SubnetRequest("FD00:42:0::/64"))
    pools = (Pool("10.42.0.0/24", "10.42.0.1", reserved=("10.42.0.9",)), DUAL[1])
    assert ipam.pools(ONE, asked) == ()
    assert ipam.allocate_subnets(ONE, asked) == ipam.pools(ONE, asked) == pools
    assert ipam.pools(ONE, ()) == ipam.pools(ONE, asked[:1]) == ipam.pools(ONE, (SubnetRequest("ten"),)) == ()
    with pytest.raises(Conflict, match=r"subnet 10\.42\.0\.128/25 overlaps 10\.42\.0\.0/24 of 111111111111"):
        ipam.allocate_subnets(TWO, (SubnetRequest("10.43.0.0/24"), SubnetRequest("10.42.0.128/25")))
    assert allocations.held(TWO) == {}
    with pytest.raises(Conflict, match=r"overlaps fd00:42::/64 of "):
        ipam.allocate_subnets(TWO, (SubnetRequest("fd00:42::/64"),))
    assert ipam.allocate_subnets(ONE, asked[1:]) == pools[1:]
    with pytest.raises(Conflict, match=r"overlaps 10\.42\.0\.0/24 of "):
        ipam.allocate_subnets(TWO, (SubnetRequest("10.42.0.128/25"),))
    ipam.let_subnets_go(ONE)
    assert ipam.allocate_subnets(TWO, (SubnetRequest("10.42.0.128/25"),)) == (Pool("10.42.0.128/25", "10.42.0.129"),)
    with pytest.raises(InvalidArgument):
        ipam.allocate_subnets(TWO, (SubnetRequest("10.42.0.0/33"),))
    assert ipam.pools(TWO, (SubnetRequest("10.42.0.128/25"),)) != (), "what cannot be changes nothing"


def test_a_network_may_change_what_it_asks_for(allocations: Allocations) -> None:
    routes: list[Route] = []
    ipam = engine(allocations, routes)
    (given,) = ipam.allocate_subnets(ONE, ())
    routes.append(Route(given.subnet, "br-1111", True))
    assert ipam.allocate_subnets(ONE, (SubnetRequest(given.subnet),)) == (given,), "just what it got"
    wide = SubnetRequest("10.192.0.0/20")
    assert ipam.allocate_subnets(ONE, (wide,)) == (Pool("10.192.0.0/20", "10.192.0.1"),), (
        "its own link is not in its way"
    )
    narrow = (SubnetRequest("10.192.4.0/24"), SubnetRequest("10.192.0.0/24"))
    ipam.allocate_subnets(ONE, narrow)
    ipam.allocate_subnets(ONE, narrow[::-1])
    assert ipam.pools(ONE, narrow) == ()
    assert len(ipam.pools(ONE, narrow[::-1])) == 2
    assert ipam.allocate_subnets(ONE, ()) == (Pool("10.192.0.0/22", "10.192.0.1"),)
    assert set(ipam.subnet_claim(ONE, ()).had) == {"10.192.0.0/20", "10.192.0.0/24", "10.192.4.0/24"}
    ipam.let_subnets_go(ONE)
    assert set(allocations.taken("subnet")) == {"10.192.0.0/22"}


def test_routes_are_in_the_way_of_what_is_asked_for_only_on_a_link(allocations: Allocations) -> None:
    ipam = engine(allocations, [Route("10.0.0.0/8", "tun0", False), Route("192.168.1.0/24", "eth0", True)])
    ipam.allocate_subnets(ONE, (SubnetRequest("10.42.0.0/24"),))
    with pytest.raises(Conflict, match=r"192\.168\.0\.0/16 overlaps 192\.168\.1\.0/24, which .* over eth0"):
        ipam.allocate_subnets(TWO, (SubnetRequest("192.168.0.0/16"),))


def test_the_conflict_says_who_it_is(allocations: Allocations) -> None:
    ipam = engine(allocations, describe=lambda uid, asker: f"network/shop-{uid[:1]} to {asker[:1]}")
    ipam.allocate_subnets(ONE, (SubnetRequest("10.42.0.0/24"),))
    with pytest.raises(Conflict, match=r"overlaps 10\.42\.0\.0/24 of network/shop-1 to 2 "):
        ipam.allocate_subnets(TWO, (SubnetRequest("10.42.0.0/24"),))
    ipam.allocate(ONE, DUAL, "a", ipv4="10.42.0.7")
    with pytest.raises(Conflict, match=r"address 10\.42\.0\.7 is network/shop-a to b's already"):
        ipam.allocate(ONE, DUAL, "b", ipv4="10.42.0.7")


def test_what_another_one_asks_for_is_given_to_nobody(allocations: Allocations) -> None:
    desired: dict[str, Sequence[str]] = {ONE: ("10.192.0.0/23", "fd00:42::/64"), TWO: ()}
    ipam = engine(allocations, desired=lambda: desired)
    assert ipam.allocate_subnets(TWO, ()) == (Pool("10.192.4.0/22", "10.192.4.1"),)
    assert ipam.allocate_subnets(ONE, (SubnetRequest("10.192.0.0/23"),))


@pytest.mark.parametrize(
    ("asked", "passing"),
    [((), False), (("10.192.0.0/22",), False), (("10.77.0.0/24",), True), (None, True)],
)
def test_who_is_to_have_another_subnet_is_waited_for(
    allocations: Allocations, asked: Sequence[str] | None, passing: bool
) -> None:
    """It got this one without asking; None: it is being deleted."""
    engine(allocations).allocate_subnets(ONE, ())
    desired = {TWO: ["10.192.0.0/24"], **({} if asked is None else {ONE: asked})}
    claim = engine(allocations, desired=lambda: desired).subnet_claim(TWO, (SubnetRequest("10.192.0.0/24"),))
    assert claim.obstacle == Obstacle("10.192.0.0/22", "1" * 12, passing)


def test_who_asks_for_a_subnet_keeps_it(allocations: Allocations) -> None:
    engine(allocations).allocate_subnets(ONE, (SubnetRequest("10.77.0.0/24"),))
    for asked, passing in (["10.77.0.0/24"], False), (["10.78.0.0/24"], True), ([], True):
        ipam = engine(allocations, desired=lambda asked=asked: {ONE: asked})
        claim = ipam.subnet_claim(TWO, (SubnetRequest("10.77.0.0/16"),))
        assert claim.obstacle == Obstacle("10.77.0.0/24", "1" * 12, passing)


def test_addresses_of_both_families(ipam: DefaultIpam, allocations: Allocations) -> None:
    assert ipam.allocate(ONE, DUAL, "a") == ("10.42.0.2", "fd00:42::2")
    assert ipam.allocate(ONE, DUAL, "a") == ("10.42.0.2", "fd00:42::2"), "those it has already"
    assert ipam.allocate(ONE, DUAL, "b", ipv6="FD00:42:0::AA") == ("10.42.0.3", "fd00:42::aa")
    assert ipam.allocate(TWO, [Pool("10.9.0.0/31", "10.9.0.0")], "b") == ("10.9.0.1",)
    assert ipam.addresses("b") == {ONE: ("10.42.0.3", "fd00:42::aa"), TWO: ("10.9.0.1",)}
    ipam.release("b", ONE)
    ipam.release("b", ONE)
    assert ipam.addresses("b") == {TWO: ("10.9.0.1",)}
    assert ipam.allocate(ONE, DUAL[:1], "a") == ("10.42.0.2",), "the network has no IPv6 any more"
    assert ipam.addresses("a") == {ONE: ("10.42.0.2",)}
    assert ipam.claims("a") == {ONE: AddressClaim(("10.42.0.2",), ("fd00:42::2",))}
    assert set(allocations.taken(f"address/{ONE}")) == {"10.42.0.2", "fd00:42::2"}
    ipam.let_go("a", ONE)
    assert set(allocations.taken(f"address/{ONE}")) == {"10.42.0.2"}
    assert ipam.allocate(ONE, (), "a") == ()
    assert ipam.addresses("a") == {}
    assert ipam.claims("a") == {ONE: AddressClaim((), ("10.42.0.2",))}
    ipam.release("a", ONE)
    assert ipam.claims("a") == {}


def test_an_address_that_is_asked_for(ipam: DefaultIpam) -> None:
    pool = Pool("10.42.0.0/24", "10.42.0.1", "10.42.0.128/25", ("10.42.0.200",))
    assert ipam.allocate(ONE, [pool], "a") == ("10.42.0.128",)
    assert ipam.allocate(ONE, [pool], "a", ipv4="10.42.0.200") == ("10.42.0.200",), "reserved, and out of the range"
    assert ipam.allocate(ONE, [pool], "a", ipv4="10.42.0.5") == ("10.42.0.5",)
    assert ipam.allocate(ONE, [pool], "a", ipv4="10.42.0.5") == ("10.42.0.5",)
    with pytest.raises(Conflict, match=r"10\.42\.0\.5 is a's already"):
        ipam.allocate(ONE, [pool], "b", ipv4="10.42.0.5")
    assert ipam.addresses("b") == {}
    assert ipam.allocate(ONE, [pool], "a") == ("10.42.0.128",), "nobody keeps one that it would not be given"
    for address, message in (
        ("10.42.0.1", "it is the gateway"),
        ("10.42.0.0", "it is the address of the subnet"),
        ("10.42.0.255", "it is the broadcast address"),
        ("10.43.0.5", "is in no subnet of the network, which has 10.42.0.0/24"),
        ("fd00::5", "is in no subnet"),
        ("10.42.0.05", "is no IP address"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            ipam.allocate(ONE, [pool], "b", ipv4=address)
    with pytest.raises(InvalidArgument, match="which has none of IPv6"):
        ipam.allocate(ONE, [pool], "b", ipv6="fd00::5")


def test_a_freed_address_comes_again_as_late_as_possible(ipam: DefaultIpam, allocations: Allocations) -> None:
    got = []
    for number in range(12):
        got += ipam.allocate(ONE, [SMALL], f"{number}")
        ipam.release(f"{number}", ONE)
    assert [address[-1] for address in got] == list("234562345623")
    ipam.allocate(ONE, [SMALL], "a")
    assert ipam.addresses("a") == {ONE: ("10.42.0.4",)}
    assert engine(allocations).allocate(ONE, [SMALL], "b") == ("10.42.0.5",), "after a restart: after the highest"
    assert engine(allocations).allocate(ONE, [SMALL], "c") == ("10.42.0.6",)
    assert engine(allocations).allocate(ONE, [SMALL], "d") == ("10.42.0.2",)


def test_what_goes_with_an_object_is_found_free_again(ipam: DefaultIpam, allocations: Allocations) -> None:
    for number in range(5):
        ipam.allocate(ONE, [SMALL], f"{number}")
    allocations.hold("2", f"address/{ONE}", {})  # not by this engine's leave
    assert ipam.allocate(ONE, [SMALL], "a") == ("10.42.0.4",)


def test_when_no_address_is_left(ipam: DefaultIpam) -> None:
    message = r"^10\.42\.0\.0/29 has 5 addresses, and all are taken \(remove a container"
    for number in range(5):
        ipam.allocate(ONE, [SMALL], f"{number}")
    with pytest.raises(ResourceExhausted, match=message):
        ipam.allocate(ONE, [SMALL], "a")
    assert ipam.addresses("a") == {}
    second = Pool("10.43.0.0/24", "10.43.0.1", "10.43.0.8/32")
    assert ipam.allocate(ONE, [SMALL, second], "a") == ("10.43.0.8",)
    with pytest.raises(
        ResourceExhausted, match=r"^10\.42\.0\.0/29 and 10\.43\.0\.8/32 of 10\.43\.0\.0/24 have 6 addresses, and all"
    ):
        ipam.allocate(ONE, [SMALL, second], "b")
    with pytest.raises(ResourceExhausted, match="has 1 address, and it is taken"):
        ipam.allocate(ONE, [second], "b")
    with pytest.raises(ResourceExhausted, match="has no address that is not reserved"):
        ipam.allocate(ONE, [Pool("10.44.0.0/30", "10.44.0.1", reserved=("10.44.0.2",))], "b")


def test_ten_thousand_come_and_go_in_a_small_subnet(ipam: DefaultIpam, allocations: Allocations) -> None:
    for number in range(10_000):
        assert ipam.allocate(ONE, [SMALL], f"{number}")
        if number >= 4:
            ipam.release(f"{number - 4}", ONE)
    assert len(allocations.taken(f"address/{ONE}")) == 4
    for number in range(9_996, 10_000):
        ipam.release(f"{number}", ONE)
    assert allocations.taken(f"address/{ONE}") == {}


def test_a_large_pool_costs_no_more_than_a_small_one(ipam: DefaultIpam) -> None:
    pools = (Pool("10.0.0.0/12", "10.0.0.1"), Pool("fd00::/48", "fd00::1"))
    for number in range(1000):
        ipam.allocate(ONE, pools, f"{number}")
    took = []
    for number in range(1000, 1100):
        begin = time.perf_counter()
        ipam.allocate(ONE, pools, f"{number}")
        took.append(time.perf_counter() - begin)
    assert sorted(took)[50] < 0.001


def test_threads_and_engines_never_give_the_same_address_twice(tmp_path: Path) -> None:
    """Two engines cannot have one store; if they had, it would still hold."""
    store = SqliteStore(tmp_path / "store.db")
    engines = [engine(Allocations(store)) for _ in range(2)]
    pool = Pool("10.42.0.0/26", "10.42.0.1")
    got: list[str] = []
    failed: list[str] = []

    def take(number: int) -> None:
        for turn in range(8):
            try:
                got.extend(engines[number % 2].allocate(ONE, [pool], f"{number}-{turn}"))
            except ResourceExhausted as error:
                failed.append(str(error))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(f"10.42.0.{number}" for number in range(2, 63))
    assert len(failed) == 3
    assert sorted(Allocations(store).taken(f"address/{ONE}")) == sorted(got)
    store.close()


def test_threads_never_get_overlapping_subnets(allocations: Allocations, ipam: DefaultIpam) -> None:
    got: list[str] = []

    def take(number: int) -> None:
        for turn in range(20):
            asked = (SubnetRequest(f"10.192.{4 * turn}.0/23"),) if turn % 2 else ()
            try:
                got.extend(pool.subnet for pool in ipam.allocate_subnets(f"{number}-{turn}", asked))
            except Conflict:
                continue

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = sorted(map(subnet_span, got))
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert sorted(allocations.taken("subnet")) == sorted(got)


def subnet_span(subnet: str) -> tuple[int, int]:
    network = ip_network(subnet)
    return int(network[0]), int(network[-1])
