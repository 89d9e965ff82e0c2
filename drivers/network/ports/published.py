"""Published ports: elements of the firewall, and proxies where no rule can do it."""

import ipaddress
from collections.abc import Callable, Sequence
from functools import cache

from drivers.network.firewall.elements import EVERYWHERE, checked_id, proxied_at
from drivers.network.firewall.interface import PortRules
from drivers.network.interface import PublishedPort
from drivers.network.names.interface import Forward, Proxies
from resources.errors import Conflict, EngineError, InvalidArgument


def checked_ports(ports: Sequence[PublishedPort]) -> tuple[PublishedPort, ...]:
    """Sorted, each once, and each one that can be published.

    Raises: InvalidArgument.
    """
    holders: dict[tuple[str, int, str], PublishedPort] = {}
    for port in ports:
        _check(port)
        for claim in claims(port):
            if holders.setdefault(claim, port) != port:
                raise InvalidArgument(f"{text(port)} is published twice")
    return tuple(sorted(set(holders.values()), key=place))


def claims(port: PublishedPort) -> frozenset[tuple[str, int, str]]:
    """What of the host it takes: no two ports can have the same."""
    addresses = {port.address}
    if families := EVERYWHERE.get(port.address):
        addresses = {address for address, family in (("0.0.0.0", 4), ("::", 6)) if family in families}
        if not port.ipv4:
            addresses.discard("0.0.0.0")
    return frozenset((port.protocol, port.host, address) for address in addresses)


def place(port: PublishedPort) -> tuple[str, str, int]:
    """To sort by."""
    return port.protocol, port.address, port.host


def text(port: PublishedPort) -> str:
    return f"port {port.host}/{port.protocol}{f' at {port.address}' if port.address else ''}"


def _check(port: PublishedPort) -> None:
    if port.protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"{str(port.protocol)[:20]!r} is no protocol of a port: tcp and udp are")
    for number in (port.host, port.container):
        if not 0 < number < 65536:
            raise InvalidArgument(f"{number} is not the number of a port: 1 to 65535 are")
    host = _address(port.address)
    for address, version in ((port.ipv4, 4), (port.ipv6, 6)):
        found = _address(address)
        if found is not None and found.version != version:
            raise InvalidArgument(f"{address} is not an IPv{version} address")
    if not port.ipv4 and not port.ipv6:
        raise InvalidArgument(f"{text(port)} cannot be published: the container has no address")
    if host is not None and host.version == 4 and not port.ipv4:
        raise InvalidArgument(f"{text(port)} cannot be published: the container has no IPv4 address")


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Raises: InvalidArgument, also for one written in another way than usual: what is read back would differ."""
    try:
        address = ipaddress.ip_address(value) if value else None
        if address is None or (str(address) == value and "%" not in value):
            return address
    except ValueError:
        pass
    raise InvalidArgument(f"{value[:80]!r} is not an IP address")


class PublishedPorts:
    def __init__(self, firewall: PortRules, proxies: Proxies) -> None:
        self._firewall = firewall
        self._proxies = proxies

    def publish(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        wanted = checked_ports(ports)
        checked_id(owner)
        if not wanted:
            self._withdraw(owner)
            return
        before = self._firewall.ports(owner)
        self._firewall.set_ports(owner, wanted)
        try:
            self._proxies.set(owner, self._forwards(wanted))
        except Conflict:
            # Who listens there keeps the port, which the rules take from them.
            self._firewall.set_ports(owner, before)
            raise

    def published(self, owner: str) -> tuple[PublishedPort, ...]:
        found = self._firewall.ports(checked_id(owner))
        needed = {port: self._forwards((port,)) for port in sorted(found, key=place)}
        there = set(self._proxies.get(owner)) if any(needed.values()) else set()
        return tuple(port for port, forwards in needed.items() if there.issuperset(forwards))

    def list(self) -> Sequence[str]:
        return sorted({*self._firewall.port_owners(), *self._proxies.list()})

    def _withdraw(self, owner: str) -> None:
        failures: list[EngineError] = []
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._firewall.set_ports(owner, ()),
            lambda: self._proxies.set(owner, ()),
        )
        for step in steps:
            try:
                step()
            except EngineError as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"the ports of {owner} are not wholly withdrawn", failures)

    def _forwards(self, ports: Sequence[PublishedPort]) -> tuple[Forward, ...]:
        found, internal = [], cache(self._firewall.is_internal)
        for port in ports:
            target = port.ipv6 or port.ipv4
            addresses = proxied_at(port)
            if addresses not in ((), ("::1",)) and internal(target):
                # The host alone may reach it.
                addresses = ("::1",) if port.address in EVERYWHERE else ()
            found += [Forward(port.protocol, address, port.host, target, port.container) for address in addresses]
        return tuple(found)
