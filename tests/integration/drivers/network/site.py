"""A host with bridges and containers, made with plain `ip`, under the real firewall."""

import ipaddress
from pathlib import Path
from tempfile import TemporaryDirectory

from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.nft import NftFirewall
from drivers.network.names.fake import FakeProxies
from drivers.network.ports.interface import PublishedPort, Transport
from drivers.network.ports.published import PublishedPorts
from tests.machines import TRANSPORTS, Machine, Machines

PREFIX = "ld-"
SHORT = 0.15
"""Seconds to wait for an answer that shall not come."""


class Site:
    def __init__(self, machines: Machines, instance: str, *, bridged: int = 0, owned: bool = True) -> None:
        """`bridged` is whether what a bridge carries passes the firewall as well (br_netfilter)."""
        self.machines = machines
        self.host, self.lan = machines.host, machines.lan
        self.instance = instance
        for version in ("ipv4", "ipv6"):
            self.host.set(f"net.{version}.conf.all.forwarding", 1)
        for tables in ("iptables", "ip6tables"):
            self.host.set(f"net.bridge.bridge-nf-call-{tables}", bridged)
        self.firewall = NftFirewall(instance, PREFIX, owned=owned)
        self.host.run(self.firewall.networks)
        self.proxies = FakeProxies()
        self._folder = TemporaryDirectory()
        self.next_engine()
        self._networks = 0
        self._last = 1

    def next_engine(self) -> None:
        """Who publishes from now on knows what is there, and nothing else."""
        self.ports = PublishedPorts(self.firewall, self.proxies, Path(self._folder.name))

    def network(
        self, *, ipv6: bool = True, internal: bool = False, isolated: bool = False, masquerade: bool = True
    ) -> NetworkRules:
        self._networks += 1
        number, host = self._networks, self.host
        bridge = f"{PREFIX}{number}"
        subnets = (f"10.42.{number}.0/24", *([f"fd42:{number}::/64"] if ipv6 else []))
        rules = NetworkRules(f"{number:032x}", bridge, subnets, internal, isolated, masquerade)
        host("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        host.set(f"net.ipv4.conf.{bridge}.route_localnet", 1)
        host.set(f"net.ipv6.conf.{bridge}.accept_ra", 0)
        host.set(f"net.ipv6.conf.{bridge}.accept_dad", 0)
        for subnet in subnets:
            address = next(ipaddress.ip_network(subnet).hosts())
            flags = ["nodad"] if ":" in subnet else []
            host("ip", "addr", "add", f"{address}/{subnet.partition('/')[2]}", "dev", bridge, *flags)
        host("ip", "link", "set", bridge, "up")
        self.firewall.set_network(rules)
        return rules

    def container(self, name: str, rules: NetworkRules) -> Machine:
        """Its addresses are `.ipv4` and `.ipv6`."""
        box = self.machines.add(name, wired=False)
        port = f"v{name}"
        self.machines.veth(self.host, port, box, "eth0")
        self.host("ip", "link", "set", port, "master", rules.bridge)
        flags = ("hairpin", "on", *(("isolated", "on") if rules.isolated else ()))
        self.host("bridge", "link", "set", "dev", port, *flags)
        for subnet in rules.subnets:
            self._address(box, ipaddress.ip_network(subnet))
        return box

    def _address(self, box: Machine, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        self._last += 1
        address = str(subnet[self._last])
        if subnet.version == 4:
            box.ipv4 = address
        else:
            box.ipv6 = address
        flags = ["nodad"] if subnet.version == 6 else []
        box("ip", "addr", "add", f"{address}/{subnet.prefixlen}", "dev", "eth0", *flags)
        box("ip", f"-{subnet.version}", "route", "add", "default", "via", str(subnet[1]))

    def publish(
        self, box: Machine, host: int, container: int, *, address: str = "", protocol: Transport = "tcp"
    ) -> None:
        """Beside what it has published already."""
        port = PublishedPort(host, container, address, protocol, box.ipv4, box.ipv6)
        self.ports.publish(box.name, (*self.ports.published(box.name), port))

    def routed(self, machine: Machine) -> None:
        """Let it send to our networks over the host, unasked."""
        for version, via, net in (("-4", self.host.ipv4, "10.42.0.0/16"), ("-6", self.host.ipv6, "fd42::/16")):
            machine("ip", version, "route", "add", net, "via", via)

    def close(self) -> None:
        for owner in self.ports.list():
            self.ports.publish(owner, ())
        for network in self.firewall.networks():
            self.firewall.remove_network(network)
        self.firewall.close()
        self._folder.cleanup()
        assert f"inet {self.instance}" not in self.host("nft", "list", "tables"), (
            "the last of all takes the table with it"
        )


def addresses(machine: Machine) -> tuple[str, str]:
    return machine.ipv4, machine.ipv6


def serving(box: Machine, *ports: int) -> Machine:
    for protocol in TRANSPORTS:
        box.serve(*ports, protocol=protocol)
    return box


def published(site: Site, box: Machine, host: int, container: int, address: str = "") -> None:
    ports = tuple(
        PublishedPort(host, container, address, protocol, box.ipv4, box.ipv6)
        for protocol in TRANSPORTS
        if address != "::1"
    )
    site.ports.publish(box.name, (*site.ports.published(box.name), *ports))
