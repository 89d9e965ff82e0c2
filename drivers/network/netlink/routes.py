"""Addresses of links and the default routes over them, as rtnetlink has them.

Ours carry a number in their protocol field, which the kernel keeps for whoever made them: what others have put beside them
is told apart without a record.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.network.netlink.messages import CREATE, Netlink, Request, attribute, attributes, fixed, number, u8, u32
from resources.errors import NotFound

OURS = 0x4C
"""Of no routing daemon in /etc/iproute2/rt_protos."""
SETTLED = (errno.EEXIST, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT)
"""What changes meet when somebody else was faster: there already, or gone already."""

LIMIT = 4096
"""What is looked at of one link: in its namespace a container may be allowed to make any number."""

_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_FIB_MATCH = 0x2000
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_PROTOCOL = 1, 2, 8, 11
_NO_DUPLICATE_DETECTION = 0x02
_DESTINATION, _OUT, _GATEWAY = 1, 4, 5
_MAIN_TABLE, _UNICAST = 254, 1
_HOST = 254
"""A scope."""
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Address:
    value: str
    """With the length of its prefix: `10.42.0.5/24`."""
    ours: bool = True


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    gateway: str
    ours: bool = True


def addresses_of(kernel: Netlink, index: int) -> list[Address]:
    found = []
    request = Request(_GET_ADDRESS, _IFADDR.pack(0, 0, 0, 0, index))
    for reply in kernel.dump("cannot list addresses", request, LIMIT):
        _, length, _, _, of = fixed(_IFADDR, reply.body)
        values = attributes(reply.body, _IFADDR.size)
        value = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
        if value and of == index:
            ours = values.get(_IFA_PROTOCOL) == bytes([OURS])
            found.append(Address(f"{ipaddress.ip_address(value)}/{length}", ours))
    return found


def ours_of(wanted: Sequence[str], there: Sequence[Address]) -> list[str]:
    """The addresses that are ours to care for: those asked for, also with another prefix, and those we made."""
    asked = {_host(value) for value in wanted}
    return sorted(one.value for one in there if one.ours or _host(one.value) in asked)


def address_changes(index: int, wanted: Sequence[str], there: Sequence[Address]) -> list[Request]:
    """What makes those that are ours those that are wanted. Of one family, a new one is there before an old one goes: with the
    last address go all routes."""
    values = {one.value for one in there}
    surplus = [value for value in ours_of(wanted, there) if value not in wanted]
    # But an IPv6 address cannot be there with two prefixes.
    asked = {_host(value) for value in wanted}
    clashing = [value for value in surplus if ":" in value and _host(value) in asked]
    return [
        *(delete_address(index, value) for value in clashing),
        *(add_address(index, value) for value in wanted if value not in values),
        *(delete_address(index, value) for value in surplus if value not in clashing),
    ]


def route_changes(index: int, wanted: Sequence[str], there: Sequence[DefaultRoute]) -> list[Request]:
    gateways = {one.gateway for one in there}
    return [
        *(add_default_route(index, gateway) for gateway in wanted if gateway not in gateways),
        *(delete_default_route(index, one.gateway) for one in there if one.ours and one.gateway not in wanted),
    ]


def add_address(index: int, address: str, *, host: bool = False) -> Request:
    """Used at once, also by IPv6: who has it is decided before the kernel hears of it. `host`: it is the source of nothing that
    leaves the host."""
    flags = u32(_IFA_FLAGS, _NO_DUPLICATE_DETECTION) if ":" in address else b""
    return Request(
        _NEW_ADDRESS, _address(index, address, _HOST if host else 0) + flags + u8(_IFA_PROTOCOL, OURS), CREATE
    )


def delete_address(index: int, address: str) -> Request:
    return Request(_DELETE_ADDRESS, _address(index, address))


def default_routes(kernel: Netlink, index: int, *, ipv6: bool) -> list[DefaultRoute]:
    """Those that go over the link, without those of several next hops."""
    return [
        route
        for family in (socket.AF_INET, *((socket.AF_INET6,) if ipv6 else ()))
        for route in _default_routes(kernel, family, index)
    ]


def add_default_route(index: int, gateway: str) -> Request:
    """Before others of its kind: what was there is left, and not used while this one is."""
    return Request(_NEW_ROUTE, _route(index, gateway), CREATE)


def delete_default_route(index: int, gateway: str) -> Request:
    return Request(_DELETE_ROUTE, _route(index, gateway))


def way_to(destination: str) -> Request:
    """Which route a packet of the host would take; answered with that route itself."""
    target = ipaddress.ip_address(destination)
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, target.max_prefixlen, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    return Request(_GET_ROUTE, header + attribute(_DESTINATION, target.packed))


def link_of_route(body: bytes) -> int:
    return number(attributes(body, _ROUTE.size).get(_OUT, b""))


def length_of_route(body: bytes) -> int:
    return int(_ROUTE.unpack_from(body)[1])


def _default_routes(kernel: Netlink, family: int, index: int) -> Sequence[DefaultRoute]:
    header = _ROUTE.pack(family, 0, 0, 0, _MAIN_TABLE, 0, 0, 0, 0)
    try:
        replies = kernel.dump("cannot list routes", Request(_GET_ROUTE, header + u32(_OUT, index)), LIMIT)
    except NotFound:
        return []  # a namespace that never had a route has no table of them
    found = []
    for reply in replies:
        _, length, _, _, table, protocol, _, kind, _ = fixed(_ROUTE, reply.body)
        values = attributes(reply.body, _ROUTE.size)
        gateway = values.get(_GATEWAY)
        if (
            length == 0
            and table == _MAIN_TABLE
            and kind == _UNICAST
            and gateway
            and number(values.get(_OUT, b"")) == index
        ):
            found.append(DefaultRoute(str(ipaddress.ip_address(gateway)), protocol == OURS))
    return found


def _host(address: str) -> str:
    return address.partition("/")[0]


def _address(index: int, address: str, scope: int = 0) -> bytes:
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    header = _IFADDR.pack(family, interface.network.prefixlen, 0, scope, index)
    return header + attribute(_IFA_LOCAL, interface.packed) + attribute(_IFA_ADDRESS, interface.packed)


def _route(index: int, gateway: str) -> bytes:
    hop = ipaddress.ip_address(gateway)
    family = socket.AF_INET if hop.version == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, 0, 0, 0, _MAIN_TABLE, OURS, 0, _UNICAST, 0)
    return header + attribute(_GATEWAY, hop.packed) + u32(_OUT, index)
