"""The link of a network: a bridge with the gateways' addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.network.arguments import has_ipv6
from drivers.network.interface import Fault
from drivers.network.netlink.announcements import announce
from drivers.network.netlink.links import (
    IPV4_SETTINGS,
    IPV6_SETTINGS,
    Link,
    change_bridge,
    change_link,
    create_bridge,
    get_link,
    read_link,
)
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import SETTLED, Address, address_changes, addresses_of, ours_of
from drivers.network.netlink.settings import ipv6_setting, write_setting
from resources.errors import Unsupported

_MAX_MTU = 65535


@dataclass(frozen=True, slots=True)
class BridgeLink:
    """What the link shall be."""

    name: str
    alias: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]

    @property
    def ipv6(self) -> bool:
        return has_ipv6(self.addresses)

    @property
    def settings(self) -> Mapping[str, int]:
        """`promote_secondaries`: an address that goes takes no other with it. `route_localnet`: ports of 127.0.0.1 reach
        containers; the firewall drops what else comes to it that way. `accept_ra`: no container becomes the host's router.
        `accept_dad`: the link's own IPv6 address is good at once."""
        ipv6 = {"accept_ra": 0, "disable_ipv6": int(not self.ipv6)}
        if self.ipv6:
            ipv6["accept_dad"] = 0
        return {"promote_secondaries": 1, "rp_filter": 1, "route_localnet": 1, **ipv6}


def bridge_faults(wanted: BridgeLink, there: Link, addresses: Sequence[Address]) -> list[Fault]:
    compared = [
        ("bridge.alias", wanted.alias, there.alias),
        ("bridge.up", True, there.up),
        ("bridge.mtu", wanted.mtu, there.mtu),
        ("bridge.mac", wanted.mac, there.mac),
        ("bridge.stp", False, there.stp),
        ("bridge.multicast_snooping", False, there.snooping),
        ("bridge.addresses", sorted(wanted.addresses), ours_of(wanted.addresses, addresses)),
    ]
    # A setting that this kernel lacks is not told at all, and cannot be wrong.
    compared += [
        (f"bridge.settings.{name}", value, there.settings[name])
        for name, value in wanted.settings.items()
        if name in there.settings
    ]
    return [Fault(name, expected, actual) for name, expected, actual in compared if expected != actual]


def make_bridge(kernel: Netlink, wanted: BridgeLink) -> Link:
    doing = f"cannot make the bridge {wanted.name}"
    # Given an MTU twice, since one that it was made with changes with those of its ports.
    other = wanted.mtu - 1 if wanted.mtu == _MAX_MTU else wanted.mtu + 1
    answers = kernel.do(
        doing,
        create_bridge(wanted.name, wanted.mac),
        change_link(name=wanted.name, alias=wanted.alias, mtu=other),
        change_link(name=wanted.name, mtu=wanted.mtu),
        get_link(wanted.name),
    )
    return read_link(answers[-1].replies[0])


def mend_bridge(kernel: Netlink, wanted: BridgeLink, there: Link) -> None:
    doing = f"cannot set up the bridge {wanted.name}"
    for name, value in wanted.settings.items():
        if name in IPV6_SETTINGS and there.settings.get(name) != value:
            found = write_setting(ipv6_setting(wanted.name, name), value)
            if not found and wanted.ipv6:
                raise Unsupported("this kernel has no IPv6", hint="give the network IPv4 subnets alone")
    settings = {name: value for name, value in wanted.settings.items() if name in IPV4_SETTINGS}
    # One that is up gets it with the announcement: who ends before that has a fault left to mend.
    mac = "" if there.up else wanted.mac
    shape = change_link(index=there.index, alias=wanted.alias, mac=mac, mtu=wanted.mtu, settings=settings)
    kernel.do(doing, shape, change_bridge(there.index), change_link(index=there.index, up=True))
    addresses = addresses_of(kernel, there.index)
    kernel.do(doing, *address_changes(there.index, wanted.addresses, addresses), fine=SETTLED)
    announce(kernel, there.index, wanted.name, wanted.mac, ipv6=wanted.ipv6)
