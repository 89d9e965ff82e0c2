"""What the links of a network and of its endpoints are called on the host, for `ip link` and tcpdump."""

from functools import cached_property

from controller.interface import Backend
from drivers.network.bridge.link_names import bridge_name, port_name
from resources.kinds import Kind
from resources.meta import Ref, Status
from resources.object import Object

_BRIDGE = "bridge"


class HostLinks:
    """For the length of one command."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def of_network(self, network: Object, status: Status) -> str:
        """ "" while it is not made, and for one that has no link."""
        made = network.effective.driver == _BRIDGE and status.fields.get("subnets")
        return bridge_name(self._instance, network.metadata.uid) if made else ""

    def of_endpoint(self, container: Object, status: Status, network: str) -> str:
        """The host's end of it; "" while the container has no process, or is on no such network."""
        ref = Ref(kind=Kind.NETWORK, namespace=container.metadata.namespace, name=network)
        sandbox, found = status.fields.get("containerId"), self._backend.objects.find(ref)
        if not isinstance(sandbox, str) or not status.fields.get("pid"):
            return ""
        if found is None or found.effective.driver != _BRIDGE:
            return ""
        return port_name(self._instance, sandbox, found.metadata.uid)

    @cached_property
    def _instance(self) -> str:
        instance: str = self._backend.describe_host()["instance"]
        return instance
