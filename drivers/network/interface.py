"""The contracts of the network drivers.

A *sandbox* is the network namespace of a container, an *endpoint* its attachment to one network. Networks of the drivers
`host` and `none` need no more than a sandbox; `bridge` makes a link a network and a pair of links an endpoint. Addresses
and host ports are allocated (ipam.interface, ports.interface: who holds what, in the store, before the kernel hears of it),
ports are published by rules of a firewall table of our own (firewall.interface) and, where no rule can do it, by a proxy.
Names are answered, and ports held and proxied, by a process that outlives the engine: names.interface.

All of it is named from ids, so that what is listed and belongs to nobody can be told and removed. Every write is
idempotent and mends what is half done or altered; every read says what is so, and absence is a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Sandbox:
    id: str
    """The task ID it belongs to."""
    netns: Path | None
    """The file that holds the network namespace; None for one that uses the host's."""
    loopback_up: bool
    """And has its addresses."""


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """What /etc/hostname, /etc/hosts and /etc/resolv.conf of a container shall say. Values are checked by the caller
    for control characters; the driver writes line by line and refuses any (RT-09)."""

    hostname: str
    addresses: tuple[str, ...] = ()
    """The container's own, which /etc/hosts gives its host name; without any, 127.0.0.1."""
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    """name -> address; `host-gateway` already resolved."""
    nameservers: tuple[str, ...] | None = None
    """None: the host's own."""
    search: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None
    host_network: bool = False


class SandboxDriver(Protocol):
    """Make network namespaces that outlive the engine (bound to `<run root>/netns/<id>`)."""

    def create(self, sandbox_id: str, *, pid: int | None = None) -> Sandbox:
        """Make the namespace with loopback up and at 127.0.0.1 and ::1. Idempotent; a half-made one is completed.

        With `pid`, one whose name has been lost gets it again: it is the namespace of that process. Raises:
        FailedPrecondition when the process is gone.
        """

    def inspect(self, sandbox_id: str) -> Sandbox | None: ...

    def delete(self, sandbox_id: str) -> None:
        """Drop the namespace and the files. Absent is fine."""

    def list(self) -> Sequence[str]: ...

    def write_files(self, sandbox_id: str, files: SandboxFiles) -> None:
        """Write hostname, hosts and resolv.conf. In place, since they are bound into running containers."""

    def files(self, sandbox_id: str) -> Mapping[str, Path]:
        """`hostname`, `hosts`, `resolv.conf` -> path to be bound."""

    def files_match(self, sandbox_id: str, files: SandboxFiles) -> bool:
        """Tell whether the files say just that; False when one is missing."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    healthy: bool
    message: str
    """One short clean line: "HTTP 503", "connection refused"."""


class Prober(Protocol):
    """Make one health probe from inside a sandbox (its loopback), without any process in it.

    Answers are hostile: bounded in size, no redirect is followed. Blocking up to `timeout`; never raises for what the
    container does. `sandbox` None is the host's own network.
    """

    def http(self, sandbox: str | None, port: int, path: str, timeout: float) -> ProbeAnswer:
        """GET; 200 to 399 is healthy."""

    def tcp(self, sandbox: str | None, port: int, timeout: float) -> ProbeAnswer: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing on the host that is not as it was asked for."""

    field: str
    """`bridge`, `bridge.name`, `bridge.up`, `bridge.mtu`, `bridge.addresses`, `bridge.settings.route_localnet`, `firewall`,
    `forwarding`; of an endpoint `link`, `link.name`, `link.up`, `link.bridge`, `addresses`, `mac`, `routes`, …;
    `way`: a route of somebody else's on the host leads elsewhere than to the bridge, which attaching again does not mend."""
    expected: Any
    """JSON."""
    actual: Any
    """None: missing."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One subnet of a network, and what of it is given to endpoints."""

    subnet: str
    """`10.42.0.0/24`, no host bits."""
    gateway: str
    """`10.42.0.1`: the host's address in it."""
    ip_range: str = ""
    """Endpoints get addresses out of this part of it; "": all of it."""
    reserved: tuple[str, ...] = ()
    """Addresses no endpoint gets, unless it asks for just that one."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What a network shall be."""

    id: str
    """The object's uid: 32 hex digits."""
    pools: tuple[Pool, ...]
    mtu: int | None = None
    """None: that of the link the host's default route goes over, also when it becomes another, or else 1500."""
    internal: bool = False
    """No way out and none in, but to and from the host itself."""
    isolated: bool = False
    """Its endpoints do not reach each other."""
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class NetworkState:
    applied: NetworkConfig | None
    """What it was last made to be, from the driver's own record in the run root; None when there is no network."""
    faults: tuple[Fault, ...] = ()
    """What of `applied` is not so any more."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What an attachment shall be."""

    sandbox_id: str
    network_id: str
    netns: Path
    interface: str
    """Its name inside: `eth0`. One that was given another is called so again."""
    addresses: tuple[str, ...]
    """With the length of the prefix: `10.42.0.5/24`."""
    mac: str
    gateways: tuple[str, ...] = ()
    """The next hops of the default routes that go over it, one a family at most."""
    mtu: int | None = None
    """None: the network's."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    interface: str
    faults: tuple[Fault, ...] = ()


class NetworkDriver(Protocol):
    """One kind of networks. Names of links carry a prefix of the engine's instance and hashes of ids; the whole ids stand
    in the links' aliases, which is where `list` and `attached` read them."""

    def apply(self, config: NetworkConfig) -> None:
        """Make the network, or change or mend it. What is attached stays attached, and its connections live.

        Raises: Conflict (a link of somebody else's is in the way), Unsupported (what the kernel lacks).
        """

    def inspect(self, network_id: str) -> NetworkState: ...

    def delete(self, network_id: str) -> None:
        """Remove it with all its rules and settings. Absent is fine. Endpoints have been detached before."""

    def list(self) -> Sequence[str]:
        """Ids of all networks of this instance that anything is there of, the record included."""

    def attach(self, endpoint: EndpointConfig) -> None:
        """Connect a sandbox, or mend the connection: the network's link is there. Other links of the sandbox, and
        addresses and routes that others put there, are left alone.

        Raises: FailedPrecondition (no such namespace, no such network), Conflict (a link of somebody else's has the name
        that one of the pair is to have, outside or in the sandbox).
        """

    def detach(self, sandbox_id: str, network_id: str, addresses: Sequence[str] = ()) -> None:
        """Remove the pair of links, and forget the connections that the firewall tracks for `addresses`. Absent is fine,
        and so is a namespace that is gone."""

    def forget(self, addresses: Sequence[str]) -> None:
        """Forget the connections tracked for the addresses of endpoints that went with their sandbox: dropping a namespace
        takes its links along, at a fraction of what detaching them costs."""

    def endpoint(self, endpoint: EndpointConfig) -> EndpointState | None:
        """Compare an endpoint with what it shall be; None when it is not attached."""

    def attached(self, sandbox_id: str) -> Mapping[str, str]:
        """Interface names by network id, as far as they are there."""
