"""Perform one action."""

from collections.abc import Mapping

from drivers.network.interface import Ipam, NetworkDriver
from reconcilers.network.model import AllocateSubnets, ApplyNetwork, NetworkAction


class NetworkActs:
    def __init__(self, drivers: Mapping[str, NetworkDriver], ipam: Ipam) -> None:
        self._drivers = drivers
        self._ipam = ipam

    def act(self, action: NetworkAction) -> None:
        if isinstance(action, AllocateSubnets):
            self._ipam.allocate_subnets(action.uid, action.asked)
        elif isinstance(action, ApplyNetwork):
            self._drivers[action.driver].apply(action.config)
        else:
            self._drivers[action.driver].delete(action.uid)
