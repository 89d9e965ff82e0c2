"""The contracts of the resolver process: names for sandboxes, ports of the host that no firewall rule can carry, and those
that a rule carries and nobody else shall have.

It is one process an engine, of the standard library alone, started by the engine and outliving it; fed over a socket in
the run root, with a snapshot of all it was told beside it, from which one that was killed goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.network.ports.interface import Transport


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the host's own network that is to be proxied, where no firewall rule can do it: ::1, or IPv6 to a container
    that has IPv4 alone. Or one that a rule carries, which is only held: bound, so that no process of the host gets it and
    then never sees what is sent there."""

    protocol: Transport
    address: str
    """An address of the host; `::` is all of IPv6 and no IPv4."""
    port: int
    target: str = ""
    """"" of a port that is only held."""
    target_port: int = 0


class Proxies(Protocol):
    """The forwards, carried by the resolver process."""

    def set(self, owner: str, forwards: Sequence[Forward]) -> None:
        """Make these and no others the owner's; connections of those that stay go on. One owner may hold a port at `::` and have
        it proxied at `::1` as well.

        Raises, and all is as it was: Conflict (the port is somebody's), FailedPrecondition (the host has no such address),
        ResourceExhausted (descriptors), Unavailable.
        """

    def get(self, owner: str) -> tuple[Forward, ...]:
        """Those that are there: of a process that went on from its snapshot, all that nobody took meanwhile."""

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


class Watched(Protocol):
    """The resolver process as one that may be killed."""

    def endings(self) -> Iterator[float]:
        """Whenever it has ended, however, and whoever started it; blocks until the resolver is closed. Tells how many seconds
        it is not started again: 0, but for one that ends again and again. Hints only."""


class Keeper(Protocol):
    """Keeps one socket of the engine open beyond the engine's life: what the kernel holds for that socket stays."""

    def keep(self, fd: int, *, start: bool) -> None:
        """From now on, also by a process that takes the place of the one that has it; `start`: one that is not there is
        started. It has a descriptor of its own. Raises: Unavailable."""

    def kept(self) -> int | None:
        """A descriptor of the very socket that an engine before this one had kept, which is the caller's to close; None when
        there is none."""
