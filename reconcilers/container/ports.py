"""Which ports of the host lead to a container (PURE)."""

from collections.abc import Sequence

from drivers.network.ports.interface import PortRequest, PublishedPort
from reconcilers.container.endpoints import Endpoint
from resources.container import ContainerSpec


def requests(spec: ContainerSpec) -> tuple[PortRequest, ...]:
    return tuple(PortRequest(port.container, port.host, port.address or "", port.protocol) for port in spec.ports)


def published(held: Sequence[PortRequest], endpoints: Sequence[Endpoint]) -> tuple[PublishedPort, ...]:
    """What there is to publish, sorted: nothing where no address can be reached from outside. In a plan, a host port or
    an address may not be known yet: 0 and ""."""
    ipv4, ipv6 = target(endpoints, 4), target(endpoints, 6)
    if not (ipv4 or ipv6) and all(one.addresses for one in endpoints):
        return ()
    found = (PublishedPort(one.host or 0, one.container, one.address, one.protocol, ipv4, ipv6) for one in held)
    return tuple(sorted(found, key=lambda port: (port.protocol, port.address, port.host)))


def target(endpoints: Sequence[Endpoint], family: int) -> str:
    """That of the endpoint with the default route, or else of the first on a network that is not internal."""
    leading = [one for one in endpoints if one.gives_default_route(family)]
    outward = [one for one in endpoints if not one.internal and one.address(family)]
    return next((one.address(family) for one in (*leading, *outward)), "")


def still_asked(now: Sequence[PublishedPort], asked: Sequence[PortRequest]) -> tuple[PublishedPort, ...]:
    """Of what is published that which a request leaves as it is; the rest may be another container's next."""
    wanted = {(one.protocol, one.address, one.container, one.host) for one in asked}
    return tuple(
        port
        for port in now
        if wanted & {(port.protocol, port.address, port.container, host) for host in (port.host, None)}
    )
