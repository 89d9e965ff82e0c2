"""Connections that the kernel tracks: found by address, and forgotten. Numbers are those of nfnetlink_conntrack.h."""

import errno
import ipaddress
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from drivers.network.firewall.nfnetlink import CONNTRACK, IPV4, IPV6, Nfnetlink, body, family, message, number
from drivers.network.netlink.messages import Request, attribute, attributes, nested, u8, u32

TCP, UDP = 6, 17
_GET, _DELETE, _GET_STATISTICS = 1, 2, 5
_ORIGINAL, _REPLY, _STATUS, _ID, _ZONE, _FILTER = 1, 2, 3, 12, 18, 25
_ENTRIES = 1
_IP, _PROTOCOL = 1, 2
_IPV4_SOURCE = 1
_ORIGINAL_FLAGS, _REPLY_FLAGS = 1, 2
_BY_SOURCE, _BY_PROTOCOL = 1 << 0, 1 << 3
_TRANSLATED = 0x30
_FEW = 500
"""So many connections are read as fast as the kernel looks for one: it walks over all its buckets each time."""


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of a connection."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class Flow:
    original: Side
    reply: Side
    translated: bool
    """Its source or destination was."""


Match = Callable[[Flow], bool]


def forget_of(link: Nfnetlink, addresses: Collection[str], match: Match | None = None) -> None:
    """Those from one of the addresses, and those to it, that match."""
    packed = frozenset(ipaddress.ip_address(address).packed for address in addresses)
    # What goes to an address is answered from there, whatever address it was sent to.
    _forget(
        link,
        _of_addresses(packed),
        lambda flow: (
            not packed.isdisjoint((flow.original.source, flow.reply.source)) and (match is None or match(flow))
        ),
    )


def forget_udp(link: Nfnetlink, ports: Collection[int]) -> None:
    """Those to these ports, as they may be the host's, that have not been translated: they would not meet a rule that is made
    now."""
    asked = nested(_ORIGINAL, nested(_PROTOCOL, u8(1, UDP))) + nested(_FILTER, u32(_ORIGINAL_FLAGS, _BY_PROTOCOL))
    _forget(
        link,
        (_listing(version, asked) for version in (IPV4, IPV6)),
        lambda flow: flow.original.protocol == UDP and flow.original.destination_port in ports and not flow.translated,
    )


def _of_addresses(packed: Collection[bytes]) -> Iterator[Request]:
    for address in packed:
        if len(address) == 4:
            for side, flags in ((_ORIGINAL, _ORIGINAL_FLAGS), (_REPLY, _REPLY_FLAGS)):
                wanted = nested(side, nested(_IP, attribute(_IPV4_SOURCE, address)))
                yield _listing(IPV4, wanted + nested(_FILTER, u32(flags, _BY_SOURCE)))
    if any(len(address) == 16 for address in packed):
        # Kernels to this day take the filter for IPv6 addresses the wrong way round: they leave out what matches.
        yield _listing(IPV6)


def _listing(version: int, asked: bytes = b"") -> Request:
    return message(_GET, version, asked, subsystem=CONNTRACK)


def _forget(link: Nfnetlink, listings: Iterator[Request], match: Match) -> None:
    """The kernel picks where there are many and it can; what it lists is looked at in any case."""
    count = _count(link)
    doomed = {}
    for listing in listings if count > _FEW else (_listing(0),) * bool(count):
        for reply in link.dump("cannot list the tracked connections", listing):
            attrs = body(reply)
            if match(_flow(attrs)):
                named = [nested(_ORIGINAL, attrs[_ORIGINAL]), attribute(_ID, attrs[_ID])]
                if _ZONE in attrs:
                    named.append(attribute(_ZONE, attrs[_ZONE]))
                doomed[attrs[_ID], family(reply)] = message(_DELETE, family(reply), *named, subsystem=CONNTRACK)
    for some in _chunks(list(doomed.values())):
        link.do("cannot forget a tracked connection", *some, fine=(errno.ENOENT,))


def _count(link: Nfnetlink) -> int:
    (answer,) = link.do("cannot count the tracked connections", message(_GET_STATISTICS, 0, subsystem=CONNTRACK))
    return number(body(answer.replies[0]).get(_ENTRIES, b"")) if answer.replies else _FEW + 1


def _chunks(requests: list[Request]) -> Iterator[list[Request]]:
    """The answers to one have room in the socket."""
    for start in range(0, len(requests), 200):
        yield requests[start : start + 200]


def _flow(attrs: dict[int, bytes]) -> Flow:
    status = number(attrs.get(_STATUS, b""))
    return Flow(_side(attrs[_ORIGINAL]), _side(attrs[_REPLY]), bool(status & _TRANSLATED))


def _side(data: bytes) -> Side:
    parts = attributes(data)
    addresses, protocol = attributes(parts.get(_IP, b"")), attributes(parts.get(_PROTOCOL, b""))
    return Side(
        addresses.get(1) or addresses.get(3, b""),
        addresses.get(2) or addresses.get(4, b""),
        number(protocol.get(1, b"")),
        number(protocol.get(2, b"")),
        number(protocol.get(3, b"")),
    )
