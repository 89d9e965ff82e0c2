"""Published ports: elements of the firewall, sockets that hold them, and proxies where no rule can do it."""

import ipaddress
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from drivers.network.firewall.elements import EVERYWHERE, checked_id, held_at, proxied_at
from drivers.network.firewall.interface import PortRules
from drivers.network.names.interface import Forward, Proxies
from drivers.network.ports.interface import PublishedPort
from drivers.network.ports.local import local_ipv6
from drivers.network.ports.unfinished import Unfinished
from resources.errors import Conflict, EngineError, FailedPrecondition, InvalidArgument, ResourceExhausted


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


@lru_cache(maxsize=1 << 12)
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
    """Where rules lead, the port is held by the resolver process: nobody else gets it, and whoever has it keeps it. There is no
    rule before it is held.

    `folder` has what was begun and not finished. `whose` tells who on the host has one of these ports, and `local` which of
    `::` and `::1` the host has.
    """

    def __init__(
        self,
        firewall: PortRules,
        proxies: Proxies,
        folder: Path,
        *,
        whose: Callable[[Sequence[Forward]], str] = lambda _: "",
        local: Callable[[], frozenset[str]] = local_ipv6,
    ) -> None:
        self._firewall = firewall
        self._proxies = proxies
        self._unfinished = Unfinished(folder)
        self._whose = whose
        self._local = local

    def publish(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        wanted = checked_ports(ports)
        checked_id(owner)
        if not wanted:
            self._withdraw(owner)
            return
        before, forwards = self._firewall.ports(owner), self._forwards(wanted)
        formerly = self._unfinished.begin(owner, before, wanted)
        try:
            self._proxies.set(owner, forwards)
        except (Conflict, FailedPrecondition, ResourceExhausted) as error:
            # Who has a port keeps it, so nothing leads elsewhere what is sent there.
            self._firewall.set_ports(owner, self._held(owner, before), formerly)
            self._unfinished.end(owner)
            raise self._named(owner, forwards, error) from None
        try:
            self._firewall.set_ports(owner, wanted, formerly)
        except EngineError as error:
            with suppress(EngineError):
                self._proxies.set(owner, self._forwards(before))
                if isinstance(error, Conflict):  # before anything was done
                    self._unfinished.end(owner)
            raise
        self._unfinished.end(owner)

    def published(self, owner: str) -> tuple[PublishedPort, ...]:
        found = self._held(checked_id(owner), self._firewall.ports(owner))
        begun = self._unfinished.ports(owner)
        # Like nothing anybody asks for: it is made, or withdrawn, once more.
        return (*found, *(replace(port, container=0) for port in begun[:1]))

    def list(self) -> Sequence[str]:
        return sorted({*self._firewall.port_owners(), *self._proxies.list(), *self._unfinished.owners()})

    def _withdraw(self, owner: str) -> None:
        formerly = self._unfinished.begin(owner, self._firewall.ports(owner), ())
        failures: list[EngineError] = []
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._firewall.set_ports(owner, (), formerly),
            lambda: self._proxies.set(owner, ()),
        )
        for step in steps:
            try:
                step()
            except EngineError as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"the ports of {owner} are not wholly withdrawn", failures)
        self._unfinished.end(owner)

    def _held(self, owner: str, ports: Sequence[PublishedPort]) -> tuple[PublishedPort, ...]:
        """Those of which all is there beside the rules."""
        if not ports:
            return ()
        there, forwards = set(self._proxies.get(owner)), self._forwards_of()
        return tuple(port for port in sorted(ports, key=place) if there.issuperset(forwards(port)))

    def _forwards(self, ports: Sequence[PublishedPort]) -> tuple[Forward, ...]:
        return tuple(forward for forwards in map(self._forwards_of(), ports) for forward in forwards)

    def _forwards_of(self) -> Callable[[PublishedPort], Sequence[Forward]]:
        internal, local = cache(self._firewall.is_internal), self._local()

        def found(port: PublishedPort) -> Sequence[Forward]:
            target = port.ipv6 or port.ipv4
            addresses = proxied_at(port)
            if addresses not in ((), ("::1",)) and internal(target):
                # The host alone may reach it.
                addresses = ("::1",) if port.address in EVERYWHERE else ()
            here = [
                *(Forward(port.protocol, address, port.host) for address in held_at(port)),
                *(Forward(port.protocol, address, port.host, target, port.container) for address in addresses),
            ]
            # On a host without IPv6 all addresses are those of IPv4.
            return [one for one in here if one.address in (port.address, *local) or one.address not in ("::", "::1")]

        return found

    def _named(self, owner: str, forwards: Sequence[Forward], error: EngineError) -> EngineError:
        if not isinstance(error, Conflict):
            return error
        there = set(self._proxies.get(owner))
        said = self._whose([one for one in forwards if one not in there])
        return Conflict(said, hint="stop it, or take another port or address of the host") if said else error
