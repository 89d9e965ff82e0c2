"""What the reconciler of containers is made with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from drivers.images.interface import Images
from drivers.logs.interface import LogDriver
from drivers.network.interface import NetworkDriver, Prober, SandboxDriver
from drivers.network.ipam.interface import Ipam
from drivers.network.names.interface import Names
from drivers.network.ports.interface import HostPorts, PortPublisher
from drivers.runtime.interface import Runtime
from drivers.snapshots.interface import RootFilesystems, Snapshotter
from drivers.volumes.interface import CopyUp, Projector, Stage, VolumeDriver
from reconcilers.container.host import LocalHost
from reconcilers.container.model import Account, Host
from reconcilers.container.ocispec import SeccompProfile
from reconcilers.interface import Events, Jobs, Sealer


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ContainerDrivers:
    runtime: Runtime
    snapshotter: Snapshotter
    roots: RootFilesystems
    images: Images
    sandboxes: SandboxDriver
    networks: Mapping[str, NetworkDriver]
    """By the name of the driver."""
    ipam: Ipam
    host_ports: HostPorts
    publisher: PortPublisher
    names: Names
    volumes: Mapping[str, VolumeDriver]
    """By the name of the driver."""
    anonymous: VolumeDriver
    """Of the volumes that images ask for: apart from all that have an object of their own."""
    copy_up: CopyUp
    projector: Projector
    stage: Stage
    prober: Prober
    logs: LogDriver
    sealer: Sealer
    jobs: Jobs
    events: Events
    resolve_user: Callable[[Path, str, Sequence[str]], Account]
    """drivers.runtime.users.resolve_user"""
    seccomp: SeccompProfile
    """drivers.runtime.seccomp.seccomp"""
    host: Host = field(default_factory=LocalHost)
    state: tuple[Path, ...] = ()
    """The engine's own folders: bound into no container by accident."""
    now: Callable[[], datetime] = _now
