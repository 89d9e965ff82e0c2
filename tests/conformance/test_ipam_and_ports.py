"""Addresses, subnets and ports of the host over every store: whatever is asked for in whatever order, whoever dies at
whatever moment, none has two holders, none is lost, and none is refused that is free.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controller.store.allocations import Allocations, Holder
from controller.store.interface import Store
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from controller.store.sqlite import SqliteStore
from drivers.network.interface import Pool
from drivers.network.ipam.host_routes import Route
from drivers.network.ipam.interface import SubnetRequest
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.interface import Listener, PortRequest
from resources.errors import Conflict, InvalidArgument, ResourceExhausted
from resources.ports import overlap
from tests.unit.controller.making import made
from tests.unit.controller.store.stores import Crash, allocations_agree

T = TypeVar("T")
STEPS = 50
FREE = range(50000, 50004)
ADDRESS_POOL = AddressPool("10.192.0.0/27", 29)
ROUTES = (Route("10.192.0.8/29", "eth0", False), Route("10.42.0.64/29", "eth0", True))
SUBNETS = (
    SubnetRequest("10.42.0.0/29", reserved=("10.42.0.3", "10.42.0.4")),
    SubnetRequest("10.42.0.0/28", "10.42.0.14", "10.42.0.0/30"),
    SubnetRequest("10.42.0.8/30"),
    SubnetRequest("10.42.0.32/31"),
    SubnetRequest("10.42.0.64/30"),
    SubnetRequest("fd00:42::/126"),
    SubnetRequest("fd00:42::/64", ip_range="fd00:42::4/126"),
)
ASKED = st.lists(st.sampled_from(SUBNETS), max_size=2, unique=True).map(tuple)
PLACES = st.sampled_from(["", "", "", "127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1"])
FIXED = st.builds(
    PortRequest, st.integers(80, 82), st.sampled_from([8080, 50001, 50002]), PLACES, st.sampled_from(["tcp", "udp"])
)
ANY = st.builds(PortRequest, st.integers(80, 82), st.none(), PLACES, st.sampled_from(["tcp", "udp"]))
PORTS = (
    st.tuples(ANY, st.lists(FIXED, max_size=2)).flatmap(lambda both: st.permutations([both[0], *both[1]])).map(tuple)
)
LISTENERS = st.lists(
    st.builds(
        Listener,
        st.sampled_from(["tcp", "udp"]),
        st.sampled_from(["0.0.0.0", "::", "127.0.0.1"]),
        st.sampled_from(FREE),
        st.booleans(),
    ),
    max_size=2,
)
NUMBERS = st.integers(0, 5)
DEATHS = st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 8), st.booleans()))


class MortalAllocations:
    """Dies at the call of that number, before or after it is done."""

    def __init__(self, inner: Allocations) -> None:
        self._inner = inner
        self.death: tuple[int, bool] | None = None

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        self._called(lambda: self._inner.hold(uid, pool, wanted))

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        return self._called(lambda: self._inner.held(uid))

    def taken(self, pool: str, prefix: str = "") -> Mapping[str, Holder]:
        return self._called(lambda: self._inner.taken(pool, prefix))

    def _called(self, call: Callable[[], T]) -> T:
        if self.death is None:
            return call()
        left, after = self.death
        self.death = (left - 1, after)
        if left == 1 and not after:
            raise Crash
        result = call()
        if left == 1:
            raise Crash
        return result


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store: Store = self.opened()
        self.listeners: list[Listener] = []
        self.networks: dict[int, tuple[SubnetRequest, ...]] = {}
        """What each has asked for and been given."""
        self.ports_asked: dict[int, tuple[PortRequest, ...]] = {}
        self.restart()
        for number in range(6):
            self.objects.commit([made(f"container/c{number}", {"image": "a"})])
            self.objects.commit([made(f"network/n{number}", {})])

    def opened(self) -> Store:
        raise NotImplementedError

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # What there is, as the store says it.

    def uid(self, kind: str, number: int) -> str:
        return next(item for item in self.objects.list() if str(item.ref) == f"{kind}/{kind[0]}{number}").metadata.uid

    def taken(self, pool: str) -> dict[str, str]:
        return {value: holder.uid for value, holder in Allocations(self.store).taken(pool).items()}

    def others(self, pool: str, uid: str) -> list[str]:
        return [value for value, holder in self.taken(pool).items() if holder != uid]

    def everything(self) -> dict[str, bytes]:
        return {entry.key: entry.value for entry in (*self.store.range("/allocations/"), *self.store.range("/held/"))}

    def living(self, death: tuple[int, bool] | None, uid: str, work: Callable[[], T], *, freeing: bool = False) -> T:
        """Do it; when it dies, nothing but what that holder has may be changed, and it is done again by the next engine. What is
        refused changes nothing, but for what it frees."""
        before = self.everything()
        self.allocations.death = death
        try:
            return work()
        except Crash:
            self.restart()
            own = uid.encode()
            changed = before.items() ^ self.everything().items()
            assert all(own in value or f"/held/{uid}/" in key for key, value in changed)
            return work()
        except Exception:
            after = self.everything()
            assert after == before or (freeing and after.items() < before.items())
            raise
        finally:
            self.allocations.death = None

    # What is done.

    @rule()
    def restart(self) -> None:
        if isinstance(self.store, SqliteStore):
            self.store.close()
            self.store = self.opened()
        self.objects = ObjectStore(self.store)
        self.allocations = MortalAllocations(Allocations(self.store))
        self.ipam = DefaultIpam(
            self.allocations, routes=lambda: ROUTES, link=lambda uid: "", address_pools=[ADDRESS_POOL]
        )
        self.ports = StoredHostPorts(
            self.allocations, lambda: self.listeners, reserved=lambda: frozenset({FREE[3]}), free=FREE
        )

    @rule(number=st.integers(0, 2), asked=ASKED, death=DEATHS)
    def ask_for_subnets(self, number: int, asked: tuple[SubnetRequest, ...], death: tuple[int, bool] | None) -> None:
        uid = self.uid("network", number)
        others = [ip_network(value) for value in self.others("subnet", uid)]
        before = self.ipam.pools(uid, self.networks.get(number, ()))
        wanted = [ip_network(request.subnet) for request in asked]
        try:
            pools = self.living(death, uid, lambda: self.ipam.allocate_subnets(uid, asked))
        except InvalidArgument:
            assert any(map(meet, *zip(*combinations(wanted, 2), strict=True)))
        except Conflict:
            on_links = [ip_network(route.destination) for route in ROUTES if route.on_link]
            assert any(meet(one, other) for one in wanted for other in (*others, *on_links))
        except ResourceExhausted:
            routes = [ip_network(route.destination) for route in ROUTES]
            for one in ip_network(ADDRESS_POOL.pool).subnets(new_prefix=ADDRESS_POOL.size):
                assert any(meet(one, other) for other in (*others, *routes))
        else:
            if asked == self.networks.get(number):
                assert pools == before, "nobody is moved"
            self.networks[number] = asked
            assert len(pools) == (len(asked) or 1)
            if not asked:
                got = ip_network(pools[0].subnet)
                assert got.prefixlen == ADDRESS_POOL.size
                assert not any(
                    meet(got, other) for other in (*others, *(ip_network(route.destination) for route in ROUTES))
                )

    @initialize()
    def begin(self) -> None:
        self.ask_for_subnets(0, SUBNETS[:1], None)
        self.ask_for_subnets(1, SUBNETS[5:6], None)

    @precondition(lambda self: self.networks)
    @rule(data=st.data(), count=st.integers(1, 5))
    def attach(self, data: st.DataObject, count: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.networks)))
        uid = self.uid("network", number)
        pools = self.ipam.pools(uid, self.networks[number])
        fours = st.sampled_from(["", "", "", "", "10.42.0.1", *may_ask_for(pools, 4)[:4]])
        sixes = st.sampled_from(["", "", "", "", "fd00:42::", *may_ask_for(pools, 6)[:4]])
        for _ in range(count):
            container = self.uid("container", data.draw(NUMBERS))
            self.attach_one(uid, pools, container, data.draw(fours), data.draw(sixes), data.draw(DEATHS))

    def attach_one(
        self, uid: str, pools: Sequence[Pool], container: str, four: str, six: str, death: tuple[int, bool] | None
    ) -> None:
        before = dict.fromkeys(self.ipam.addresses(container).get(uid, ()))
        others = self.others(f"address/{uid}", container)
        try:
            got = self.living(death, container, lambda: self.ipam.allocate(uid, pools, container, ipv4=four, ipv6=six))
        except InvalidArgument:
            assert not all(address in ("", *may_ask_for(pools, version)) for address, version in ((four, 4), (six, 6)))
        except Conflict:
            assert {four, six} & {*others}
        except ResourceExhausted:
            awaited = {one.partition("@")[0] for one in self.others(f"awaited:address/{uid}", container)}
            full = [version for version in (4, 6) if not set(may_be_given(pools, version)) - {*others} - awaited]
            assert any(may_ask_for(pools, version) and not (four, six)[version == 6] for version in full)
        else:
            families = sorted({ip_network(pool.subnet).version for pool in pools})
            assert [ip_address(address).version for address in got] == families
            assert not {*got} & {*others}
            for version, address in zip(families, got, strict=True):
                asked = six if version == 6 else four
                if asked:
                    assert address == asked
                else:
                    assert address in may_be_given(pools, version)
                    kept = [one for one in before if one in may_be_given(pools, version)]
                    assert not kept or address in kept
            assert self.ipam.addresses(container)[uid] == got

    @rule(number=st.integers(0, 2), death=DEATHS)
    def let_subnets_go(self, number: int, death: tuple[int, bool] | None) -> None:
        uid = self.uid("network", number)
        before = self.ipam.pools(uid, self.networks.get(number, ()))
        self.living(death, uid, lambda: self.ipam.let_subnets_go(uid))
        assert self.ipam.pools(uid, self.networks.get(number, ())) == before
        assert self.ipam.subnet_claim(uid, ()).had == ()

    @precondition(lambda self: self.networks)
    @rule(data=st.data(), number=NUMBERS, death=DEATHS)
    def let_go(self, data: st.DataObject, number: int, death: tuple[int, bool] | None) -> None:
        network = self.uid("network", data.draw(st.sampled_from(sorted(self.networks))))
        uid, before = self.uid("container", number), self.ipam.addresses(self.uid("container", number))
        self.living(death, uid, lambda: self.ipam.let_go(uid, network))
        assert self.ipam.addresses(uid) == before
        assert network not in self.ipam.claims(uid) or self.ipam.claims(uid)[network].had == ()

    @precondition(lambda self: self.networks)
    @rule(data=st.data(), number=NUMBERS, death=DEATHS)
    def vacate(self, data: st.DataObject, number: int, death: tuple[int, bool] | None) -> None:
        network = self.uid("network", data.draw(st.sampled_from(sorted(self.networks))))
        uid = self.uid("container", number)
        rest = {other: got for other, got in self.ipam.addresses(uid).items() if other != network}
        self.living(death, uid, lambda: self.ipam.vacate(uid, network))
        assert self.ipam.addresses(uid) == rest

    @precondition(lambda self: self.networks)
    @rule(data=st.data(), number=NUMBERS, last=st.integers(2, 6), death=DEATHS)
    def wait(self, data: st.DataObject, number: int, last: int, death: tuple[int, bool] | None) -> None:
        network = self.uid("network", data.draw(st.sampled_from(sorted(self.networks))))
        uid, before = self.uid("container", number), self.ipam.addresses(self.uid("container", number))
        self.living(death, uid, lambda: self.ipam.await_addresses(network, uid, ipv4=f"10.42.0.{last}"))
        assert self.ipam.addresses(uid) == before
        assert self.ipam.claims(uid)[network].awaits == (f"10.42.0.{last}",)

    @precondition(lambda self: self.networks)
    @rule(data=st.data(), number=NUMBERS, death=DEATHS)
    def detach(self, data: st.DataObject, number: int, death: tuple[int, bool] | None) -> None:
        network = self.uid("network", data.draw(st.sampled_from(sorted(self.networks))))
        uid = self.uid("container", number)
        rest = {other: got for other, got in self.ipam.addresses(uid).items() if other != network}
        self.living(death, uid, lambda: self.ipam.release(uid, network))
        assert self.ipam.addresses(uid) == rest

    @rule(number=NUMBERS, asked=PORTS, death=DEATHS)
    def publish(self, number: int, asked: tuple[PortRequest, ...], death: tuple[int, bool] | None) -> None:
        uid = self.uid("container", number)
        before = self.ports.held(uid, self.ports_asked.get(number, ()))
        others = [parsed(value) for value in self.others("port", uid)]
        fixed = [request for request in asked if request.host is not None]
        try:
            got = self.living(death, uid, lambda: self.ports.allocate(uid, asked), freeing=True)
        except InvalidArgument:
            assert any(in_the_way(one, other) for one, other in combinations(fixed, 2))
        except Conflict:
            self.ports_asked.pop(number, None)
            assert any(in_the_way(one, other) for one in fixed for other in others)
        except ResourceExhausted:
            self.ports_asked.pop(number, None)
            (request,) = [request for request in asked if request.host is None]
            listening = [PortRequest(0, one.port, one.place, one.protocol) for one in self.listeners]
            for port in set(FREE) - {FREE[3]}:
                one = replace(request, host=port)
                assert any(in_the_way(one, other) for other in (*fixed, *others, *listening))
        else:
            if asked == self.ports_asked.get(number):
                assert got == before, "nobody is moved"
            self.ports_asked[number] = asked
            assert [replace(port, host=request.host) for port, request in zip(got, asked, strict=True)] == [*asked]
            assert not any(in_the_way(one, other) for one in got for other in others)
            assert self.ports.held(uid, asked) == got

    @rule(number=NUMBERS, death=DEATHS)
    def withdraw(self, number: int, death: tuple[int, bool] | None) -> None:
        uid = self.uid("container", number)
        self.living(death, uid, lambda: self.ports.release(uid))
        self.ports_asked.pop(number, None)
        assert uid not in self.taken("port").values()

    @rule(listeners=LISTENERS)
    def listen(self, listeners: list[Listener]) -> None:
        self.listeners[:] = listeners

    @rule(kind=st.sampled_from(["container", "container", "container", "network"]), number=NUMBERS)
    def remove_and_make_again(self, kind: str, number: int) -> None:
        uid = self.uid(kind, number)
        item = next(item for item in self.objects.list() if item.metadata.uid == uid)
        self.objects.remove(item.key)
        assert uid.encode() not in b" ".join(self.everything().values())
        self.objects.commit([made(f"{kind}/{kind[0]}{number}", {} if kind == "network" else {"image": "a"})])
        (self.networks if kind == "network" else self.ports_asked).pop(number, None)

    # What always holds.

    @invariant()
    def values_and_holders_agree(self) -> None:
        allocations_agree(self.store)
        there = {item.metadata.uid for item in self.objects.list()}
        assert all(holder.uid in there for holder in Allocations(self.store).taken("port").values())

    @invariant()
    def no_subnets_overlap(self) -> None:
        """Of two networks; one may have moved to another part of what it had."""
        for (one, first), (other, second) in combinations(self.taken("subnet").items(), 2):
            assert first == second or not meet(ip_network(one), ip_network(other))

    @invariant()
    def no_ports_conflict(self) -> None:
        assert not any(in_the_way(one, other) for one, other in combinations(map(parsed, self.taken("port")), 2))

    @invariant()
    def what_was_given_is_held(self) -> None:
        for number, asked in self.networks.items():
            assert self.ipam.pools(self.uid("network", number), asked) != ()
        for number, ports in self.ports_asked.items():
            assert len(self.ports.held(self.uid("container", number), ports)) == len(ports)


class MemoryWorld(World):
    def opened(self) -> Store:
        return MemoryStore()


class SqliteWorld(World):
    def opened(self) -> Store:
        return SqliteStore(Path(self.folder.name) / "store.db")


def meet(one, other) -> bool:  # type: ignore[no-untyped-def]
    return one.version == other.version and one.overlaps(other)


def may_ask_for(pools: Sequence[Pool], version: int) -> list[str]:
    found = []
    for pool in pools:
        subnet = ip_network(pool.subnet)
        if subnet.version == version:
            addresses = [subnet[number] for number in range(min(subnet.num_addresses, 16))]
            ends = {subnet[0], subnet[-1] if version == 4 else subnet[0]} if subnet.num_addresses > 2 else set()
            found += [str(one) for one in addresses if one not in ends and str(one) != pool.gateway]
    return found


def may_be_given(pools: Sequence[Pool], version: int) -> list[str]:
    found = []
    for pool in pools:
        part = ip_network(pool.ip_range or pool.subnet)
        found += [one for one in may_ask_for([pool], version) if ip_address(one) in part and one not in pool.reserved]
    return found


def in_the_way(one: PortRequest, other: PortRequest) -> bool:
    return (one.protocol, one.host) == (other.protocol, other.host) and overlap(one.address, other.address)


def parsed(value: str) -> PortRequest:
    protocol, port, address = value.split(":", 2)
    return PortRequest(0, int(port), address, "tcp" if protocol == "tcp" else "udp")


WORLDS = pytest.mark.parametrize("world", [MemoryWorld, SqliteWorld])


def run(world: type[World], operations: int) -> None:
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=operations // STEPS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@WORLDS
def test_a_thousand_operations(world: type[World]) -> None:
    run(world, 1000)


@pytest.mark.long
@WORLDS
def test_five_thousand_operations(world: type[World]) -> None:
    run(world, 5000)
