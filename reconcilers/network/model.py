"""What is observed of a Network, and the actions that make it so (PURE)."""

from dataclasses import dataclass, field
from typing import ClassVar

from drivers.network.interface import NetworkConfig, NetworkState
from drivers.network.ipam.interface import SubnetClaim, SubnetRequest
from resources.network import NetworkSpec


def subnet_requests(spec: NetworkSpec) -> tuple[SubnetRequest, ...]:
    """What a manifest asks of the address management; () where it leaves the choice to the engine."""
    return tuple(SubnetRequest(one.subnet, one.gateway or "", one.ip_range or "", one.reserved) for one in spec.subnets)


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    uid: str
    drivers: tuple[str, ...]
    """Those this host has that make something of a network."""
    held: tuple[str, ...] = ()
    """Which of them have anything of it, as far as that matters: where it is to go, or to be another's."""
    claim: SubnetClaim = field(default_factory=SubnetClaim)
    state: NetworkState = field(default_factory=lambda: NetworkState(None))


@dataclass(frozen=True, slots=True)
class AllocateSubnets:
    uid: str
    asked: tuple[SubnetRequest, ...]

    def describe(self) -> str:
        return f"take the subnet{'s' * (len(self.asked) > 1)} {self._subnets()}" if self.asked else "take a free subnet"

    def _subnets(self) -> str:
        return ", ".join(one.subnet for one in self.asked)


@dataclass(frozen=True, slots=True)
class AwaitSubnets:
    uid: str
    asked: tuple[SubnetRequest, ...]
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"wait for {', '.join(one.subnet for one in self.asked)}"


@dataclass(frozen=True, slots=True)
class VacateSubnets:
    uid: str
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return "give its subnets to the networks that wait for them"


@dataclass(frozen=True, slots=True)
class LetSubnetsGo:
    uid: str
    subnets: tuple[str, ...]
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"give back {', '.join(self.subnets)}"


@dataclass(frozen=True, slots=True)
class ApplyNetwork:
    driver: str
    config: NetworkConfig
    what: str
    """"make", "change" or "mend"."""
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"{self.what} the {self.driver}"


@dataclass(frozen=True, slots=True)
class DeleteNetwork:
    driver: str
    uid: str

    def describe(self) -> str:
        return f"remove the {self.driver}"


NetworkAction = AllocateSubnets | AwaitSubnets | VacateSubnets | LetSubnetsGo | ApplyNetwork | DeleteNetwork
