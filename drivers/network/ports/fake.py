"""Published ports in memory, for tests of what is above them. `break_ports`, `occupy`, `lose` and `reboot` are what others
do."""

from collections.abc import Sequence

from drivers.network.firewall.elements import checked_id
from drivers.network.ports.interface import PublishedPort, Transport
from drivers.network.ports.published import checked_ports, claims, text
from resources.errors import Conflict


class FakePorts:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its owner, in order."""
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        self._broken: set[str] = set()
        self._occupied: set[tuple[Transport, int]] = set()

    def publish(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        wanted = checked_ports(ports)
        self.calls.append(("publish", checked_id(owner)))
        holders = {
            claim: other
            for other, held in self._ports.items()
            if other != owner
            for port in held
            for claim in claims(port)
        }
        for port in wanted:
            for claim in claims(port) & holders.keys():
                raise Conflict(f"{text(port)} is published by {holders[claim]} already")
        for port in wanted:
            if (port.protocol, port.host) in self._occupied and (
                owner in self._broken or port not in self._ports.get(owner, ())
            ):
                raise Conflict(f"the host's port {port.host}/{port.protocol} is in use: a process has it")
        self._broken.discard(owner)
        if wanted:
            self._ports[owner] = wanted
        else:
            self._ports.pop(owner, None)

    def published(self, owner: str) -> tuple[PublishedPort, ...]:
        return () if checked_id(owner) in self._broken else self._ports.get(owner, ())

    def list(self) -> Sequence[str]:
        return sorted(self._ports)

    def break_ports(self, owner: str) -> None:
        """A part of each of its ports is gone: none of them is whole."""
        assert owner in self._ports, f"{owner} has no ports"
        self._broken.add(owner)

    def occupy(self, protocol: Transport, port: int) -> None:
        """A process of the host has it, at all addresses, as soon as nobody of ours does."""
        self._occupied.add((protocol, port))

    def vacate(self) -> None:
        """It ends."""
        self._occupied.clear()

    def lose(self, owner: str) -> None:
        """All its rules are gone."""
        self._ports.pop(owner, None)
        self._broken.discard(owner)

    def reboot(self) -> None:
        self._ports.clear()
        self._broken.clear()
        self._occupied.clear()
