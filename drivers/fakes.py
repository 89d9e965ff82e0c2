"""A whole host in memory: the twins of all drivers together, for tests of everything above them.

The host outlives engines. `FakeMachine.drivers()` are those of one engine's life; asked for again, of its next: what was
made is there still, what failed or was counted is not. `reboot` takes what a reboot takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from drivers.copy.fake import FakeCopier
from drivers.images.fake import FakeImages
from drivers.logs.fake import FakeLogs
from drivers.network.bridge.fake import FakeNetworks
from drivers.network.ipam.fake import FakeAllocations
from drivers.network.ipam.interface import Allocations
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.names.fake import FakeNames
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.fake import FakePorts
from drivers.network.sandbox.fake import FakeProber, FakeSandboxes
from drivers.runtime.fake import FakeHost, FakeRuntime, Program
from drivers.snapshots.fake import FakeRootFilesystems, FakeSnapshotter
from drivers.snapshots.interface import Mount
from drivers.volumes.fake import FakeCopyUp, FakePopulator, FakeProjector, FakeStage, FakeVolumeHost, FakeVolumes


@dataclass(frozen=True, slots=True)
class FakeDrivers:
    runtime: FakeRuntime
    snapshotter: FakeSnapshotter
    roots: FakeRootFilesystems
    images: FakeImages
    sandboxes: FakeSandboxes
    networks: Mapping[str, FakeNetworks]
    """By the name of the driver."""
    ipam: DefaultIpam
    host_ports: StoredHostPorts
    publisher: FakePorts
    names: FakeNames
    prober: FakeProber
    volumes: Mapping[str, FakeVolumes]
    """By the name of the driver."""
    anonymous: FakeVolumes
    copy_up: FakeCopyUp
    populator: FakePopulator
    projector: FakeProjector
    stage: FakeStage
    logs: FakeLogs
    copier: FakeCopier


@dataclass(slots=True)
class FakeMachine:
    tasks: FakeHost = field(default_factory=FakeHost)
    files: FakeVolumeHost = field(default_factory=FakeVolumeHost)
    roots: dict[str, tuple[Mount, ...]] = field(default_factory=dict)
    """What is mounted as a root file system, by name."""
    snapshots: FakeSnapshotter = field(default_factory=FakeSnapshotter)
    sandboxes: FakeSandboxes = field(default_factory=FakeSandboxes)
    allocations: Allocations = field(default_factory=FakeAllocations)
    """Who holds which subnet, address and host port."""
    ports: FakePorts = field(default_factory=FakePorts)
    names: FakeNames = field(default_factory=FakeNames)
    logs: FakeLogs = field(default_factory=FakeLogs)
    copier: FakeCopier = field(default_factory=FakeCopier)
    images: FakeImages = field(init=False)
    prober: FakeProber = field(init=False)
    networks: FakeNetworks = field(init=False)

    def __post_init__(self) -> None:
        self.images = FakeImages(self.snapshots)
        self.prober = FakeProber(self.sandboxes)
        self.networks = FakeNetworks(self.sandboxes)

    def drivers(
        self,
        program: Program | None = None,
        allocations: Allocations | None = None,
        subnets: Callable[[], Mapping[str, Sequence[str]] | None] = lambda: None,
    ) -> FakeDrivers:
        """`program` is what every exec runs; `allocations` is what this life of the engine has of them; `subnets` are those
        that networks ask for, by uid."""
        held = allocations or self.allocations
        return FakeDrivers(
            runtime=FakeRuntime(self.tasks, program),
            snapshotter=self.snapshots,
            roots=FakeRootFilesystems(self.roots),
            images=self.images,
            sandboxes=self.sandboxes,
            networks={"bridge": self.networks},
            ipam=DefaultIpam(
                held,
                routes=lambda: (),
                link=lambda network_id: f"ld{network_id[:8]}",
                address_pools=[AddressPool("10.192.0.0/12", 22)],
                desired=subnets,
            ),
            host_ports=StoredHostPorts(held, lambda: (), reserved=frozenset),
            publisher=self.ports,
            names=self.names,
            prober=self.prober,
            volumes={driver: FakeVolumes(self.files, driver) for driver in ("local", "tmpfs")},
            anonymous=FakeVolumes(self.files, "anonymous"),
            copy_up=FakeCopyUp(self.files),
            populator=FakePopulator(self.files),
            projector=FakeProjector(self.files),
            stage=FakeStage(self.files),
            logs=FakeLogs(self.logs.host),
            copier=self.copier,
        )

    def reboot(self) -> None:
        """Processes, mounts, namespaces and all memory are gone; disks, records and logs stay."""
        FakeRuntime(self.tasks).reboot()
        self.sandboxes.reboot()
        self.networks.reboot()
        self.ports.reboot()
        self.names.reboot()
        self.roots.clear()
        self.files.reboot()
