"""Networks as bridges, endpoints as pairs of links. What is on the host is compared with what was asked for, and what
differs is put right in place, so that making, changing, mending and going on after a crash are one thing.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from drivers.network.arguments import (
    check_network,
    checked_endpoint,
    checked_network_id,
    checked_sandbox_id,
    has_ipv6,
    shown,
)
from drivers.network.bridge.endpoints import (
    Endpoint,
    Interface,
    announce_interface,
    interface_faults,
    look_inside,
    make_pair,
    mend_interface,
    mend_port,
    port_faults,
    way_faults,
)
from drivers.network.bridge.forwarding import enable_forwarding, enabled_families, forwarded_families
from drivers.network.bridge.link import BridgeLink, bridge_faults, make_bridge, mend_bridge
from drivers.network.bridge.link_names import (
    bridge_name,
    endpoint_alias,
    link_mac,
    network_alias,
    network_of_alias,
    port_name,
)
from drivers.network.bridge.records import NetworkRecord, NetworkRecords
from drivers.network.bridge.renamed import call_again, merge, stray_port, strays
from drivers.network.bridge.uplink import uplink_mtu
from drivers.network.firewall.interface import Firewall, NetworkRules
from drivers.network.interface import EndpointConfig, EndpointState, Fault, NetworkConfig, NetworkState
from drivers.network.netlink.inside import opened, run_inside
from drivers.network.netlink.links import Link, Port, change_port, delete_link, find_links, get_link, list_links
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import LIMIT, addresses_of
from resources.errors import Conflict, EngineError, FailedPrecondition

_USUAL_MTU, _MIN_MTU_IPV6 = 1500, 1280


class BridgeNetworks:
    """`instance` is in the names of all links; the sandboxes are those that NetnsSandboxes keeps in the same run root."""

    def __init__(self, run_root: Path, instance: str, firewall: Firewall) -> None:
        self._instance = instance
        self._namespaces = run_root / "netns"
        self._records = NetworkRecords(run_root / "networks")
        self._firewall = firewall

    def apply(self, config: NetworkConfig) -> None:
        check_network(config)
        with Netlink() as kernel:
            (there,) = find_links(kernel, get_link(bridge_name(self._instance, config.id)))
            if there and not self._is_bridge(there, config.id):
                raise _in_the_way(there)
            record = self._as_now(kernel, self._records.read(config.id) or NetworkRecord(config, None))
            record = replace(record, config=config)
            self._records.write(record)
            # Nothing can pass before there are rules for it.
            self._firewall.set_network(self._rules(config))
            wanted = self._bridge_link(kernel, record)
            others = strays(kernel, "bridge", wanted.name, wanted.alias)
            if there is None and others:
                there = call_again(kernel, others.pop(), wanted.name)
            bridge = there or make_bridge(kernel, wanted)
            # Two with the same addresses: what is sent to the network may go to the other one.
            merge(kernel, bridge, others, _port(config))
            mend_bridge(kernel, wanted, bridge)
            ports = list_links(kernel, master=bridge.index)
            changed = [change_port(_port(config), index=port.index) for port in ports if port.port != _port(config)]
            kernel.do("cannot change the ports of the bridge", *changed, fine=(errno.ENODEV,))
        enabled = enabled_families()
        for family in forwarded_families(config):
            if family not in enabled:
                enable_forwarding(family)

    def inspect(self, network_id: str) -> NetworkState:
        record = self._records.read(checked_network_id(network_id))
        if record is None:
            return NetworkState(None)
        with Netlink() as kernel:
            wanted = self._bridge_link(kernel, self._as_now(kernel, record))
            (named,) = find_links(kernel, get_link(wanted.name))
            others = strays(kernel, "bridge", wanted.name, wanted.alias)
            there = named or (others[0] if others else None)
            if there is None:
                faults = [Fault("bridge", wanted.name, None)]
            elif named and not self._is_bridge(named, network_id):
                faults = [Fault("bridge", wanted.name, f"a link of somebody else's: {named.alias[:80]!a}")]
            else:
                faults = bridge_faults(wanted, there, addresses_of(kernel, there.index))
                faults[:0] = [Fault("bridge.name", wanted.name, shown(other.name)) for other in others[:1]]
        rules, found = self._rules(record.config), self._firewall.network(network_id)
        if found is None or _described(found) != _described(rules):
            faults.append(Fault("firewall", _described(rules), _described(found) if found else None))
        needed, enabled = forwarded_families(record.config), enabled_families()
        if set(needed) - set(enabled):
            faults.append(Fault("forwarding", needed, [family for family in needed if family in enabled]))
        return NetworkState(record.config, tuple(faults))

    def delete(self, network_id: str) -> None:
        checked_network_id(network_id)
        _do_all(
            f"network {network_id[:12]} is not wholly gone",
            lambda: _delete(
                "bridge", bridge_name(self._instance, network_id), network_alias(self._instance, network_id)
            ),
            lambda: self._firewall.remove_network(network_id),
            lambda: self._records.delete(network_id),
        )

    def list(self) -> Sequence[str]:
        start = network_alias(self._instance, "")
        with Netlink() as kernel:
            linked = [network_of_alias(bridge.alias, start) for bridge in list_links(kernel, kind="bridge")]
        return sorted({*self._records.list(), *self._firewall.networks(), *filter(None, linked)})

    def attach(self, endpoint: EndpointConfig) -> None:
        endpoint = checked_endpoint(endpoint)
        with Netlink() as host, opened(endpoint.netns) as netns:
            wanted, port = self._look(host, endpoint, netns)
            if wanted is None:
                raise FailedPrecondition(f"there is no network {endpoint.network_id[:12]} to attach to")
            if port and not self._is_port(port, endpoint):
                raise _in_the_way(port)
            if port and port.name != wanted.name:
                port = call_again(host, port, wanted.name)
            if port and not _connect(host, wanted, netns, port, None):
                # The other end was moved away, or is of a sandbox that this one took the place of.
                host.do(f"cannot delete the link {port.name}", delete_link(port.index), fine=(errno.ENODEV,))
                port = None
            if port is None:
                _connect(host, wanted, netns, *make_pair(host, wanted, netns))

    def detach(self, sandbox_id: str, network_id: str, addresses: Sequence[str] = ()) -> None:
        name = port_name(self._instance, checked_sandbox_id(sandbox_id), checked_network_id(network_id))
        alias = endpoint_alias(self._instance, sandbox_id, network_id)
        _do_all(
            f"the endpoint of {sandbox_id[:12]} on network {network_id[:12]} is not wholly gone",
            lambda: _delete("veth", name, alias),
            lambda: self.forget(addresses),
        )

    def forget(self, addresses: Sequence[str]) -> None:
        if addresses:
            self._firewall.forget_flows([address.partition("/")[0] for address in addresses])

    def endpoint(self, endpoint: EndpointConfig) -> EndpointState | None:
        endpoint = checked_endpoint(endpoint)
        try:
            with Netlink() as host, opened(endpoint.netns) as netns:
                wanted, port = self._look(host, endpoint, netns)
                if port is None or not self._is_port(port, endpoint):
                    return None
                interface = run_inside(endpoint.netns, netns, lambda sandbox: look_inside(sandbox, port))
                ways = way_faults(host, wanted) if wanted else []
        except FailedPrecondition:
            return None
        if interface is None:
            return None
        if wanted is None:
            faults = [Fault("link.bridge", bridge_name(self._instance, endpoint.network_id), None)]
        else:
            faults = [*port_faults(wanted, port), *interface_faults(wanted, interface), *ways]
        name = port_name(self._instance, endpoint.sandbox_id, endpoint.network_id)
        if port.name != name:
            faults.insert(0, Fault("link.name", name, shown(port.name)))
        return EndpointState(shown(interface.link.name), tuple(faults))

    def attached(self, sandbox_id: str) -> Mapping[str, str]:
        path = self._namespaces / checked_sandbox_id(sandbox_id)
        try:
            with opened(path) as netns:
                inside = run_inside(path, netns, lambda sandbox: list_links(sandbox, kind="veth", limit=LIMIT))
        except FailedPrecondition:
            return {}
        with Netlink() as host:
            ports = find_links(host, *(get_link(index=link.peer) for link in inside))
        start = endpoint_alias(self._instance, sandbox_id, "")
        found: dict[str, str] = {}
        for link, port in zip(inside, ports, strict=True):
            # What a sandbox says of its links is not believed; the alias of the other end, here, is.
            if port and port.kind == "veth" and port.peer == link.index:
                network_id = network_of_alias(port.alias, start)
                if network_id:
                    found[network_id] = shown(link.name)
        return found

    def _look(self, host: Netlink, endpoint: EndpointConfig, netns: int) -> tuple[Endpoint | None, Link | None]:
        """What the endpoint shall be, None without a network; and the host's end, None when it is not there."""
        network_id = endpoint.network_id
        name = port_name(self._instance, endpoint.sandbox_id, network_id)
        bridge, port = find_links(host, get_link(bridge_name(self._instance, network_id)), get_link(name))
        alias = endpoint_alias(self._instance, endpoint.sandbox_id, network_id)
        if port is None:
            port = run_inside(endpoint.netns, netns, lambda sandbox: stray_port(host, sandbox, alias))
        record = self._records.read(network_id)
        if record is None or bridge is None or not self._is_bridge(bridge, network_id):
            return None, port
        mtu = endpoint.mtu or _mtu(host, record)
        return Endpoint(endpoint, name, alias, link_mac(alias), bridge, mtu, _port(record.config)), port

    def _as_now(self, kernel: Netlink, record: NetworkRecord) -> NetworkRecord:
        """With the MTU of the uplink there is; without any, that of the one there was."""
        return replace(record, uplink_mtu=uplink_mtu(kernel) or record.uplink_mtu)

    def _is_bridge(self, link: Link, network_id: str) -> bool:
        return link.kind == "bridge" and link.alias in ("", network_alias(self._instance, network_id))

    def _is_port(self, link: Link, endpoint: EndpointConfig) -> bool:
        alias = endpoint_alias(self._instance, endpoint.sandbox_id, endpoint.network_id)
        return link.kind == "veth" and link.alias in ("", alias)

    def _bridge_link(self, kernel: Netlink, record: NetworkRecord) -> BridgeLink:
        config = record.config
        addresses = tuple(f"{ip_address(pool.gateway)}/{ip_network(pool.subnet).prefixlen}" for pool in config.pools)
        return BridgeLink(
            bridge_name(self._instance, config.id),
            network_alias(self._instance, config.id),
            link_mac(network_alias(self._instance, config.id)),
            _mtu(kernel, record),
            addresses,
        )

    def _rules(self, config: NetworkConfig) -> NetworkRules:
        return NetworkRules(
            config.id,
            bridge_name(self._instance, config.id),
            tuple(str(ip_network(pool.subnet)) for pool in config.pools),
            config.internal,
            config.isolated,
            config.masquerade,
        )


def _connect(host: Netlink, wanted: Endpoint, netns: int, port: Link, fresh: Interface | None) -> bool:
    """Put both ends right; tell whether the other end is in that namespace. `fresh` is one that was just made."""
    doing = f"cannot change {wanted.name} as a port of the bridge {wanted.bridge.name}"
    wrong = port_faults(wanted, port)
    # A port that sends back what came from it does not while there are announcements: the kernel would warn of somebody with
    # the same address.
    quiet = replace(wanted, port=replace(wanted.port, hairpin=False))
    if wrong:
        mend_port(host, quiet, port)

    def settle(sandbox: Netlink) -> bool:
        interface = fresh or look_inside(sandbox, port)
        if interface is None:
            return False
        faults = interface_faults(wanted, interface)
        if faults:
            if not wrong:
                host.do(doing, change_port(quiet.port, index=port.index))
            mend_interface(sandbox, wanted, interface)
        # The kernel lets packets through a link some time after both its ends are up, and through a bridge some time after
        # its first port; from 6.8 on it does so before it answers a question about it. Otherwise a first packet may be lost,
        # which is sent again a second later.
        host.ask(get_link(index=port.index), get_link(index=wanted.bridge.index))
        if wrong or faults:
            announce_interface(sandbox, wanted, interface)
            host.do(doing, change_port(wanted.port, index=port.index))
        return True

    return run_inside(wanted.config.netns, netns, settle)


def _delete(kind: str, name: str, alias: str) -> None:
    """What has the name or, once somebody gave it another, the alias."""
    with Netlink() as host:
        named = [link for link in find_links(host, get_link(name)) if link]
        ours = [link for link in named if link.kind == kind and link.alias in ("", alias)]
        if kind == "bridge" or not ours:  # of ports there are many, and hardly ever one too many
            ours += strays(host, kind, name, alias)
        for link in ours:
            host.do(f"cannot delete the link {shown(link.name)}", delete_link(link.index), fine=(errno.ENODEV,))


def _do_all(unless: str, *steps: Callable[[], None]) -> None:
    failures: list[EngineError] = []
    for step in steps:
        try:
            step()
        except EngineError as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup(unless, failures)


def _mtu(kernel: Netlink, record: NetworkRecord) -> int:
    config = record.config
    if config.mtu:
        return config.mtu
    mtu = record.uplink_mtu or uplink_mtu(kernel) or _USUAL_MTU
    return max(mtu, _MIN_MTU_IPV6) if has_ipv6([pool.subnet for pool in config.pools]) else mtu


def _port(config: NetworkConfig) -> Port:
    """`hairpin`: with br_netfilter a container reaches its own published port only so."""
    return Port(hairpin=True, isolated=config.isolated)


def _described(rules: NetworkRules) -> dict[str, Any]:
    return {**asdict(rules), "subnets": sorted(rules.subnets)}


def _in_the_way(link: Link) -> Conflict:
    return Conflict(f"the link {link.name} of the host is not ours, but has the name that one of ours needs")
