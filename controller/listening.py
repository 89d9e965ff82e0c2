"""What listens on the host where containers want their ports: looked up once an apply, and only when it asks."""

from collections.abc import Callable
from functools import cache

from controller.network_rules import Taken, TakenPort
from drivers.network.interface import HostPorts
from resources.container_parts import Port
from resources.ports import overlap


class Listening:
    def __init__(self, ports: HostPorts, ours: Callable[[int], bool]) -> None:
        """`ours` tells whether a process is a container's of this engine: what it listens on may go with this very apply."""
        self._ports = ports
        self._ours = ours

    def taken(self) -> Taken:
        listeners = cache(self._ports.listeners)

        def found(port: Port) -> TakenPort | None:
            for one in listeners():
                if (one.protocol, one.port) != (port.protocol, port.host) or not overlap(one.place, port.address):
                    continue
                owner = self._ports.owner(one)
                if owner is None or not self._ours(owner.pid):
                    return TakenPort(one.protocol, one.place, one.port, str(owner or ""))
            return None

        return found
