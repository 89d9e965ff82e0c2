"""The actions that connect a container with its networks, and take it off them (PURE)."""

from dataclasses import dataclass
from typing import ClassVar

from drivers.network.interface import Pool
from drivers.network.names.interface import SandboxNames
from drivers.network.ports.interface import PortRequest, PublishedPort
from reconcilers.container.endpoints import Endpoint
from reconcilers.container.model import UNKNOWN


@dataclass(frozen=True, slots=True)
class AllocateAddresses:
    uid: str
    network: str
    network_id: str
    pools: tuple[Pool, ...]
    ipv4: str = ""
    ipv6: str = ""

    def describe(self) -> str:
        asked = " and ".join(address for address in (self.ipv4, self.ipv6) if address)
        return f"take {asked or 'an address'} of network/{self.network}"


@dataclass(frozen=True, slots=True)
class AwaitAddresses:
    uid: str
    network: str
    network_id: str
    ipv4: str = ""
    ipv6: str = ""
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        asked = " and ".join(address for address in (self.ipv4, self.ipv6) if address)
        return f"wait for {asked} of network/{self.network}"


@dataclass(frozen=True, slots=True)
class VacateAddresses:
    uid: str
    network_id: str
    addresses: tuple[str, ...]
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"give {', '.join(self.addresses)} to who waits for it"


@dataclass(frozen=True, slots=True)
class LetAddressesGo:
    uid: str
    network_id: str
    addresses: tuple[str, ...]
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"give back {', '.join(self.addresses)}"


@dataclass(frozen=True, slots=True)
class ReleaseAddresses:
    uid: str
    network_id: str
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return "give back its addresses of a network it left"


@dataclass(frozen=True, slots=True)
class AllocatePorts:
    uid: str
    asked: tuple[PortRequest, ...]
    wakes: bool = False
    """It holds some already, and gives back those that it asks for no more."""

    def describe(self) -> str:
        named = (f"{port.host or 'a free one for ' + str(port.container)}/{port.protocol}" for port in self.asked)
        return f"take host ports: {', '.join(named)}"


@dataclass(frozen=True, slots=True)
class ReleasePorts:
    uid: str
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return "give back its host ports"


@dataclass(frozen=True, slots=True)
class AttachEndpoint:
    """Connect it, or change or mend the connection."""

    sandbox_id: str
    endpoint: Endpoint

    def describe(self) -> str:
        one = self.endpoint
        return f"attach {one.interface} to network/{one.network} as {', '.join(one.addresses) or UNKNOWN}"


@dataclass(frozen=True, slots=True)
class DetachEndpoint:
    sandbox_id: str
    network_id: str
    addresses: tuple[str, ...]

    def describe(self) -> str:
        return f"detach it from the network of {', '.join(self.addresses)}"


@dataclass(frozen=True, slots=True)
class ForgetFlows:
    addresses: tuple[str, ...]

    def describe(self) -> str:
        return "forget its tracked connections"


@dataclass(frozen=True, slots=True)
class SetNames:
    names: SandboxNames
    """Without the namespace, which may be yet to be made."""

    def describe(self) -> str:
        named = dict.fromkeys(name for member in self.names.members for name in member.names)
        return f"have names answered, its own: {', '.join(named) or 'none'}"


@dataclass(frozen=True, slots=True)
class RemoveNames:
    sandbox_id: str

    def describe(self) -> str:
        return "have names answered no more"


@dataclass(frozen=True, slots=True)
class PublishPorts:
    uid: str
    ports: tuple[PublishedPort, ...]
    """() withdraws all. A host port of 0 is one that is not known yet."""

    def describe(self) -> str:
        return f"publish {', '.join(map(shown, self.ports))}" if self.ports else "withdraw its ports"


def shown(port: PublishedPort) -> str:
    address = f"[{port.address}]:" if ":" in port.address else f"{port.address}:" if port.address else ""
    return f"{address}{port.host or 'a free port'}->{port.container}/{port.protocol}"


NetworkAction = (
    AllocateAddresses
    | AwaitAddresses
    | VacateAddresses
    | LetAddressesGo
    | ReleaseAddresses
    | AllocatePorts
    | ReleasePorts
    | AttachEndpoint
    | DetachEndpoint
    | ForgetFlows
    | SetNames
    | RemoveNames
    | PublishPorts
)
