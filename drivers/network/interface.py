"""The contracts of the network drivers.

A *sandbox* is the network namespace of a container, an *endpoint* its attachment to one network. Networks of the drivers
`host` and `none` need no more than a sandbox; `bridge` makes a link a network and a pair of links an endpoint. Addresses
and host ports are allocated (`Ipam`, `HostPorts`: who holds what, in the store, before the kernel hears of it), ports are
published by rules of a firewall table of our own and, where no rule can do it, by a proxy (`PortPublisher`). Names are
answered, and ports proxied, by a process that outlives the engine: drivers.network.names.interface.

All of it is named from ids, so that what is listed and belongs to nobody can be told and removed. Every write is
idempotent and mends what is half done or altered; every read says what is so, and absence is a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Sandbox:
    id: str
    """The task ID it belongs to."""
    netns: Path | None
    """The file that holds the network namespace; None for one that uses the host's."""
    loopback_up: bool


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
        """Make the namespace with loopback up. Idempotent; a half-made one is completed.

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


Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing on the host that is not as it was asked for."""

    field: str
    """`bridge`, `bridge.up`, `bridge.mtu`, `bridge.addresses`, `bridge.settings.route_localnet`, `firewall`,
    `forwarding`; of an endpoint `link`, `link.up`, `link.bridge`, `addresses`, `mac`, `routes`, …"""
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
    """None: that of the link the host's default route goes over, or else 1500."""
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
    """Its name inside: `eth0`."""
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


class Holder(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def slot(self) -> str: ...


class Allocations(Protocol):
    """Who holds which value of a pool, in the store (controller.store.allocations): a value has one holder, and a slot of a
    holder one value. Safe from any thread; what an object holds is freed when it is removed."""

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        """Give the holder just these values of the pool, by slot, and free what else of it it held, all at once. Raises:
        Conflict naming who has one of them."""

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        """(pool, slot) -> value."""

    def taken(self, pool: str, prefix: str = "") -> Mapping[str, Holder]:
        """By value; those that begin with `prefix`, which costs no more than they do."""


@dataclass(frozen=True, slots=True)
class SubnetRequest:
    subnet: str
    gateway: str = ""
    """"": the first address of the subnet (of an IPv6 one, the one after the subnet-router anycast address)."""
    ip_range: str = ""
    reserved: tuple[str, ...] = ()


class Ipam(Protocol):
    """Address management. One process allocates; what it gave is the same after a restart."""

    def allocate_subnets(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        """Hold these subnets for the network, or, where none is asked for, one of the engine's own pools that meets no
        route of the host and no other network's. What it held before and asks for no more is freed.

        Raises: Conflict naming the network or the route that overlaps; ResourceExhausted; InvalidArgument.
        """

    def pools(self, network_id: str, asked: Sequence[SubnetRequest]) -> tuple[Pool, ...]:
        """What `allocate_subnets` has given for just this request; () when it has not (yet). Changes nothing."""

    def allocate(
        self, network_id: str, pools: Sequence[Pool], holder: str, *, ipv4: str = "", ipv6: str = ""
    ) -> tuple[str, ...]:
        """One address a family of the network's pools, without the prefix length, held by `holder` (an object's uid) until
        it is released: those asked for, or those it has already, or free ones. An address that was freed is given again
        as late as possible.

        Raises: Conflict naming who has the address asked for; ResourceExhausted ("10.42.0.0/29 has 5 addresses, and all
        are taken"); InvalidArgument (not in the network, its gateway, its broadcast address).
        """

    def addresses(self, holder: str) -> Mapping[str, tuple[str, ...]]:
        """What it holds, by network id, IPv4 first."""

    def release(self, holder: str, network_id: str) -> None:
        """Of what is not held: fine."""


@dataclass(frozen=True, slots=True)
class PortRequest:
    container: int
    host: int | None = None
    """None: a free one."""
    address: str = ""
    """"" is 0.0.0.0 and [::]."""
    protocol: Transport = "tcp"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket of the host's own network that listens (TCP) or is bound (UDP)."""

    protocol: Transport
    address: str
    """"0.0.0.0", "::" (which takes IPv4 too unless `v6_only`), or one of the host's."""
    port: int
    v6_only: bool = False
    inode: int = 0

    @property
    def place(self) -> str:
        """Where it is in the way of a port, as requests say it: "" is 0.0.0.0 and [::]."""
        return "" if self.address == "::" and not self.v6_only else self.address


@dataclass(frozen=True, slots=True)
class SocketOwner:
    pid: int
    name: str
    """Printable."""

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


class HostPorts(Protocol):
    """Which container has which port of the host."""

    def allocate(self, holder: str, asked: Sequence[PortRequest]) -> tuple[PortRequest, ...]:
        """The same with each `host` filled in, held until released; what it held and asks for no more is freed, even where
        it gets nothing for it. Two may have the same port only at different addresses, none of them all addresses; of the
        free ones none is given that anybody listens on.

        Raises: Conflict naming who has it; ResourceExhausted.
        """

    def held(self, holder: str, asked: Sequence[PortRequest]) -> tuple[PortRequest, ...]:
        """What `allocate` has given for just this request; () when it has not (yet). Changes nothing."""

    def holds(self, holder: str) -> bool:
        """Whether it has any, whatever it asked for then."""

    def release(self, holder: str) -> None: ...

    def listeners(self) -> Sequence[Listener]:
        """Of all processes but the one of ours that stands in for a rule."""

    def owner(self, listener: Listener) -> SocketOwner | None:
        """Whose it is, None when that cannot be found. Slow."""


@dataclass(frozen=True, slots=True)
class PublishedPort:
    host: int
    container: int
    address: str = ""
    """Where on the host; "" everywhere."""
    protocol: Transport = "tcp"
    ipv4: str = ""
    """The endpoint's addresses, as far as it has them."""
    ipv6: str = ""


class PortPublisher(Protocol):
    """Makes ports of containers ports of the host: from outside, from the host by any of its addresses and by localhost,
    from containers of any network, the publishing one included. A port at 127.0.0.1 or ::1 is reached from the host alone.
    """

    def publish(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        """Make these and no others the owner's (a uid), in one transaction: what is there before and after is not
        interrupted. Connections of ports that are withdrawn end. () withdraws all.

        Raises: Conflict naming the other owner, or that somebody listens where a proxy is needed; InvalidArgument (no address
        of the container can carry it); Unavailable.
        """

    def published(self, owner: str) -> tuple[PublishedPort, ...]:
        """What is truly there, sorted; one that is there in part is not told."""

    def list(self) -> Sequence[str]:
        """Owners that anything is there of."""
