"""A host with every driver in memory, on which engines with a container reconciler live one after the other."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from drivers.images.fake import FakeImages
from drivers.images.interface import HealthCheck, ImageConfig
from drivers.logs.interface import LogEntry
from drivers.network.bridge.fake import FakeNetworks
from drivers.network.ipam.fake import FakeAllocations
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.names.fake import FakeNames
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.fake import FakePorts
from drivers.network.sandbox.fake import FakeProber, FakeSandboxes
from drivers.runtime.fake import FakeHost, FakeRuntime
from drivers.runtime.interface import TaskState, TaskStatus
from drivers.runtime.users import User
from drivers.snapshots.fake import FakeRootFilesystems, FakeSnapshotter
from drivers.snapshots.interface import Mount, SnapshotKind
from drivers.volumes.fake import FakeCopyUp, FakeProjector, FakeStage, FakeVolumeHost, FakeVolumes
from drivers.volumes.interface import VolumeConfig
from reconcilers.container.reconciler import ContainerDrivers, ContainerReconciler
from reconcilers.image.model import SOURCE, record_name
from reconcilers.network.reconciler import NetworkReconciler
from resources.errors import EngineError
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object, Suspension
from resources.secret import Sealed
from tests.unit.reconcilers.engines import NOW, Fuse, Loop, made

CONFIG = ImageConfig(command=("serve",), env={"PATH": "/bin"}, stop_signal="SIGTERM")


def digest_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


class OpenSealer:
    def open(self, sealed: Sealed) -> bytes:
        return base64.b64decode(sealed.value)


class StandingLogs:
    """Logs of a size somebody sets."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def read(self, task_id: str, **_: Any) -> Iterator[LogEntry]:
        return iter(())

    def size(self, task_id: str) -> int:
        return self.sizes.get(task_id, 0)

    def rotate(self, task_id: str, *, max_size: int, max_files: int) -> bool:
        return self.sizes.pop(task_id, 0) > max_size

    def delete(self, task_id: str) -> None:
        self.sizes.pop(task_id, None)


class NotedEvents:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        self.reasons.append(reason)


@dataclass
class ThisHost:
    init: Path | None = Path("/usr/bin/tini-static")
    hot: tuple[str, ...] = ()

    def gateway(self, *, host_network: bool) -> str:
        return "127.0.0.1"

    def init_program(self) -> Path | None:
        return self.init

    def masked(self) -> Sequence[str]:
        return self.hot


def resolved(rootfs: Path, user: str, groups: Sequence[str] = ()) -> User:
    name = user.partition(":")[0]
    return User(int(name) if name.isdigit() else 0, 0, (), "/root")


@dataclass
class World:
    config: ImageConfig = CONFIG
    objects: dict[Ref, Object] = field(default_factory=dict)
    host: FakeHost = field(default_factory=FakeHost)
    files: FakeVolumeHost = field(default_factory=FakeVolumeHost)
    mounts: dict[str, tuple[Mount, ...]] = field(default_factory=dict)
    snapshots: FakeSnapshotter = field(default_factory=FakeSnapshotter)
    sandboxes: FakeSandboxes = field(default_factory=FakeSandboxes)
    allocations: FakeAllocations = field(default_factory=FakeAllocations)
    ports: FakePorts = field(default_factory=FakePorts)
    names: FakeNames = field(default_factory=FakeNames)
    logs: StandingLogs = field(default_factory=StandingLogs)
    events: NotedEvents = field(default_factory=NotedEvents)
    this_host: ThisHost = field(default_factory=ThisHost)
    now: datetime = NOW
    program: Any = None

    def __post_init__(self) -> None:
        self.images = FakeImages(self.snapshots)
        self.prober = FakeProber(self.sandboxes)
        self.networks = FakeNetworks(self.sandboxes)
        self.volumes = FakeVolumes(self.files)
        self.anonymous = FakeVolumes(self.files, "anonymous")
        self.copy_up = FakeCopyUp(self.files)
        self.projector = FakeProjector(self.files)
        self.stage = FakeStage(self.files)
        self.image("box", self.config)

    # ---- what a container refers to

    def add(self, item: Object) -> Object:
        self.objects[item.ref] = item
        return item

    def image(self, name: str, content: ImageConfig, layer: bytes = b"layer", **spec: Any) -> Object:
        """An Image of that content, imported and unpacked; again: the same object, with other content."""
        item = self.add(made(Kind.IMAGE, name, {"from": {"rootfs": "./root.tar"}, **spec}))
        self.images.plant("root.tar", content, (layer,))
        image = self.images.import_rootfs(Path("root.tar"), platform="linux/amd64")
        self.images.unpack(image)
        made_from = replace(image.manifest, annotations={SOURCE: "rootfs"})
        self.images.names().put(record_name(item.metadata.uid), made_from)
        return item

    def volume(self, name: str, *, populated: bool = True) -> Object:
        item = self.add(made(Kind.VOLUME, name, {}))
        self.volumes.create(VolumeConfig(item.metadata.uid, f"default/{name}"))
        if populated:
            self.volumes.mark_populated(item.metadata.uid)
        return item

    def network(self, name: str, **spec: Any) -> Object:
        """A Network, made by the engine's present life; again: the same object, changed."""
        item = self.add(made(Kind.NETWORK, name, spec))
        Loop(lambda _jobs, _now: NetworkReconciler({"bridge": self.networks}, self.ipam())).converge(item)
        return item

    def secret(self, name: str, **values: str) -> Object:
        entries = {
            key: {"digest": digest_of(value), "value": base64.b64encode(value.encode()).decode()}
            for key, value in values.items()
        }
        return self.add(made(Kind.SECRET, name, {}, effective={"entries": entries}))

    def config_object(self, name: str, **values: str) -> Object:
        entries = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        digests = {key: digest_of(value) for key, value in values.items()}
        return self.add(made(Kind.CONFIG, name, {}, effective={"entries": entries, "digests": digests}))

    # ---- engines

    def ipam(self) -> DefaultIpam:
        return DefaultIpam(
            self.allocations,
            routes=lambda: (),
            link=lambda network_id: network_id[:8],
            address_pools=[AddressPool("10.192.0.0/12", 22)],
        )

    def life(self, fuse: Fuse | None = None) -> "ContainerLoop":
        return ContainerLoop(self, fuse)

    def build(self, jobs: Any, now: Any) -> ContainerReconciler:
        self.runtime = FakeRuntime(self.host, self.program)
        self.runtime.now = lambda: self.now
        return ContainerReconciler(
            ContainerDrivers(
                runtime=self.runtime,
                snapshotter=self.snapshots,
                roots=FakeRootFilesystems(self.mounts),
                images=self.images,
                sandboxes=self.sandboxes,
                networks={"bridge": self.networks},
                ipam=self.ipam(),
                host_ports=StoredHostPorts(self.allocations, lambda: (), reserved=frozenset),
                publisher=self.ports,
                names=self.names,
                volumes={"local": self.volumes},
                anonymous=self.anonymous,
                copy_up=self.copy_up,
                projector=self.projector,
                stage=self.stage,
                prober=self.prober,
                logs=self.logs,
                sealer=OpenSealer(),
                jobs=jobs,
                events=self.events,
                resolve_user=resolved,
                seccomp=lambda profile, caps: {"profile": profile},
                host=self.this_host,
                now=lambda: self.now,
            )
        )

    # ---- what is there, and what others do

    @property
    def tasks(self) -> list[TaskState]:
        return list(self.host.tasks.values())

    def task(self, item: Object) -> TaskState:
        [found] = [task for task in self.tasks if task.id.startswith(item.metadata.uid)]
        return found

    def running(self, item: Object) -> TaskState:
        found = self.task(item)
        assert found.status is TaskStatus.RUNNING, found
        return found

    def spec(self, item: Object) -> Mapping[str, Any]:
        """The config.json of its task."""
        return self.host.configs[self.task(item).id].spec

    def env(self, item: Object) -> list[str]:
        env: list[str] = self.spec(item)["process"]["env"]
        return env

    def exit(self, item: Object, code: int | None = 0, **how: Any) -> None:
        self.runtime.exit(self.task(item).id, code, **how)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def reboot(self) -> None:
        self.runtime.reboot()
        self.files.reboot()
        self.mounts.clear()
        self.sandboxes.reboot()
        self.ports.reboot()
        self.names.reboot()
        self.networks.reboot()
        for item in [item for item in self.objects.values() if item.kind is Kind.NETWORK]:
            self.network(item.metadata.name, **item.spec.written())

    def left(self) -> list[Any]:
        """Everything on the host but images and volumes."""
        layers = [info.key for info in self.snapshots.walk() if info.kind is not SnapshotKind.COMMITTED]
        return [
            *self.host.tasks,
            *self.mounts,
            *layers,
            *self.sandboxes.list(),
            *self.files.projections,
            *self.files.staged,
            *self.ports.list(),
            *self.names.list(),
            *(state.id for state in self.anonymous.list()),
        ]


class ContainerLoop(Loop):
    """Its clock and its dependencies are the world's."""

    def __init__(self, world: World, fuse: Fuse | None = None) -> None:
        super().__init__(world.build, fuse)
        self.world = world

    def context(self, *, planning: bool = False) -> Any:
        self.now, self.dependencies = self.world.now, self.world.objects
        return super().context(planning=planning)

    def settle(self, desired: Object | None, key: Key | None = None) -> Any:
        """Converge, going on to whenever it wants to look again because a process is to end."""
        for _ in range(20):
            diff = self.converge(desired, key)
            if diff.wake_at is None or not diff.waiting:
                return diff
            self.world.now = max(self.world.now, diff.wake_at)
        raise RuntimeError("does not settle")

    def failing(self, desired: Object) -> EngineError:
        """Converge until an act fails."""
        try:
            self.converge(desired)
        except EngineError as error:
            return error
        raise RuntimeError("nothing fails")


def container(name: str = "web", *, restart_request: str = "", generation: int = 1, **spec: Any) -> Object:
    given = {"image": {"name": "box"}, "networks": [{"name": "none"}], **spec}
    item = made(Kind.CONTAINER, name, given, generation=generation)
    return item.model_copy(update={"restart_request": restart_request})


def noted(item: Object, **changes: Any) -> Object:
    """With other metadata."""
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=changes)})


def held(item: Object, state: Any, by: str = "cli") -> Object:
    return item.model_copy(update={"suspension": Suspension(state=state, by=by, at=NOW)})


def check_of(*test: str, **times: int) -> HealthCheck:
    return HealthCheck(test, **times)
