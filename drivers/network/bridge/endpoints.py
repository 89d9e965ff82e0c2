"""An endpoint: a pair of links, one end a port of the network's bridge, the other an interface of the sandbox."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from drivers.network.arguments import has_ipv6, shown
from drivers.network.interface import EndpointConfig, Fault
from drivers.network.netlink.announcements import announce
from drivers.network.netlink.links import (
    IPV4_SETTINGS,
    IPV6_SETTINGS,
    Link,
    Port,
    change_link,
    change_port,
    create_pair,
    find_links,
    get_link,
    read_link,
)
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import (
    SETTLED,
    Address,
    DefaultRoute,
    address_changes,
    addresses_of,
    default_routes,
    length_of_route,
    link_of_route,
    ours_of,
    route_changes,
    way_to,
)
from drivers.network.netlink.settings import ipv6_setting, write_setting
from resources.errors import Conflict, Unsupported

_PORT_SETTINGS = {"accept_ra": 0, "disable_ipv6": 1}
"""A port of a bridge talks no IP itself."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What it shall be: what was asked for, and what its network adds."""

    config: EndpointConfig
    name: str
    """This and the next two are of the host's end."""
    alias: str
    link_mac: str
    bridge: Link
    mtu: int
    port: Port

    @property
    def settings(self) -> Mapping[str, int]:
        """Of the interface; without an IPv6 address it has no link-local one either."""
        return {"promote_secondaries": 1, "accept_ra": 0, "disable_ipv6": int(not has_ipv6(self.config.addresses))}


@dataclass(frozen=True, slots=True)
class Interface:
    """What is in the sandbox."""

    link: Link
    addresses: Sequence[Address] = ()
    routes: Sequence[DefaultRoute] = ()


def make_pair(host: Netlink, wanted: Endpoint, netns: int) -> tuple[Link, Interface]:
    """Make both ends, down. One send: either all of it is there, alias included, or nothing is."""
    config = wanted.config
    answers = host.ask(
        create_pair(wanted.name, wanted.link_mac, wanted.bridge.index, config.interface, config.mac, netns, wanted.mtu),
        change_link(name=wanted.name, alias=wanted.alias),
        get_link(wanted.name),
    )
    if answers[0].error == errno.EEXIST:
        raise Conflict(f"the sandbox has another interface {config.interface}, or the host another link {wanted.name}")
    for answer in answers:
        if answer.error:
            raise answer.failure(f"cannot make the interface {config.interface}")
    port = read_link(answers[-1].replies[0])
    return port, Interface(Link(port.peer, config.interface, mac=config.mac, mtu=wanted.mtu))


def port_faults(wanted: Endpoint, there: Link) -> list[Fault]:
    bridge = wanted.bridge
    master = bridge.name if there.master == bridge.index else (f"link {there.master}" if there.master else None)
    compared = [
        ("link.alias", wanted.alias, there.alias),
        ("link.up", True, there.up),
        ("link.bridge", bridge.name, master),
        ("link.mtu", wanted.mtu, there.mtu),
        ("link.hairpin", wanted.port.hairpin, there.port.hairpin if there.port else None),
        ("link.isolated", wanted.port.isolated, there.port.isolated if there.port else None),
    ]
    if there.port is None:
        del compared[-2:]  # `link.bridge` says it
    compared += [(f"link.settings.{name}", *values) for name, values in _wrong(_PORT_SETTINGS, there).items()]
    return [Fault(name, expected, actual) for name, expected, actual in compared if expected != actual]


def way_faults(host: Netlink, wanted: Endpoint) -> list[Fault]:
    """Routes of the host that lead elsewhere than to the bridge, for part of its subnet or for all. Nobody of ours made
    them, and nobody of ours takes them away. Without the bridge's own route its network is at fault."""
    found = []
    answers = host.ask(*(way_to(address.partition("/")[0]) for address in wanted.config.addresses))
    for address, answer in zip(wanted.config.addresses, answers, strict=True):
        for reply in answer.replies[:1]:
            index, near = (
                link_of_route(reply.body),
                length_of_route(reply.body) >= ip_interface(address).network.prefixlen,
            )
            if near and index and index != wanted.bridge.index:
                (link,) = find_links(host, get_link(index=index))
                found.append(Fault("way", wanted.bridge.name, link and link.name))
    return found[:1]


def mend_port(host: Netlink, wanted: Endpoint, there: Link) -> None:
    _set(there, _PORT_SETTINGS)
    index = there.index
    host.do(
        f"cannot connect {wanted.name} to the bridge {wanted.bridge.name}",
        change_link(index=index, alias=wanted.alias, master=wanted.bridge.index, mtu=wanted.mtu),
        change_port(wanted.port, index=index),
        change_link(index=index, up=True),
    )


def look_inside(sandbox: Netlink, port: Link) -> Interface | None:
    """None when the port's other end is not in this namespace."""
    (link,) = find_links(sandbox, get_link(index=port.peer))
    if link is None or link.kind != "veth" or link.peer != port.index:
        return None
    ipv6 = link.settings.get("disable_ipv6") == 0
    return Interface(link, addresses_of(sandbox, link.index), default_routes(sandbox, link.index, ipv6=ipv6))


def interface_faults(wanted: Endpoint, there: Interface) -> list[Fault]:
    config, link = wanted.config, there.link
    gateways = [route.gateway for route in there.routes if route.ours or route.gateway in config.gateways]
    compared = [
        ("interface.name", config.interface, shown(link.name)),
        ("interface.up", True, link.up),
        ("addresses", sorted(config.addresses), ours_of(config.addresses, there.addresses)),
        ("mac", config.mac, link.mac),
        ("mtu", wanted.mtu, link.mtu),
        ("routes", sorted(config.gateways), sorted(gateways)),
    ]
    compared += [(f"settings.{name}", *values) for name, values in _wrong(wanted.settings, link).items()]
    return [Fault(name, expected, actual) for name, expected, actual in compared if expected != actual]


def mend_interface(sandbox: Netlink, wanted: Endpoint, there: Interface) -> None:
    """To be announced afterwards."""
    config = wanted.config
    if there.link.name != config.interface:
        there = replace(there, link=_renamed(sandbox, there.link, config.interface))
    link = there.link
    if "disable_ipv6" not in _set(link, wanted.settings) and has_ipv6(config.addresses):
        raise Unsupported("this kernel has no IPv6", hint="give the network IPv4 subnets alone")
    settings = {name: value for name, value in wanted.settings.items() if name in IPV4_SETTINGS}
    if not link.up:
        # Bringing it up makes no route that was lost with it, and IPv6 has lost its addresses too.
        kept = [address for address in there.addresses if ":" not in address.value]
        there = replace(there, addresses=kept, routes=())
    # One that is up gets it with the announcement: who ends before that has a fault left to mend.
    mac = "" if link.up else config.mac
    sandbox.do(
        f"cannot set up the interface {link.name}",
        change_link(index=link.index, mac=mac, mtu=wanted.mtu, settings=settings),
        change_link(index=link.index, up=True),
        *address_changes(link.index, config.addresses, there.addresses),
        *route_changes(link.index, config.gateways, there.routes),
        fine=SETTLED,
    )


def announce_interface(sandbox: Netlink, wanted: Endpoint, there: Interface) -> None:
    config = wanted.config
    announce(sandbox, there.link.index, config.interface, config.mac, ipv6=has_ipv6(config.addresses))


def _renamed(sandbox: Netlink, link: Link, name: str) -> Link:
    """Before 6.1 a kernel gives no other name to a link that is up."""
    rename = change_link(index=link.index, name=name)
    (answer,) = sandbox.ask(rename)
    if answer.error == errno.EBUSY:
        down, answer = sandbox.ask(change_link(index=link.index, down=True), rename)
        link = replace(link, up=bool(down.error))
    if answer.error == errno.EEXIST:
        raise Conflict(f"the sandbox has another interface {name}")
    if answer.error:
        raise answer.failure(f"cannot call the interface {shown(link.name)} {name} again")
    return replace(link, name=name)


def _wrong(wanted: Mapping[str, int], there: Link) -> Mapping[str, tuple[int, int]]:
    """Expected and actual; a setting that this kernel lacks is not told, and cannot be wrong."""
    told = there.settings
    return {name: (value, told[name]) for name, value in wanted.items() if name in told and told[name] != value}


def _set(there: Link, wanted: Mapping[str, int]) -> set[str]:
    """Write what differs of the settings that are files, in this thread's namespace; return those this kernel has."""
    names = [name for name in wanted if name in IPV6_SETTINGS]
    return {
        name
        for name in names
        if there.settings.get(name) == wanted[name] or write_setting(ipv6_setting(there.name, name), wanted[name])
    }
