"""What the attachments of a container to its networks shall be (PURE).

An endpoint is made of its network, of the addresses it holds and of what the record says it was last made to be. Where the
network is not known just now, what was recorded stays.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from drivers.network.interface import EndpointConfig, Pool
from drivers.network.ipam.subnets import contains, may_be_given, parsed_address, parsed_network, version
from reconcilers.container.model import UNKNOWN
from reconcilers.container.network_model import Networking, NetworkView
from resources.container import ContainerSpec
from resources.container_parts import NetworkAttachment

_FAMILIES = (4, 6)
_INTERFACE = re.compile(r"eth[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    network: str
    """As the manifest calls it."""
    network_id: str
    driver: str
    addresses: tuple[str, ...] = ()
    """With the length of the prefix, IPv4 first; () while they are not known."""
    mac: str = ""
    mtu: int | None = None
    internal: bool = False
    dns: bool = False
    routers: tuple[str, ...] = ()
    """The addresses of the host in the network, IPv4 first."""
    gateways: tuple[str, ...] = ()
    """Those of them that default routes go by."""
    interface: str = ""
    aliases: tuple[str, ...] = ()
    preferred: bool = False
    """The manifest says that the default route goes over it."""

    @property
    def plain(self) -> tuple[str, ...]:
        """Its addresses alone."""
        return tuple(address.partition("/")[0] for address in self.addresses)

    def address(self, family: int) -> str:
        return next((address for address in self.plain if _family(address) == family), "")

    def router(self, family: int) -> str:
        return next((router for router in self.routers if _family(router) == family), "")

    def gives_default_route(self, family: int) -> bool:
        return any(_family(gateway) == family for gateway in self.gateways)

    def config(self, sandbox_id: str, netns: Path) -> EndpointConfig:
        return EndpointConfig(
            sandbox_id, self.network_id, netns, self.interface, self.addresses, self.mac, self.gateways, self.mtu
        )

    def record(self) -> dict[str, Any]:
        """What is written down of it; what is not known yet is not in it."""
        known = {
            "addresses": list(self.addresses),
            "mac": self.mac,
            "gateways": list(self.routers),
            "defaultRoute": list(self.gateways),
        }
        return {
            "network": self.network_id,
            "driver": self.driver,
            "interface": self.interface,
            "mtu": self.mtu,
            "internal": self.internal,
            "dns": self.dns,
            **(known if self.addresses else {"addresses": UNKNOWN}),
        }


def own_networks(spec: ContainerSpec) -> tuple[tuple[str, NetworkAttachment], ...]:
    """The networks it is attached to by name."""
    return tuple((one.name, one) for one in spec.networks if one.name is not None and not one.special)


def endpoints(
    spec: ContainerSpec,
    network: Networking,
    recorded: Mapping[str, Mapping[str, Any]],
    *,
    kept: bool = False,
    planning: bool = False,
) -> tuple[Endpoint, ...]:
    """In the order of the manifest. One that cannot be known yet is left out, but when planning. `kept`: what is recorded
    stays, and nothing new comes, for now."""
    found = []
    for name, asked in own_networks(spec):
        view, old = network.views.get(name), recorded.get(name)
        if view is not None and old is not None and old.get("network") != view.uid:
            old = None
        if view is not None and view.uid in network.yields and not planning:
            continue
        if old is not None and not planning and not _still_own(old, network):
            old = None
        made = None if kept and not planning else _made(name, asked, view, network)
        if made is None and planning and (view is not None or old is None):
            made = _unknown(name, view)
        if made is None and old is not None:
            made = _recorded(name, old)
        if made is not None:
            mac = made.mac or asked.mac or _mac(made.plain)
            found.append(replace(made, mac=mac, aliases=asked.aliases, preferred=asked.default_route))
    return _named(_routed(found), network.attached, recorded)


def _still_own(old: Mapping[str, Any], network: Networking) -> bool:
    """Nobody else can have what it is recorded to have."""
    plain = {address.partition("/")[0] for address in old["addresses"]}
    return plain <= {*network.own(old["network"])}


def held_addresses(asked: NetworkAttachment, view: NetworkView, network: Networking) -> tuple[str, ...] | None:
    """The addresses that are as asked for and as the network is now; None when they have to be allocated."""
    held = {_family(address): address for address in network.held.get(view.uid, ())}
    found = []
    for family, fixed in ((4, asked.ipv4), (6, asked.ipv6)):
        pools = [pool for pool in view.pools if version(pool) == family]
        has = held.get(family, "")
        if fixed or pools:
            if not has or not _fits(pools, has, fixed):
                return None
            found.append(has)
        elif has:
            return None
    return tuple(found) or None


def _fits(pools: Sequence[Pool], has: str, fixed: str | None) -> bool:
    address = parsed_address(has)
    if fixed:
        return has == fixed and any(contains(pool, address) and pool.gateway != has for pool in pools)
    return any(may_be_given(pool, address) for pool in pools)


def _made(name: str, asked: NetworkAttachment, view: NetworkView | None, network: Networking) -> Endpoint | None:
    if view is None or view.driver not in network.drivers or not view.pools:
        return None
    held = held_addresses(asked, view, network)
    if held is None:
        return None
    pools = [next(pool for pool in view.pools if contains(pool, parsed_address(address))) for address in held]
    prefixes = (parsed_network(pool.subnet).prefixlen for pool in pools)
    return replace(
        _unknown(name, view),
        addresses=tuple(f"{address}/{prefix}" for address, prefix in zip(held, prefixes, strict=True)),
        routers=tuple(pool.gateway for pool in pools),
    )


def _unknown(name: str, view: NetworkView | None) -> Endpoint:
    if view is None:
        return Endpoint(name, "", "")
    routers = {version(pool): pool.gateway for pool in reversed(view.pools)}
    return Endpoint(
        network=name,
        network_id=view.uid,
        driver=view.driver,
        mtu=view.mtu,
        internal=view.internal,
        dns=view.dns,
        routers=tuple(routers[family] for family in _FAMILIES if family in routers),
    )


def _recorded(name: str, old: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        network=name,
        network_id=old["network"],
        driver=old["driver"],
        addresses=tuple(old["addresses"]),
        mac=old["mac"],
        mtu=old["mtu"],
        internal=old["internal"],
        dns=old["dns"],
        routers=tuple(old["gateways"]),
    )


def _routed(found: Sequence[Endpoint]) -> list[Endpoint]:
    """With the default routes: over the one the manifest names, or else the first one that leads out."""
    leading: dict[int, Endpoint] = {}
    for family in _FAMILIES:
        able = [one for one in found if not one.internal and _may_lead(one, family)]
        first = next((one for one in able if one.preferred), able[0] if able else None)
        if first is not None:
            leading[family] = first
    return [
        replace(one, gateways=tuple(one.router(f) for f, first in leading.items() if first is one and one.router(f)))
        for one in found
    ]


def _may_lead(one: Endpoint, family: int) -> bool:
    """Of one that is not known yet, be it the network or the address there: for all a plan can tell, it will."""
    if not one.addresses:
        return not one.routers or bool(one.router(family))
    return bool(one.address(family) and one.router(family))


def _named(
    found: Sequence[Endpoint], attached: Mapping[str, str], recorded: Mapping[str, Mapping[str, Any]]
) -> tuple[Endpoint, ...]:
    """With their interfaces: what is there keeps its name, another gets the first that is free. What a process has called
    one of its own accord is nobody's name."""
    was = {
        one.network: recorded[one.network]["interface"]
        for one in found
        if recorded.get(one.network, {}).get("network") == one.network_id
    }
    there = {one.network: attached.get(one.network_id, "") for one in found if one.network not in was}
    names: dict[str, str] = {}
    for network, name in (*there.items(), *was.items()):
        if _INTERFACE.fullmatch(name) and name not in names.values():
            names[network] = name
    for one in found:
        free = (f"eth{number}" for number in count() if f"eth{number}" not in names.values())
        names.setdefault(one.network, next(free))
    return tuple(replace(one, interface=names[one.network]) for one in found)


def _mac(addresses: Sequence[str]) -> str:
    """Of the addresses, so that it is the same after a restart and nobody else's in the network."""
    if not addresses:
        return ""
    address = parsed_address(addresses[0])
    packed = address.packed if address.version == 4 else hashlib.sha256(addresses[0].encode()).digest()[:4]
    return "02:42:" + ":".join(f"{byte:02x}" for byte in packed)


def _family(address: str) -> int:
    return 6 if ":" in address else 4
