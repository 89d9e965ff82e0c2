"""The routes of the host: which addresses are in use already, and over which link."""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from drivers.network.netlink.messages import Netlink, Request, attributes

_GET_LINK, _GET_ROUTE = 18, 26
_LINK = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_LINK_NAME = 3
_DESTINATION, _OUT, _GATEWAY, _MULTIPATH, _VIA = 1, 4, 5, 9, 18
_BY_KERNEL = 2
_UNICAST, _LOCAL, _REFUSING = 1, 2, (6, 7, 8)
_POINT_TO_POINT = 0x10
_CLONED = 0x200
_LENGTHS = {socket.AF_INET: 4, socket.AF_INET6: 16}
_EVERYTHING = {socket.AF_INET: 7, socket.AF_INET6: 6}
"""Prefixes up to these lengths are default routes, or parts that some VPNs split them into."""


@dataclass(frozen=True, slots=True)
class Route:
    destination: str
    """`10.0.0.0/8`"""
    device: str
    """"" for one that leads to several, or nowhere."""
    on_link: bool
    """The addresses are this host's own or its neighbours' at the device, not behind a next hop."""


def host_routes() -> Sequence[Route]:
    """All routes of all tables but default ones, of the calling thread's network namespace. Raises: EngineError."""
    found = []
    with Netlink() as netlink:
        links = dict(_links(netlink))
        for family in _EVERYTHING:
            request = Request(_GET_ROUTE, _ROUTE.pack(family, *[0] * 8))
            found += [_route(reply.body, links) for reply in netlink.dump("cannot list routes", request)]
    return [route for route in found if route is not None]


def _links(netlink: Netlink) -> Iterator[tuple[int, tuple[str, bool]]]:
    """Name, and whether it is point-to-point, by index."""
    for reply in netlink.dump("cannot list links", Request(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0))):
        _, _, index, flags, _ = _LINK.unpack_from(reply.body)
        name = attributes(reply.body, _LINK.size).get(_LINK_NAME, b"").rstrip(b"\0")
        yield index, (name.decode("ascii", "replace"), bool(flags & _POINT_TO_POINT))


def _route(message: bytes, links: Mapping[int, tuple[str, bool]]) -> Route | None:
    family, length, _, _, _, protocol, _, kind, flags = _ROUTE.unpack_from(message)
    if kind not in (_UNICAST, _LOCAL, *_REFUSING) or flags & _CLONED or length <= _EVERYTHING[family]:
        return None
    values = attributes(message, _ROUTE.size)
    name, point_to_point = links.get(int.from_bytes(values.get(_OUT, b""), "little"), ("", False))
    # A tunnel's neighbours are those of its own addresses; what else is routed into it is behind it.
    near = kind == _LOCAL or protocol == _BY_KERNEL or not point_to_point
    on_link = bool(name) and near and not values.keys() & {_GATEWAY, _MULTIPATH, _VIA}
    destination = socket.inet_ntop(family, values.get(_DESTINATION, bytes(_LENGTHS[family])))
    return Route(str(ip_network(f"{destination}/{length}")), name, on_link)
