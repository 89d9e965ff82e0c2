"""What a Network's manifest asks for and no network can be: subnets without room, gateways that are no host's address."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from manifests.normalize import Steps
from resources import subnets
from resources.network import NetworkSpec, Subnet

_IPV6_MTU = 1280
"""No link of IPv6 has less (RFC 8200)."""


def network_flaws(spec: NetworkSpec) -> Iterator[tuple[Steps, str]]:
    for number, one in enumerate(spec.subnets):
        subnet = ip_network(one.subnet)
        flaw = subnets.unusable(subnet)
        if flaw:
            yield ("subnets", number, "subnet"), f"cannot be a subnet of a network: {flaw}"
        elif one.gateway is not None:
            flaw = subnets.never_a_host(subnet, ip_address(one.gateway))
            if flaw:
                yield ("subnets", number, "gateway"), flaw
    yield from _apart(spec.subnets)
    of_ipv6 = next((number for number, one in enumerate(spec.subnets) if ":" in one.subnet), None)
    if of_ipv6 is not None and spec.mtu is not None and spec.mtu < _IPV6_MTU:
        yield ("mtu",), f"IPv6 needs {_IPV6_MTU} or more, and {spec.subnets[of_ipv6].subnet} is of IPv6"


def _apart(asked: Sequence[Subnet]) -> Iterator[tuple[Steps, str]]:
    for number, one in enumerate(asked):
        subnet = ip_network(one.subnet)
        other = next((other for other in asked[:number] if subnets.overlap(ip_network(other.subnet), subnet)), None)
        if other is not None:
            yield ("subnets", number), f"overlaps {other.subnet}, which the network has too"
