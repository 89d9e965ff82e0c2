"""Perform one action."""

from collections.abc import Callable, Mapping
from typing import Any

from drivers.network.interface import NetworkDriver
from drivers.network.ipam.interface import Ipam
from reconcilers.network.model import (
    AllocateSubnets,
    ApplyNetwork,
    AwaitSubnets,
    DeleteNetwork,
    LetSubnetsGo,
    NetworkAction,
    VacateSubnets,
)


class NetworkActs:
    def __init__(self, drivers: Mapping[str, NetworkDriver], ipam: Ipam) -> None:
        self._acts: Mapping[type[Any], Callable[[Any], object]] = {
            AllocateSubnets: lambda a: ipam.allocate_subnets(a.uid, a.asked),
            AwaitSubnets: lambda a: ipam.await_subnets(a.uid, a.asked),
            VacateSubnets: lambda a: ipam.vacate_subnets(a.uid),
            LetSubnetsGo: lambda a: ipam.let_subnets_go(a.uid),
            ApplyNetwork: lambda a: drivers[a.driver].apply(a.config),
            DeleteNetwork: lambda a: drivers[a.driver].delete(a.uid),
        }

    def act(self, action: NetworkAction) -> None:
        self._acts[type(action)](action)
