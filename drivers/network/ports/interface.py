"""The contracts of published ports: which container has which port of the host, and what makes it one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Transport = Literal["tcp", "udp"]


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
    """A socket of the host's own network that listens, or is bound to a port and may."""

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
        """Of all processes but the one of ours that holds ports and stands in for rules."""

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

    Of what is published, no process of the host can have the port: who has it already keeps it, and who wants it later is told
    that it is in use.
    """

    def publish(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        """Make these and no others the owner's (a uid), in one transaction: what is there before and after is not
        interrupted. Connections of ports that are withdrawn end. () withdraws all.

        Raises: Conflict naming the other owner, or who on the host has the port; FailedPrecondition (the host has no such
        address); InvalidArgument (no address of the container can carry it); Unavailable. Nothing of what is new is there
        then, nor of what was there and is somebody's by now.
        """

    def published(self, owner: str) -> tuple[PublishedPort, ...]:
        """What is truly there, sorted; one that is there in part is not told. While a change has not come to its end, one
        that leads to port 0 stands beside them, which nobody asks for: `publish` ends it."""

    def list(self) -> Sequence[str]:
        """Owners that anything is there of."""
