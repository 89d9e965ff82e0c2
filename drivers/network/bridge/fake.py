"""Bridge networks in memory, for tests of what is above them. `break_network`, `break_endpoint`, `lose_network`,
`lose_endpoint` and `reboot` are what others do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drivers.network.arguments import check_network, checked_endpoint, checked_network_id, checked_sandbox_id
from drivers.network.interface import EndpointConfig, EndpointState, Fault, NetworkConfig, NetworkState
from drivers.network.sandbox.fake import FakeSandboxes
from drivers.snapshots.fake import Breakable
from resources.errors import Conflict, FailedPrecondition

_UPLINK_MTU = 1500


@dataclass(slots=True)
class _Network:
    config: NetworkConfig
    there: bool = True
    """Whether the link is; the record may be without it."""
    faults: dict[str, Fault] = field(default_factory=dict)

    mtu: int = _UPLINK_MTU
    """Of its links, as last made."""


@dataclass(slots=True)
class _Endpoint:
    config: EndpointConfig
    life: int
    """Which life of its sandbox it belongs to: it went with the namespace."""
    mtu: int
    faults: dict[str, Fault] = field(default_factory=dict)


class FakeNetworks(Breakable):
    """`calls` names endpoints `<sandbox id>:<network id>`. Endpoints go with their sandboxes."""

    def __init__(self, sandboxes: FakeSandboxes) -> None:
        super().__init__()
        self.forgotten: list[str] = []
        """Addresses whose tracked connections were forgotten, in order."""
        self.uplink_mtu = _UPLINK_MTU
        """That of the link the host's default route goes over."""
        self._sandboxes = sandboxes
        self._networks: dict[str, _Network] = {}
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}

    def apply(self, config: NetworkConfig) -> None:
        check_network(config)
        self._called("apply", config.id)
        self._networks[config.id] = _Network(config, mtu=config.mtu or self.uplink_mtu)

    def inspect(self, network_id: str) -> NetworkState:
        network = self._networks.get(checked_network_id(network_id))
        if network is None:
            return NetworkState(None)
        faults = dict(network.faults)
        mtu = network.config.mtu or self.uplink_mtu
        if network.there and mtu != network.mtu:
            faults["bridge.mtu"] = Fault("bridge.mtu", mtu, network.mtu)
        return NetworkState(network.config, tuple(faults[name] for name in sorted(faults)))

    def delete(self, network_id: str) -> None:
        self._called("delete", checked_network_id(network_id))
        if self._networks.pop(network_id, None):
            self._release_ports(network_id)

    def list(self) -> Sequence[str]:
        return sorted(self._networks)

    def attach(self, endpoint: EndpointConfig) -> None:
        endpoint = checked_endpoint(endpoint)
        sandbox_id, network_id = endpoint.sandbox_id, endpoint.network_id
        self._called("attach", f"{sandbox_id}:{network_id}")
        network = self._networks.get(network_id)
        if network is None or not network.there:
            raise FailedPrecondition(f"there is no network {network_id[:12]} to attach to")
        sandbox = self._sandboxes.inspect(sandbox_id)
        if sandbox is None or sandbox.netns is None:
            raise FailedPrecondition(f"there is no network namespace {endpoint.netns}")
        others = {other: name for other, name in self.attached(sandbox_id).items() if other != network_id}
        if endpoint.interface in others.values():
            raise Conflict(f"the sandbox has another interface {endpoint.interface}")
        mtu = endpoint.mtu or network.mtu
        self._endpoints[sandbox_id, network_id] = _Endpoint(endpoint, self._life(sandbox_id), mtu)

    def detach(self, sandbox_id: str, network_id: str, addresses: Sequence[str] = ()) -> None:
        self._called("detach", f"{checked_sandbox_id(sandbox_id)}:{checked_network_id(network_id)}")
        self._endpoints.pop((sandbox_id, network_id), None)
        self.forgotten += _hosts(addresses)

    def forget(self, addresses: Sequence[str]) -> None:
        self._called("forget", " ".join(addresses))
        self.forgotten += _hosts(addresses)

    def endpoint(self, endpoint: EndpointConfig) -> EndpointState | None:
        endpoint = checked_endpoint(endpoint)
        there = self._endpoint(endpoint.sandbox_id, endpoint.network_id)
        if there is None:
            return None
        network = self._networks.get(endpoint.network_id)
        if network is None or not network.there:
            missing = Fault("link.bridge", _link(endpoint.network_id), None)
            return EndpointState(there.config.interface, (missing,))
        faults = {**_differences(endpoint, there, endpoint.mtu or network.mtu), **there.faults}
        return EndpointState(there.config.interface, tuple(faults[name] for name in sorted(faults)))

    def attached(self, sandbox_id: str) -> Mapping[str, str]:
        checked_sandbox_id(sandbox_id)
        found = {
            network: self._endpoint(sandbox, network) for sandbox, network in self._endpoints if sandbox == sandbox_id
        }
        return {network: there.config.interface for network, there in sorted(found.items()) if there}

    def break_network(self, network_id: str, fault: Fault) -> None:
        self._networks[network_id].faults[fault.field] = fault

    def break_endpoint(self, sandbox_id: str, network_id: str, fault: Fault) -> None:
        self._endpoints[sandbox_id, network_id].faults[fault.field] = fault

    def lose_network(self, network_id: str) -> None:
        """Delete the link; the record of it stays."""
        network = self._networks[network_id]
        network.there = False
        network.faults = {"bridge": Fault("bridge", _link(network_id), None)}
        self._release_ports(network_id)

    def lose_endpoint(self, sandbox_id: str, network_id: str) -> None:
        del self._endpoints[sandbox_id, network_id]

    def reboot(self) -> None:
        self._networks.clear()
        self._endpoints.clear()

    def _release_ports(self, network_id: str) -> None:
        for (_, network), there in self._endpoints.items():
            if network == network_id:
                there.faults["link.bridge"] = Fault("link.bridge", _link(network_id), None)

    def _endpoint(self, sandbox_id: str, network_id: str) -> _Endpoint | None:
        there = self._endpoints.get((sandbox_id, network_id))
        return there if there and there.life == self._life(sandbox_id) else None

    def _life(self, sandbox_id: str) -> int:
        """How often it was deleted; -1 when it is not there."""
        sandbox = self._sandboxes.inspect(sandbox_id)
        if sandbox is None or sandbox.netns is None:
            return -1
        return self._sandboxes.calls.count(("delete", sandbox_id))


def _differences(wanted: EndpointConfig, there: _Endpoint, mtu: int) -> Mapping[str, Fault]:
    compared = (
        ("interface.name", wanted.interface, there.config.interface),
        ("addresses", sorted(wanted.addresses), sorted(there.config.addresses)),
        ("mac", wanted.mac, there.config.mac),
        ("mtu", mtu, there.mtu),
        ("routes", sorted(wanted.gateways), sorted(there.config.gateways)),
    )
    return {name: Fault(name, expected, actual) for name, expected, actual in compared if expected != actual}


def _hosts(addresses: Sequence[str]) -> list[str]:
    return [address.partition("/")[0] for address in addresses]


def _link(network_id: str) -> str:
    return f"ldfakeb{network_id[:8]}"
