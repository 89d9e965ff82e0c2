"""Perform the actions that connect a container with its networks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.network_actions import (
    AllocateAddresses,
    AllocatePorts,
    AttachEndpoint,
    AwaitAddresses,
    DetachEndpoint,
    ForgetFlows,
    LetAddressesGo,
    PublishPorts,
    ReleaseAddresses,
    ReleasePorts,
    RemoveNames,
    SetNames,
    VacateAddresses,
)
from resources.errors import FailedPrecondition


class NetworkActs:
    def __init__(self, drivers: ContainerDrivers) -> None:
        self._drivers = drivers
        self.acts: Mapping[type[Any], Callable[[Any], object]] = {
            AllocateAddresses: self._allocate,
            AwaitAddresses: self._await,
            VacateAddresses: lambda a: drivers.ipam.vacate(a.uid, a.network_id),
            LetAddressesGo: lambda a: drivers.ipam.let_go(a.uid, a.network_id),
            ReleaseAddresses: lambda a: drivers.ipam.release(a.uid, a.network_id),
            AllocatePorts: lambda a: drivers.host_ports.allocate(a.uid, a.asked),
            ReleasePorts: lambda a: drivers.host_ports.release(a.uid),
            AttachEndpoint: self._attach,
            DetachEndpoint: self._detach,
            ForgetFlows: self._forget,
            SetNames: self._set_names,
            RemoveNames: lambda a: drivers.names.remove(a.sandbox_id),
            PublishPorts: lambda a: drivers.publisher.publish(a.uid, a.ports),
        }

    def _allocate(self, action: AllocateAddresses) -> None:
        self._drivers.ipam.allocate(action.network_id, action.pools, action.uid, ipv4=action.ipv4, ipv6=action.ipv6)

    def _await(self, action: AwaitAddresses) -> None:
        self._drivers.ipam.await_addresses(action.network_id, action.uid, ipv4=action.ipv4, ipv6=action.ipv6)

    def _attach(self, action: AttachEndpoint) -> None:
        one = action.endpoint
        driver = self._drivers.networks[one.driver]
        driver.attach(one.config(action.sandbox_id, self._netns(action.sandbox_id)))

    def _detach(self, action: DetachEndpoint) -> None:
        """Which driver it was is not asked: of the absent it is fine."""
        for driver in self._drivers.networks.values():
            driver.detach(action.sandbox_id, action.network_id, action.addresses)

    def _forget(self, action: ForgetFlows) -> None:
        for driver in self._drivers.networks.values():
            driver.forget(action.addresses)

    def _set_names(self, action: SetNames) -> None:
        names = action.names
        self._drivers.names.set(replace(names, netns=self._netns(names.sandbox_id)))

    def _netns(self, sandbox_id: str) -> Path:
        sandbox = self._drivers.sandboxes.inspect(sandbox_id)
        if sandbox is None or sandbox.netns is None:
            raise FailedPrecondition(f"the network namespace {sandbox_id[:12]} is not there")
        return sandbox.netns
