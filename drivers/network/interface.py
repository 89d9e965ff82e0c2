"""The contract of sandboxes: the network namespace of a container and the files that name things in it.

Networks of the drivers `host` and `none` need no more than this; endpoints, IPAM, ports and names come with the
bridge driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


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
