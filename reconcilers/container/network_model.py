"""What is observed of a container's networks (PURE)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.network.interface import EndpointState, Pool
from drivers.network.names.interface import SandboxNames
from drivers.network.ports.interface import PortRequest, PublishedPort


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A Network, as its object and the address management have it."""

    uid: str
    driver: str
    pools: tuple[Pool, ...] = ()
    """() until its subnets are known."""
    internal: bool = False
    dns: bool = True
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Networking:
    """Nothing at all of a container that is on no network of its own and holds nothing of an earlier one."""

    views: Mapping[str, NetworkView] = field(default_factory=dict)
    """By the name the manifest calls them by, as far as their objects are there."""
    drivers: frozenset[str] = frozenset()
    """What this host can attach containers to."""
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Its addresses, by network ID. What is attached, published or named has been held first, and is until it is not."""
    had: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses it moved away from and still holds, since a link may have them."""
    awaits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses that it is noted to wait for."""
    obstacles: Mapping[str, str] = field(default_factory=dict)
    """Who has the addresses it asks for, in words."""
    yields: frozenset[str] = frozenset()
    """IDs of networks where it gives way to others, before there is anything it can have: nothing of it may lead there."""
    attached: Mapping[str, str] = field(default_factory=dict)
    """Interfaces of its present life by network ID; looked for where the record does not say it all."""
    states: Mapping[str, EndpointState | None] = field(default_factory=dict)
    """By network ID: endpoints of a living process, compared with what they shall be."""
    ports: tuple[PortRequest, ...] = ()
    """The host ports it holds for just what it asks for."""
    holds_ports: bool = False
    """Whether it holds any, whatever for."""
    published: tuple[PublishedPort, ...] = ()
    publishes: bool = False
    """Whether anything of it is published, be it in part."""
    names: SandboxNames | None = None
    """What the resolver serves for its present life."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for network in self.claimed for address in self.own(network))

    @property
    def claimed(self) -> tuple[str, ...]:
        """IDs of the networks where there is anything of it."""
        return tuple(sorted({*self.held, *self.had, *self.awaits}))

    def own(self, network_id: str) -> tuple[str, ...]:
        """What nobody else can have there now."""
        return (*self.held.get(network_id, ()), *self.had.get(network_id, ()))
