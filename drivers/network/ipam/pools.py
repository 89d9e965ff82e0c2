"""Address management: subnets for networks and addresses for endpoints, held in the store.

The store has the last word on who has what. Kept in memory is only where the search for a free address goes on, and a hint
at what is taken: both can be lost, and are read from the store again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from drivers.network.interface import Pool
from drivers.network.ipam import subnets
from drivers.network.ipam.claims import Claims, formerly
from drivers.network.ipam.host_routes import Route
from drivers.network.ipam.interface import AddressClaim, Allocations, Holder, Obstacle, SubnetClaim, SubnetRequest
from drivers.network.ipam.lost_races import LostRaces
from drivers.network.ipam.next_fit import Searches
from drivers.network.ipam.subnets import AddressPool, Network, parsed_address, parsed_network
from resources.errors import Conflict, InvalidArgument, ResourceExhausted

_SUBNETS = "subnet"
_AUTOMATIC = "automatic"
"""The slot of the subnet a network got without asking; those it asks for have their position."""
_ADDRESSES = "address/"
_FAMILIES = {4: "ipv4", 6: "ipv6"}


class _Held(NamedTuple):
    subnet: str
    holder: Holder


class DefaultIpam:
    """`link` is the name of a network's own link, whose routes are in nobody's way; `describe` says for people who the
    first uid is, to whom the second one is; `desired` are the subnets that networks ask for, by uid, if that is known: of
    all that are there and not being deleted, none where the choice is the engine's."""

    def __init__(
        self,
        allocations: Allocations,
        *,
        routes: Callable[[], Sequence[Route]],
        link: Callable[[str], str],
        address_pools: Sequence[AddressPool],
        describe: Callable[[str, str], str] = lambda uid, _: uid[:12],
        desired: Callable[[], Mapping[str, Sequence[str]] | None] = lambda: None,
    ) -> None:
        self._allocations = allocations
        self._claims = Claims(allocations)
        self._routes = routes
        self._link = link
        self._address_pools = [(pool.checked(), pool.size) for pool in address_pools]
        self._describe = describe
        self._desired = desired
        self._lock = threading.Lock()
        self._searches = Searches()

    def allocate_subnets(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        pools, lost = subnets.pools(asked), LostRaces()
        with self._lock:
            while True:
                held = self._claims.of(network_id, _SUBNETS).has
                if pools:
                    wanted = _slots(pools)
                    for subnet in (pool.subnet for pool in pools if pool.subnet not in held.values()):
                        self._check_free(network_id, parsed_network(subnet))
                else:
                    wanted = {_AUTOMATIC: held.get(_AUTOMATIC) or self._free_subnet(network_id)}
                try:
                    self._claims.move(network_id, _SUBNETS, wanted)
                except Conflict as error:
                    lost.add(error)
                    continue
                return pools or (_automatic(wanted),)

    def pools(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        return _given(self._claims.of(network_id, _SUBNETS).has, asked)

    def subnet_claim(self, network_id: str, asked: Sequence[SubnetRequest]) -> SubnetClaim:
        claim = self._claims.of(network_id, _SUBNETS)
        pools = _given(claim.has, asked)
        inhabited = bool(claim.had or not pools) and self._inhabited(network_id, pools)
        others = () if pools else self._subnet_holders(network_id, (one.subnet for one in asked))
        return SubnetClaim(
            pools=pools,
            had=claim.had,
            awaits=claim.awaits == {f"{at}": one.subnet for at, one in enumerate(asked)},
            stale=bool(pools and claim.awaits),
            yields=not pools and self.yields_subnets(network_id),
            inhabited=inhabited,
            obstacle=self._obstacle(network_id, others),
        )

    def yields_subnets(self, network_id: str) -> bool:
        def holders(uid: str, wanted: Iterable[str]) -> Iterator[Holder]:
            return (other.holder for other in self._subnet_holders(uid, wanted))

        return self._claims.yields(network_id, _SUBNETS, holders)

    def await_subnets(self, network_id: str, asked: Sequence[SubnetRequest]) -> None:
        with self._lock:
            self._claims.wait(network_id, _SUBNETS, {f"{at}": one.subnet for at, one in enumerate(asked)})

    def vacate_subnets(self, network_id: str) -> None:
        with self._lock:
            self._claims.vacate(network_id, _SUBNETS)

    def let_subnets_go(self, network_id: str) -> None:
        with self._lock:
            self._claims.let_go(network_id, _SUBNETS)

    def allocate(
        self, network_id: str, pools: Sequence[Pool], holder: str, *, ipv4: str = "", ipv6: str = ""
    ) -> tuple[str, ...]:
        asked, lost = {4: ipv4, 6: ipv6}, LostRaces()
        with self._lock:
            while True:
                claim = self._claims.of(holder, _ADDRESSES + network_id)
                wanted = {}
                for version, slot in _FAMILIES.items():
                    family = [pool for pool in pools if subnets.version(pool) == version]
                    if asked[version]:
                        wanted[slot] = self._static(network_id, family, version, holder, asked[version])
                    elif family:
                        own = (claim.has.get(slot, ""), *claim.had)
                        kept = next((address for address in own if _kept(family, address)), "")
                        wanted[slot] = kept or self._free_address(network_id, family, holder)
                if wanted == claim.has and not claim.awaits:
                    return tuple(wanted.values())
                try:
                    self._claims.move(holder, _ADDRESSES + network_id, wanted)
                except Conflict as error:  # also a fixed address that the search did not know of
                    lost.add(error)
                    continue
                return tuple(wanted.values())

    def addresses(self, holder: str) -> Mapping[str, tuple[str, ...]]:
        return {network_id: one.addresses for network_id, one in self.claims(holder).items() if one.addresses}

    def claims(self, holder: str) -> Mapping[str, AddressClaim]:
        return {
            pool.removeprefix(_ADDRESSES): AddressClaim(
                claim.values,
                claim.had,
                tuple(claim.awaits.values()),
                bool(claim.awaits) and self._claims.yields(holder, pool, self._address_holders(pool)),
            )
            for pool, claim in self._claims.all_of(holder).items()
            if pool.startswith(_ADDRESSES)
        }

    def obstacle(self, network_id: str, holder: str, wanted: Sequence[str]) -> str:
        for address in wanted:
            who = self._allocations.taken(_ADDRESSES + network_id, address).get(address)
            if who is not None and who.uid != holder:
                return f"the address {address} is {self._describe(who.uid, holder)}'s"
        return ""

    def await_addresses(self, network_id: str, holder: str, *, ipv4: str = "", ipv6: str = "") -> None:
        asked = {_FAMILIES[4]: ipv4, _FAMILIES[6]: ipv6}
        with self._lock:
            self._claims.wait(holder, _ADDRESSES + network_id, {slot: value for slot, value in asked.items() if value})

    def vacate(self, holder: str, network_id: str) -> None:
        with self._lock:
            self._claims.vacate(holder, _ADDRESSES + network_id)

    def let_go(self, holder: str, network_id: str) -> None:
        with self._lock:
            self._claims.let_go(holder, _ADDRESSES + network_id)

    def release(self, holder: str, network_id: str) -> None:
        with self._lock:
            self._claims.release(holder, _ADDRESSES + network_id)

    def _address_holders(self, pool: str) -> Callable[[str, Iterable[str]], Iterator[Holder]]:
        def holders(uid: str, wanted: Iterable[str]) -> Iterator[Holder]:
            del uid
            for address in wanted:
                who = self._allocations.taken(pool, address).get(address)
                if who is not None:
                    yield who

        return holders

    def _subnet_holders(self, network_id: str, wanted: Iterable[str]) -> Iterator[_Held]:
        """Other networks, with the subnets they have that overlap what is wanted."""
        asked = [parsed_network(subnet) for subnet in wanted]
        if not asked:
            return
        for value, who in self._allocations.taken(_SUBNETS).items():
            if who.uid != network_id and any(subnets.overlap(one, parsed_network(value)) for one in asked):
                yield _Held(value, who)

    def _obstacle(self, network_id: str, others: Iterable[_Held]) -> Obstacle | None:
        """One that stays comes first."""
        found = (Obstacle(one.subnet, self._describe(one.holder.uid, network_id), self._passes(one)) for one in others)
        return min(found, key=lambda one: one.passing, default=None)

    def _passes(self, held: _Held) -> bool:
        if formerly(held.holder):
            return True
        networks = self._desired()
        if networks is None:
            return False
        asked = networks.get(held.holder.uid)
        return asked is None or not (held.subnet in asked if asked else held.holder.slot == _AUTOMATIC)

    def _inhabited(self, network_id: str, pools: Sequence[Pool]) -> bool:
        """Whether anybody has an address of it that is in none of these."""
        taken = map(parsed_address, self._allocations.taken(_ADDRESSES + network_id))
        return any(not any(subnets.contains(pool, address) for pool in pools) for address in taken)

    def _others(self, network_id: str) -> Iterator[tuple[Network, str]]:
        for subnet, holder in self._allocations.taken(_SUBNETS).items():
            if holder.uid != network_id:
                yield parsed_network(subnet), holder.uid

    def _foreign_routes(self, network_id: str) -> Iterator[tuple[Network, Route]]:
        own = self._link(network_id)
        for route in self._routes():
            if not own or route.device != own:
                yield parsed_network(route.destination), route

    def _check_free(self, network_id: str, subnet: Network) -> None:
        for other, uid in self._others(network_id):
            if subnets.overlap(subnet, other):
                raise Conflict(
                    f"the subnet {subnet} overlaps {other} of {self._describe(uid, network_id)}",
                    hint="give one of them another subnet",
                )
        for other, route in self._foreign_routes(network_id):
            if route.on_link and subnets.overlap(subnet, other):
                raise Conflict(
                    f"the subnet {subnet} overlaps {other}, which this host has a route to over {route.device}",
                    hint="give the network another subnet",
                )

    def _free_subnet(self, network_id: str) -> str:
        blocked = [other for other, _ in self._others(network_id)]
        blocked += [other for other, _ in self._foreign_routes(network_id)]
        # What another one asks for it is about to have.
        blocked += [parsed_network(one) for asked in (self._desired() or {}).values() for one in asked]
        for pool, size in self._address_pools:
            found = subnets.first_free(pool, size, blocked)
            if found is not None:
                return str(found)
        among = " and ".join(f"{pool} (in subnets of /{size})" for pool, size in self._address_pools)
        raise ResourceExhausted(
            f"no subnet is free: networks and routes of this host take all of {among}",
            hint="say the network's subnets, or give the engine other address pools",
        )

    def _static(self, network_id: str, family: Sequence[Pool], version: int, holder: str, text: str) -> str:
        address = parsed_address(text)
        own = next((pool for pool in family if subnets.contains(pool, address)), None)
        if own is None:
            there = ", ".join(pool.subnet for pool in family) or f"none of IPv{version}"
            raise InvalidArgument(f"{address} is in no subnet of the network, which has {there}")
        flaw = subnets.unassignable(own, address)
        if flaw:
            raise InvalidArgument(f"no container can have the address {address}: it {flaw}")
        who = self._allocations.taken(_ADDRESSES + network_id, str(address)).get(str(address))
        if who is not None and who.uid != holder:
            raise Conflict(f"the address {address} is {self._describe(who.uid, holder)}'s already")
        return str(address)

    def _free_address(self, network_id: str, family: Sequence[Pool], holder: str) -> str:
        def taken() -> Iterator[int]:
            return (int(parsed_address(address)) for address in self._allocations.taken(_ADDRESSES + network_id))

        awaited = self._claims.awaited(_ADDRESSES + network_id, but=holder)
        never = frozenset(int(parsed_address(one)) for one in awaited)
        for fresh in (False, True):
            for pool in family:
                key, numbers = (network_id, pool.subnet), subnets.assignable(pool)
                number = self._searches.get(key, numbers, taken, fresh=fresh).take(subnets.excluded(pool) | never)
                if number is not None:
                    return subnets.address_at(pool, number)
        raise _exhausted(family)


def _given(held: Mapping[str, str], asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
    """The pools of what is held, if that is just what is asked for."""
    if not asked:
        return (_automatic(held),) if held.keys() == {_AUTOMATIC} else ()
    try:
        pools = subnets.pools(asked)
    except InvalidArgument:
        return ()
    return pools if held == _slots(pools) else ()


def _slots(pools: Sequence[Pool]) -> dict[str, str]:
    return {f"{position}": pool.subnet for position, pool in enumerate(pools)}


def _automatic(held: Mapping[str, str]) -> Pool:
    return subnets.pool_of(SubnetRequest(held[_AUTOMATIC]))


def _kept(family: Sequence[Pool], address: str) -> bool:
    return bool(address) and any(subnets.may_be_given(pool, parsed_address(address)) for pool in family)


def _exhausted(family: Sequence[Pool]) -> ResourceExhausted:
    count = 0
    for pool in family:
        numbers = subnets.assignable(pool)
        count += numbers.stop - numbers.start - sum(number in numbers for number in subnets.excluded(pool))
    where = " and ".join(f"{pool.ip_range} of {pool.subnet}" if pool.ip_range else pool.subnet for pool in family)
    have = "have" if len(family) > 1 else "has"
    if not count:
        return ResourceExhausted(
            f"{where} {have} no address that is not reserved", hint="ask for one of those, or reserve fewer"
        )
    addresses = "1 address, and it is taken" if count == 1 else f"{count} addresses, and all are taken"
    return ResourceExhausted(
        f"{where} {have} {addresses}", hint="remove a container of the network, or give it a larger subnet"
    )
