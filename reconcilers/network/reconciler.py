"""Network: what containers are attached to. Those of the drivers host and none need nothing in the kernel: every sandbox
brings its own loopback."""

from collections.abc import Mapping

from drivers.network.interface import NetworkDriver
from drivers.network.ipam.interface import Ipam
from reconcilers.interface import Context, Diff
from reconcilers.network.act import NetworkActs
from reconcilers.network.diff import decide
from reconcilers.network.model import NetworkAction, ObservedNetwork
from reconcilers.network.observe import NetworkEyes
from reconcilers.network.status import network_status
from resources.kinds import Kind
from resources.meta import Key, Status
from resources.object import Object


class NetworkReconciler:
    kind = Kind.NETWORK

    def __init__(self, drivers: Mapping[str, NetworkDriver], ipam: Ipam) -> None:
        """`drivers` by the word a manifest says."""
        self._eyes = NetworkEyes(drivers, ipam)
        self._acts = NetworkActs(drivers, ipam)

    def observe(self, key: Key, desired: Object | None, context: Context) -> ObservedNetwork:
        del context  # it refers to nothing
        return self._eyes.observe(key, desired)

    def diff(self, desired: Object | None, observed: ObservedNetwork, context: Context) -> Diff[NetworkAction]:
        return decide(desired, observed, context).diff

    def act(self, action: NetworkAction) -> None:
        self._acts.act(action)

    def status(self, desired: Object, observed: ObservedNetwork, context: Context) -> Status:
        return network_status(desired, observed, context)

    def known(self) -> list[Key]:
        return self._eyes.known()
