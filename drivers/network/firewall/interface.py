"""The contract between the networks and the firewall: what each network is, in one table of our own.

The table holds what networks and published ports need: who may reach whom, what leaves under the host's own address, and
that nothing gets in that was not published. It stays when the engine ends, and works on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.network.ports.interface import PublishedPort


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What the firewall knows of a network."""

    id: str
    """The object's uid."""
    bridge: str
    """The name of its link."""
    subnets: tuple[str, ...]
    """IPv4 and IPv6, no host bits."""
    internal: bool = False
    """Nothing is forwarded into it or out of it, published ports included; it and the host reach each other."""
    isolated: bool = False
    """Nothing is routed back to where it came from; that its endpoints do not reach each other over the bridge itself
    is for whoever attaches them to see to (isolated ports of the bridge)."""
    masquerade: bool = True
    """What leaves it for elsewhere has the host's address as its source."""


class Firewall(Protocol):
    """Rules for networks. From a network that has none nothing is forwarded, and nothing to it."""

    def set_network(self, rules: NetworkRules) -> None:
        """Make these the network's rules, in one transaction; connections of what stays allowed go on. What is missing or
        altered of the table is mended with it.

        Raises: InvalidArgument (no name of a link, no subnet), Unavailable (the kernel refused), Unsupported (it has no
        nftables, or lacks a part of it that is needed).
        """

    def network(self, network_id: str) -> NetworkRules | None:
        """What is truly there. None when it is absent or there in part, or when the rules all networks share are,
        those in Docker's chain included."""

    def remove_network(self, network_id: str) -> None:
        """Absent is fine. With the last network and the last published port the whole table goes."""

    def networks(self) -> Sequence[str]:
        """Ids of all networks that anything is there of."""

    def forget_flows(self, addresses: Sequence[str]) -> None:
        """Forget the connections that are tracked from or to any of these addresses (also under a translated one), so
        that whoever has the address next inherits none. None there is fine."""


class PortRules(Protocol):
    """Rules for published ports: what of the contract of `PortPublisher` a firewall can do. The ports have been checked.

    Beside ufw or firewalld, forwarded packets need their leave too, since a drop of any table counts: `obstacles` tells what
    to ask of them. Docker's chain for such leave (`DOCKER-USER`) is used without asking. Where there is one, containers reach
    those of Docker by the ports it published on the host alone, and a bridge that somebody makes is closed to them until the
    table is mended. Where forwarding was turned on before Docker came, other machines may reach all ports of its containers:
    `obstacles` tells that too.
    """

    def set_ports(self, owner: str, ports: Sequence[PublishedPort], formerly: Sequence[PublishedPort] = ()) -> None:
        """Make these and no others the owner's, in one transaction, and mend the table. Connections of ports that are
        withdrawn are forgotten; TCP ones of a port that has another target now go on. `formerly` are ports of a change that
        was cut short: connections by them, which may have outlived their rules, are forgotten as well.

        Raises: Conflict (it is another owner's), Unavailable, Unsupported.
        """

    def ports(self, owner: str) -> tuple[PublishedPort, ...]:
        """Those of which all is there."""

    def port_owners(self) -> Sequence[str]: ...

    def is_internal(self, address: str) -> bool:
        """Whether it is of an internal network."""

    def obstacles(self) -> Sequence[str]:
        """Foreign firewalls that stop what ours lets pass, or that let pass what they should stop since packets are
        forwarded: one line each, with what to do about it."""
