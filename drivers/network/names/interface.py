"""The contracts of the resolver process: names for sandboxes, and ports of the host that no firewall rule can carry.

It is one process an engine, of the standard library alone, started by the engine and outliving it; fed over a socket in
the run root, with a snapshot of all it was told beside it, from which one that was killed goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.network.interface import Transport


@dataclass(frozen=True, slots=True)
class Forward:
    """A port the host's own network is to be proxied from, where no firewall rule can do it: ::1, or IPv6 to a container that
    has IPv4 alone."""

    protocol: Transport
    address: str
    """`::1` or `::` or an IPv6 address of the host."""
    port: int
    target: str
    target_port: int


class Proxies(Protocol):
    """The forwards, carried by the resolver process."""

    def set(self, owner: str, forwards: Sequence[Forward]) -> None:
        """Make these and no others the owner's; connections of those that stay go on. Raises: Conflict (the port is
        somebody's), Unavailable."""

    def get(self, owner: str) -> tuple[Forward, ...]: ...

    def list(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class MemberNames:
    """What a sandbox is called on one network."""

    network_id: str
    names: tuple[str, ...]
    """Lower-case host names of one or more labels; the first is what PTR answers."""
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SandboxNames:
    """What the resolver knows of a sandbox: its own names, and where it may look."""

    sandbox_id: str
    netns: Path
    """Where it is asked, at NAME_SERVER."""
    members: tuple[MemberNames, ...]
    """It sees the names on these networks."""
    forward: bool = True
    """Whether what is no name of ours is asked of `servers`."""
    servers: tuple[str, ...] = ()
    """(): the host's own resolvers, as they are at that time."""


NAME_SERVER = "127.0.0.11"
"""Port 53, TCP and UDP, in every sandbox that has names; what a container binds to port 53 itself is not in the way."""


class Names(Protocol):
    """The resolver: a process of its own that outlives the engine and goes on from a snapshot on disk."""

    def set(self, sandbox: SandboxNames) -> None:
        """Answered everywhere within 100 ms; the process is started when it is not there. Raises: Unavailable."""

    def get(self, sandbox_id: str) -> SandboxNames | None:
        """None too when the process is gone, or does not serve that sandbox."""

    def remove(self, sandbox_id: str) -> None:
        """Its namespace is let go of. Absent is fine."""

    def list(self) -> Sequence[str]: ...

    def stop(self) -> None:
        """End the process; its snapshot is deleted."""
