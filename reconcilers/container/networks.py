"""All that a container's networks shall be, taken together (PURE): its endpoints, names and published ports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drivers.network.names.interface import SandboxNames
from drivers.network.ports.interface import PublishedPort
from reconcilers.container import ports
from reconcilers.container.endpoints import Endpoint, endpoints, held_addresses, own_networks
from reconcilers.container.model import Incarnation
from reconcilers.container.names import sandbox_names
from reconcilers.container.network_actions import (
    AllocateAddresses,
    AllocatePorts,
    AwaitAddresses,
    PublishPorts,
    ReleasePorts,
)
from reconcilers.container.network_model import Networking, NetworkView
from reconcilers.interface import Context
from resources.container import ContainerSpec
from resources.object import Object

Allocation = AllocateAddresses | AwaitAddresses | AllocatePorts | ReleasePorts | PublishPorts


@dataclass(frozen=True, slots=True)
class Networks:
    endpoints: tuple[Endpoint, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    """What has to be had before the rest can be said."""
    missing: tuple[str, ...] = ()
    """Why there is no endpoint where one is asked for, in words."""
    obstacles: tuple[str, ...] = ()
    """Who has what it asks for, in words."""
    settled: bool = True
    """The endpoints are those that are asked for, and all of them; otherwise some of them as they were."""
    published: tuple[PublishedPort, ...] | None = ()
    """None while it is not known: whatever is published stays."""
    names: SandboxNames | None = None

    @property
    def pending(self) -> frozenset[str]:
        """Networks whose addresses are yet to be had, though it may have others there; of a plan none."""
        named = {one.network for one in self.endpoints if one.addresses}
        return frozenset(
            one.network for one in self.allocations if isinstance(one, AllocateAddresses) and one.network in named
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """First those it is seen with from outside, whatever the order the networks are written in."""
        ordered = sorted(
            self.endpoints, key=lambda one: (not one.gives_default_route(4), not one.gateways, one.network)
        )
        return tuple(address for one in ordered for address in one.plain)

    def host_gateway(self) -> str:
        """The host as it is reached by the default route, or else on the first network; "" on none."""
        for family in (4, 6):
            for one in self.endpoints:
                if one.gives_default_route(family):
                    return one.router(family)
        return next((router for one in self.endpoints for router in one.routers), "")


def networks(desired: Object, seen: Networking, life: Incarnation | None, life_id: str, context: Context) -> Networks:
    """Of this life; without `life`, of one that is yet to be made."""
    spec: ContainerSpec = desired.effective
    planning = context.planning
    recorded: Mapping[str, Mapping[str, Any]] = life.applied.get("endpoints", {}) if life else {}
    # While there is something to wait for, what runs stays as it is.
    kept = bool(context.blockers) and life is not None and life.alive and not planning
    found = endpoints(spec, seen, recorded, kept=kept, planning=planning)
    allocations = () if kept else tuple(_allocations(desired.metadata.uid, spec, seen, planning=planning))
    missing = () if kept or planning else tuple(_missing(spec, seen))
    obstacles = () if kept or planning else tuple(_obstacles(spec, seen))
    return Networks(
        endpoints=found,
        allocations=allocations,
        obstacles=obstacles,
        missing=missing,
        settled=planning or not (kept or allocations or missing or obstacles),
        published=_published(spec, seen, found, planning=planning),
        names=sandbox_names(life_id, desired.metadata.name, spec, found),
    )


def _allocations(uid: str, spec: ContainerSpec, seen: Networking, *, planning: bool) -> Iterator[Allocation]:
    """Addresses before ports: who holds a port holds an address."""
    for name, asked in own_networks(spec):
        view = seen.views.get(name) or (NetworkView("", "") if planning else None)
        if view is None or (_flaw(name, view, seen) and not planning):
            continue
        ipv4, ipv6 = asked.ipv4 or "", asked.ipv6 or ""
        fits, awaits = held_addresses(asked, view, seen) is not None, seen.awaits.get(view.uid, ())
        if not planning and not fits and view.uid in seen.obstacles:
            if awaits != tuple(filter(None, (ipv4, ipv6))):
                yield AwaitAddresses(uid, name, view.uid, ipv4, ipv6)
        elif not fits or (awaits and not planning):
            yield AllocateAddresses(uid, name, view.uid, view.pools, ipv4, ipv6)
    wanted = ports.requests(spec)
    if seen.ports or not (wanted or seen.holds_ports):
        return
    # What is another's the moment it is given back must not lead here any more.
    staying = ports.still_asked(seen.published, wanted)
    if staying != seen.published or not wanted:
        yield PublishPorts(uid, staying)
    yield AllocatePorts(uid, wanted, wakes=seen.holds_ports) if wanted else ReleasePorts(uid)


def _obstacles(spec: ContainerSpec, seen: Networking) -> Iterator[str]:
    for name, asked in own_networks(spec):
        view = seen.views.get(name)
        if view is not None and view.uid in seen.obstacles and held_addresses(asked, view, seen) is None:
            yield f"{seen.obstacles[view.uid]} on network/{name}"


def _missing(spec: ContainerSpec, seen: Networking) -> Iterator[str]:
    for name, _ in own_networks(spec):
        view = seen.views.get(name)
        flaw = f"network/{name} is not there" if view is None else _flaw(name, view, seen)
        if flaw:
            yield flaw


def _flaw(name: str, view: NetworkView, seen: Networking) -> str:
    if view.driver not in seen.drivers:
        return f"network/{name} is one of the driver {view.driver}, which nothing is attached to by name"
    return "" if view.pools else f"network/{name} has no subnet yet"


def _published(
    spec: ContainerSpec, seen: Networking, found: tuple[Endpoint, ...], *, planning: bool
) -> tuple[PublishedPort, ...] | None:
    wanted = ports.requests(spec)
    if not wanted:
        return ()
    if planning:
        return ports.published(seen.ports or wanted, found)
    return ports.published(seen.ports, found) if seen.ports else None
