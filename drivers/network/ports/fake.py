"""Published ports in memory, for tests of what is above them. `break_ports`, `lose` and `reboot` are what others do."""

from collections.abc import Sequence

from drivers.network.firewall.elements import checked_id
from drivers.network.interface import PublishedPort
from drivers.network.ports.published import checked_ports, claims, text
from resources.errors import Conflict


class FakePorts:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its owner, in order."""
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        self._broken: set[str] = set()

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

    def lose(self, owner: str) -> None:
        """All its rules are gone."""
        self._ports.pop(owner, None)
        self._broken.discard(owner)

    def reboot(self) -> None:
        self._ports.clear()
        self._broken.clear()
