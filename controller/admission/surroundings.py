"""What of the host and of the store is in the way of containers: looked up once an apply, and only when it asks."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from controller.admission.host import Host, HostAddresses, Neighbours, TakenPort
from drivers.network.ipam.interface import Ipam
from drivers.network.ports.interface import HostPorts, Listener
from reconcilers.container.ports import requests
from resources.container_parts import Port
from resources.object import Object
from resources.ports import overlap


class Surroundings:
    def __init__(
        self,
        ports: HostPorts,
        ipam: Ipam,
        ours: Callable[[int], bool],
        addresses: Callable[[], Sequence[str]],
        unbound: Callable[[], frozenset[int]],
        neighbours: Callable[[], Sequence[Neighbours]],
    ) -> None:
        """`ours` tells whether a process is a container's of this engine: what it listens on may go with this very apply.
        `addresses` are the host's own, and `unbound` the families of which others than those can be bound too."""
        self._ports = ports
        self._ipam = ipam
        self._ours = ours
        self._addresses = addresses
        self._unbound = unbound
        self._neighbours = neighbours

    def host(self) -> Host:
        return Host(
            taken=self._taken(),
            addresses=cache(lambda: HostAddresses(self._addresses(), self._unbound())),
            neighbours=cache(self._neighbours),
            held=self._ipam.addresses,
            published=self._published,
            given=lambda uid: [pool.subnet for pool in self._ipam.pools(uid, ())],
        )

    def _published(self, container: Object) -> Sequence[int]:
        held = self._ports.held(container.metadata.uid, requests(container.effective))
        return [one.host for one in held if one.host is not None]

    def _taken(self) -> Callable[[Port], TakenPort | None]:
        @cache
        def listeners() -> Mapping[tuple[str, int], Sequence[Listener]]:
            found: dict[tuple[str, int], list[Listener]] = {}
            for one in self._ports.listeners():
                found.setdefault((one.protocol, one.port), []).append(one)
            return found

        def found(port: Port) -> TakenPort | None:
            for one in listeners().get((port.protocol, port.host or 0), ()):
                if not overlap(one.place, port.address):
                    continue
                owner = self._ports.owner(one)
                if owner is None or not self._ours(owner.pid):
                    return TakenPort(one.protocol, one.place, one.port, str(owner or ""))
            return None

        return found
