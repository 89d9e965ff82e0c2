"""What is observed of a container's networks (PURE)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.network.interface import EndpointState, Pool, PortRequest, PublishedPort
from drivers.network.names.interface import SandboxNames


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
        return tuple(address for addresses in self.held.values() for address in addresses)
