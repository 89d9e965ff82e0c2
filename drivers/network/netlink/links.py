"""Links as rtnetlink has them: what is asked for, and what is read.

A link's own settings (sysctl) are told with it, so that looking at one opens no file.
"""

import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.network.netlink.messages import (
    CREATE,
    EXCLUSIVE,
    Netlink,
    Reply,
    Request,
    attribute,
    attributes,
    fixed,
    nested,
    number,
    text,
    u8,
    u32,
)

IPV4_SETTINGS = {"rp_filter": 8, "promote_secondaries": 20, "arp_notify": 22, "route_localnet": 26}
"""Those we care for, by their number in the kernel."""
IPV6_SETTINGS = {"accept_ra": 3, "disable_ipv6": 26, "accept_dad": 27}

_NEW, _DELETE, _GET = 16, 17, 18
_ADDRESS, _NAME, _MTU, _LINK, _MASTER = 1, 3, 4, 5, 10
_INFO, _ALIAS, _FAMILIES, _NETNS_FD, _MASK = 18, 20, 26, 28, 29
_INFO_KIND, _INFO_DATA, _INFO_PORT_KIND, _INFO_PORT_DATA = 1, 2, 4, 5
_VETH_PEER = 1
_BRIDGE_STP, _BRIDGE_SNOOPING = 5, 23
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
_IPV4_CONF, _IPV6_CONF = 1, 2
_UP = 1
_WITHOUT_STATISTICS = u32(_MASK, 1 << 3)
_IFINFO = struct.Struct("=BxHiII")
_INT = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Port:
    """How a link is part of a bridge."""

    hairpin: bool
    isolated: bool


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    up: bool = False
    kind: str = ""
    """`bridge`, `veth`; "" of hardware."""
    alias: str = ""
    mac: str = ""
    mtu: int = 0
    peer: int = 0
    """The index of the other end of a veth, in its own namespace."""
    master: int = 0
    port: Port | None = None
    stp: bool = False
    snooping: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)
    """By name; without those this kernel has not."""


def get_link(name: str = "", index: int = 0) -> Request:
    return Request(_GET, _header(index) + (text(_NAME, name) if name else b"") + _WITHOUT_STATISTICS)


def create_bridge(name: str, mac: str) -> Request:
    """Without spanning tree, and without multicast snooping, which slows down big ones and helps no small one."""
    data = nested(_INFO_DATA, u32(_BRIDGE_STP, 0), u8(_BRIDGE_SNOOPING, 0))
    info = nested(_INFO, text(_INFO_KIND, "bridge"), data)
    return Request(_NEW, _header() + text(_NAME, name) + _mac(mac) + info, CREATE | EXCLUSIVE)


def create_pair(name: str, mac: str, master: int, peer: str, peer_mac: str, netns: int, mtu: int) -> Request:
    """Our end as a port of `master`, the peer in the namespace of the descriptor; both down."""
    inner = _header() + text(_NAME, peer) + u32(_NETNS_FD, netns) + _mac(peer_mac) + u32(_MTU, mtu)
    info = nested(_INFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, inner)))
    outer = _header() + text(_NAME, name) + _mac(mac) + u32(_MTU, mtu) + u32(_MASTER, master) + info
    return Request(_NEW, outer, CREATE | EXCLUSIVE)


def change_link(
    *,
    name: str = "",
    index: int = 0,
    up: bool = False,
    down: bool = False,
    alias: str = "",
    mac: str = "",
    mtu: int = 0,
    master: int = 0,
    settings: Mapping[str, int] | None = None,
) -> Request:
    """What is left out stays as it is; with an index, the name is what it is called from now on.
    `settings` are of IPV4_SETTINGS, the kernel takes no others this way."""
    values = [
        text(_NAME, name) if name else b"",
        text(_ALIAS, alias) if alias else b"",
        _mac(mac) if mac else b"",
        u32(_MTU, mtu) if mtu else b"",
        u32(_MASTER, master) if master else b"",
    ]
    if settings:
        conf = nested(_IPV4_CONF, *(u32(IPV4_SETTINGS[setting], value) for setting, value in settings.items()))
        values.append(nested(_FAMILIES, nested(socket.AF_INET, conf)))
    return Request(_NEW, _header(index, up, down) + b"".join(values))


def change_bridge(index: int) -> Request:
    """As `create_bridge` makes it."""
    data = nested(_INFO_DATA, u32(_BRIDGE_STP, 0), u8(_BRIDGE_SNOOPING, 0))
    return Request(_NEW, _header(index) + nested(_INFO, text(_INFO_KIND, "bridge"), data))


def change_port(port: Port, *, name: str = "", index: int = 0) -> Request:
    """Of a link that is part of a bridge already."""
    data = nested(_INFO_PORT_DATA, u8(_PORT_HAIRPIN, port.hairpin), u8(_PORT_ISOLATED, port.isolated))
    info = nested(_INFO, text(_INFO_PORT_KIND, "bridge"), data)
    return Request(_NEW, _header(index) + (text(_NAME, name) if name else b"") + info)


def delete_link(index: int) -> Request:
    return Request(_DELETE, _header(index))


def find_links(kernel: Netlink, *requests: Request) -> list[Link | None]:
    """What each `get_link` finds; None: it is not there."""
    found: list[Link | None] = []
    for answer in kernel.ask(*requests):
        if answer.error not in (0, errno.ENODEV):
            raise answer.failure("cannot look at a link")
        found.append(read_link(answer.replies[0]) if answer.replies else None)
    return found


def list_links(kernel: Netlink, kind: str = "", master: int = 0, limit: int | None = None) -> list[Link]:
    """Those of one kind, or the ports of a bridge."""
    wanted = (nested(_INFO, text(_INFO_KIND, kind)) if kind else b"") + (u32(_MASTER, master) if master else b"")
    request = Request(_GET, _header() + wanted + _WITHOUT_STATISTICS)
    found = [read_link(reply) for reply in kernel.dump("cannot list links", request, limit)]
    # A kernel that knows no such filter tells all of them.
    return [link for link in found if kind in ("", link.kind) and master in (0, link.master)]


def read_link(reply: Reply) -> Link:
    _, _, index, flags, _ = fixed(_IFINFO, reply.body)
    values = attributes(reply.body, _IFINFO.size)
    info = attributes(values.get(_INFO, b""))
    kind = _text(info.get(_INFO_KIND, b""))
    bridge = attributes(info.get(_INFO_DATA, b"")) if kind == "bridge" else {}
    port = attributes(info.get(_INFO_PORT_DATA, b"")) if _text(info.get(_INFO_PORT_KIND, b"")) == "bridge" else None
    return Link(
        index=index,
        name=_text(values.get(_NAME, b"")),
        up=bool(flags & _UP),
        kind=kind,
        alias=_text(values.get(_ALIAS, b"")),
        mac=values.get(_ADDRESS, b"").hex(":"),
        mtu=number(values.get(_MTU, b"")),
        peer=number(values.get(_LINK, b"")),
        master=number(values.get(_MASTER, b"")),
        port=Port(_true(port, _PORT_HAIRPIN), _true(port, _PORT_ISOLATED)) if port is not None else None,
        stp=_true(bridge, _BRIDGE_STP),
        snooping=_true(bridge, _BRIDGE_SNOOPING),
        settings=_settings(attributes(values.get(_FAMILIES, b""))),
    )


def _settings(families: Mapping[int, bytes]) -> Mapping[str, int]:
    ipv4 = attributes(families.get(socket.AF_INET, b"")).get(_IPV4_CONF, b"")
    ipv6 = attributes(families.get(socket.AF_INET6, b"")).get(_IPV6_CONF, b"")
    # The kernel counts the first ones from 1, the others from 0.
    places = [(name, ipv4, number - 1) for name, number in IPV4_SETTINGS.items()]
    places += [(name, ipv6, number) for name, number in IPV6_SETTINGS.items()]
    return {
        name: _INT.unpack_from(conf, place * _INT.size)[0]
        for name, conf, place in places
        if len(conf) >= (place + 1) * _INT.size
    }


def _header(index: int = 0, up: bool = False, down: bool = False) -> bytes:
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, _UP if up else 0, _UP if up or down else 0)


def _mac(mac: str) -> bytes:
    return attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _true(values: Mapping[int, bytes], kind: int) -> bool:
    return any(values.get(kind, b""))
