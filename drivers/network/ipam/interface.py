"""The contract of address management: who holds which subnet and which address, before the kernel hears of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.network.interface import Pool


class Holder(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def slot(self) -> str: ...


class Allocations(Protocol):
    """Who holds which value of a pool, in the store (controller.store.allocations): a value has one holder, and a slot of a
    holder one value. Safe from any thread; what an object holds is freed when it is removed."""

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        """Give the holder just these values of the pool, by slot, and free what else of it it held, all at once. Raises:
        Conflict naming who has one of them."""

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        """(pool, slot) -> value."""

    def taken(self, pool: str, prefix: str = "") -> Mapping[str, Holder]:
        """By value; those that begin with `prefix`, which costs no more than they do."""


@dataclass(frozen=True, slots=True)
class SubnetRequest:
    subnet: str
    gateway: str = ""
    """"": the first address of the subnet (of an IPv6 one, the one after the subnet-router anycast address)."""
    ip_range: str = ""
    reserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Obstacle:
    subnet: str
    network: str
    """That has it, in words: `network/edge`."""
    passing: bool = False
    """It is to leave it."""


@dataclass(frozen=True, slots=True)
class SubnetClaim:
    """How a network stands with just what it asks for."""

    pools: tuple[Pool, ...] = ()
    """What it has been given for that; () when it has not (yet)."""
    had: tuple[str, ...] = ()
    """Subnets that it moved away from and still holds."""
    inhabited: bool = False
    """An endpoint holds an address that is in none of `pools`."""
    awaits: bool = False
    """It is noted that it waits for just this."""
    stale: bool = False
    """It is noted that it waits, though it need not any more."""
    yields: bool = False
    """It is in a ring of networks, each of which waits for a subnet that the next one has, and the one to give way."""
    obstacle: Obstacle | None = None
    """What of it another network has."""


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """How a holder stands in one network."""

    addresses: tuple[str, ...] = ()
    """What it has, IPv4 first."""
    had: tuple[str, ...] = ()
    """What it moved away from and still holds, since its link may have it."""
    awaits: tuple[str, ...] = ()
    """What it is noted to wait for."""
    yields: bool = False
    """It is in a ring of holders, each of which waits for an address that the next one has, and the one to give way."""


class Ipam(Protocol):
    """Address management. One process allocates; what it gave is the same after a restart.

    What is moved away from is held until it is let go, so that nothing is two links' at once. Who waits for what another has
    keeps what it has; only in a ring one has to give way first, and of a ring always the same one: so whatever is noted
    here can be acted upon at any time, by any engine.
    """

    def allocate_subnets(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        """Hold these subnets for the network, or, where none is asked for, one of the engine's own pools that meets no
        route of the host and no other network's. What it held before and asks for no more is held until it is let go.

        Raises: Conflict naming the network or the route that overlaps; ResourceExhausted; InvalidArgument.
        """

    def pools(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        """What `allocate_subnets` has given for just this request; () when it has not (yet). Changes nothing."""

    def subnet_claim(self, network_id: str, asked: Sequence[SubnetRequest]) -> SubnetClaim: ...

    def yields_subnets(self, network_id: str) -> bool:
        """As `SubnetClaim.yields`: its endpoints shall leave the subnets it has."""

    def await_subnets(self, network_id: str, asked: Sequence[SubnetRequest]) -> None:
        """Note that it waits for them."""

    def vacate_subnets(self, network_id: str) -> None:
        """Free all it holds; it waits on."""

    def let_subnets_go(self, network_id: str) -> None:
        """Free what it moved away from."""

    def allocate(
        self, network_id: str, pools: Sequence[Pool], holder: str, *, ipv4: str = "", ipv6: str = ""
    ) -> tuple[str, ...]:
        """One address a family of the network's pools, without the prefix length, held by `holder` (an object's uid) until
        it is released: those asked for, or those it has already, or free ones that nobody waits for. An address that was
        freed is given again as late as possible. What it had before is held until it is let go.

        Raises: Conflict naming who has the address asked for; ResourceExhausted ("10.42.0.0/29 has 5 addresses, and all
        are taken"); InvalidArgument (not in the network, its gateway, its broadcast address).
        """

    def addresses(self, holder: str) -> Mapping[str, tuple[str, ...]]:
        """What it has, by network id, IPv4 first."""

    def claims(self, holder: str) -> Mapping[str, AddressClaim]:
        """By network id, where there is anything to tell."""

    def obstacle(self, network_id: str, holder: str, wanted: Sequence[str]) -> str:
        """Who else has one of these addresses, in words; "" when nobody has."""

    def await_addresses(self, network_id: str, holder: str, *, ipv4: str = "", ipv6: str = "") -> None:
        """Note that it waits for them."""

    def vacate(self, holder: str, network_id: str) -> None:
        """Free all it holds there; it waits on."""

    def let_go(self, holder: str, network_id: str) -> None:
        """Free what it moved away from."""

    def release(self, holder: str, network_id: str) -> None:
        """Free all it holds there, and wait no more. Of what is not held: fine."""
