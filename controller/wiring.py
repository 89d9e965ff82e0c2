"""The only module that names concrete drivers and stores: it puts one engine together."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from controller.backend import EngineBackend
from controller.engine import Engine
from controller.events import EventStore
from controller.image_operations import StoredImageOperations
from controller.jobs import ThreadJobs
from controller.listening import Listening
from controller.logins import RegistryLogins
from controller.operations import ContainerOperations
from controller.orphans import orphans
from controller.retained import RetainedVolumes
from controller.seal import HostKey
from controller.settings import DOCKER_CREDENTIALS, Settings
from controller.store.allocations import Allocations
from controller.store.objects import ObjectStore
from controller.store.sqlite import SqliteStore
from controller.uploads import UploadFolder
from drivers.copy.copier import TreeCopier
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.credentials import DockerCredentials
from drivers.images.registry.interface import RegistryConfig
from drivers.images.store import ImageDriver
from drivers.kernel.process import in_group
from drivers.kernel.run_root import RunRoot
from drivers.logs.file import FileLogs
from drivers.network.bridge.driver import BridgeNetworks
from drivers.network.bridge.link_names import bridge_name, link_prefix
from drivers.network.firewall.nft import NftFirewall
from drivers.network.interface import NetworkDriver
from drivers.network.ipam.host_routes import host_routes
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.names.client import ResolverClient
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.listeners import HostListeners
from drivers.network.ports.published import PublishedPorts
from drivers.network.sandbox.namespaces import NetnsSandboxes
from drivers.network.sandbox.prober import SandboxProber
from drivers.runtime.oci import OciRuntime
from drivers.runtime.seccomp import seccomp
from drivers.runtime.users import resolve_user
from drivers.snapshots.overlay import OverlaySnapshotter
from drivers.snapshots.rootfs import MountedRootFilesystems
from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.interface import VolumeDriver
from drivers.volumes.local import LocalVolumes
from drivers.volumes.populate import ArchivePopulator
from drivers.volumes.projector import TmpfsProjector
from drivers.volumes.stage import BoundStage
from drivers.volumes.tmpfs import TmpfsVolumes
from reconcilers.config.reconciler import config_reconciler
from reconcilers.container.reconciler import ContainerDrivers, ContainerReconciler
from reconcilers.image.reconciler import ImageReconciler
from reconcilers.network.reconciler import NetworkReconciler
from reconcilers.secret.reconciler import secret_reconciler
from reconcilers.volume.reconciler import VolumeReconciler
from resources.errors import EngineError
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object

_POOLS = {"images": 2, "pulls": 4, "io": 2, "probes": 16}
_KEPT_MARK = "orphans-kept"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Wiring:
    settings: Settings
    engine: Engine
    objects: ObjectStore
    events: EventStore
    backend: EngineBackend
    runtime: OciRuntime
    logs: FileLogs
    jobs: ThreadJobs
    uploads: UploadFolder
    cleanups: tuple[Callable[[], object], ...]
    endings: tuple[Callable[[], object], ...]
    """When the last container is gone too."""
    closers: tuple[Callable[[], object], ...]
    new_store: bool

    def cleanup(self) -> None:
        """What a killed engine left half done, before anything else looks. What cannot be cleared harms nobody else."""
        _each(self.cleanups)

    def sweep(self) -> None:
        """Hand the loop what the drivers hold and no object asks for. Listed first, looked up afterwards: an object is
        there before anything of it is, and goes last."""
        mark = self.settings.root / _KEPT_MARK
        listed = [key for reconciler in self.engine.reconcilers.values() for key in reconciler.known()]
        found = orphans(listed, (item.key for item in self.objects.list()))
        if found and self.new_store and not mark.exists():
            mark.write_text("The store was made anew while these were there. Delete this file to have them removed.\n")
        self.new_store = False
        if mark.exists():
            if found:
                structlog.get_logger().warning(
                    "what no object asks for is kept", count=len(found), until=f"{mark} is deleted"
                )
            return
        for key in found:
            self.engine.queue.add(key)

    def came_to_rest(self, item: Object) -> None:
        if item.inputs:
            self.release_uploads()

    def release_uploads(self) -> None:
        """What was sent is kept until the objects that name it are ready."""
        with self.uploads.held():
            needed: set[str] = set()
            for other in self.objects.list():
                if not self.engine.ready(other):
                    needed.update(content.digest for content in other.inputs.values())
            self.uploads.keep_only(needed)

    def close(self) -> None:
        self.engine.stop()
        self.jobs.close()
        if not self.runtime.list():
            _each(self.endings)
        _each(self.closers)


def wire(settings: Settings, stopping: threading.Event) -> Wiring:
    """Raises: EngineError; nothing is held then."""
    memory = RunRoot(settings.run_root)
    memory.open()
    try:
        return _wired(settings, stopping, memory)
    except BaseException:
        if memory.fresh:
            memory.release()
        raise


@dataclass(frozen=True, slots=True)
class _Networking:
    drivers: Mapping[str, NetworkDriver]
    ipam: DefaultIpam
    host_ports: StoredHostPorts
    publisher: PublishedPorts
    firewall: NftFirewall
    resolver: ResolverClient
    listening: Listening


def _networking(settings: Settings, store: SqliteStore, called: Callable[[str], str]) -> _Networking:
    instance, run_root = settings.instance, settings.run_root
    firewall = NftFirewall(instance, link_prefix(instance))
    resolver = ResolverClient(run_root, instance)
    allocations = Allocations(store)
    ipam = DefaultIpam(
        allocations,
        routes=host_routes,
        link=lambda network_id: bridge_name(instance, network_id),
        address_pools=[AddressPool(one.pool, one.size) for one in settings.address_pools],
        describe=called,
    )
    host_ports = StoredHostPorts(allocations, HostListeners(resolver.pid), describe=called)
    return _Networking(
        drivers={"bridge": BridgeNetworks(run_root, instance, firewall)},
        ipam=ipam,
        host_ports=host_ports,
        publisher=PublishedPorts(firewall, resolver.proxies),
        firewall=firewall,
        resolver=resolver,
        listening=Listening(host_ports, lambda pid: in_group(pid, f"/{instance}")),
    )


def _wired(settings: Settings, stopping: threading.Event, memory: RunRoot) -> Wiring:
    root, run_root = settings.root, settings.run_root
    store = SqliteStore(root / "state.db")
    objects = ObjectStore(store)
    key = HostKey(root)
    _check_key(key, objects)

    def name_of(wanted: Key) -> Ref | None:
        item = objects.get(wanted)
        return None if item is None else item.ref

    def called(uid: str) -> str:
        found = (name_of(Key(kind=kind, uid=uid)) for kind in (Kind.CONTAINER, Kind.NETWORK))
        return next((str(ref) for ref in found if ref is not None), uid[:12])

    events = EventStore(root / "events.db", name_of)
    woken: list[Callable[[Key], None]] = []
    jobs = ThreadJobs(_POOLS, lambda ended: woken[0](ended))
    uploads = UploadFolder(root / "uploads")
    runtime = OciRuntime(root, run_root, settings.instance, settings.runtime or None)
    snapshotter = OverlaySnapshotter(root / "snapshots")
    roots = MountedRootFilesystems(run_root)
    seeds = MountedRootFilesystems(run_root / "seeds")
    credentials = DockerCredentials([settings.credentials_file, DOCKER_CREDENTIALS], environment=os.environ)
    registries = RegistryClient(_registries(settings), credentials, environment=os.environ)
    images = ImageDriver(root / "images", snapshotter, registries=registries)
    sandboxes = NetnsSandboxes(run_root, settings.instance)
    net = _networking(settings, store, called)
    volumes: dict[str, VolumeDriver] = {"local": LocalVolumes(root, run_root), "tmpfs": TmpfsVolumes(root, run_root)}
    anonymous = LocalVolumes(root / "anonymous", run_root / "anonymous")
    copy_up, copier, logs = DescriptorCopyUp(), TreeCopier(), FileLogs(root, run_root)
    containers = ContainerReconciler(
        ContainerDrivers(
            runtime=runtime,
            snapshotter=snapshotter,
            roots=roots,
            images=images,
            sandboxes=sandboxes,
            networks=net.drivers,
            ipam=net.ipam,
            host_ports=net.host_ports,
            publisher=net.publisher,
            names=net.resolver.names,
            volumes=volumes,
            anonymous=anonymous,
            copy_up=copy_up,
            projector=TmpfsProjector(run_root),
            stage=BoundStage(run_root),
            prober=SandboxProber(sandboxes),
            logs=logs,
            sealer=key,
            jobs=jobs,
            events=events,
            resolve_user=resolve_user,
            seccomp=seccomp,
            state=(root, run_root),
        )
    )
    image_reconciler = ImageReconciler(images, jobs, uploads, sealer=key, platform=settings.platform, now=_now)
    volume_reconciler = VolumeReconciler(
        volumes,
        images=images,
        snapshotter=snapshotter,
        root_filesystems=seeds,
        copy_up=copy_up,
        populator=ArchivePopulator(),
        copier=copier,
        jobs=jobs,
        inputs=uploads,
        now=_now,
    )
    engine = Engine(
        objects,
        {
            Kind.IMAGE: image_reconciler,
            Kind.CONTAINER: containers,
            Kind.VOLUME: volume_reconciler,
            Kind.NETWORK: NetworkReconciler(net.drivers, net.ipam),
            Kind.SECRET: secret_reconciler(),
            Kind.CONFIG: config_reconciler(),
        },
        events,
        _now,
        settings.workers,
    )
    woken.append(engine.queue.add)
    operations = ContainerOperations(objects, runtime, logs, copier, events)
    retained = RetainedVolumes(volumes, events)
    image_operations = StoredImageOperations(
        images,
        snapshotter,
        objects,
        events,
        RegistryLogins(registries.check, credentials, settings.credentials_file, events),
        busy=image_reconciler.importing,
        prune=image_reconciler.prune,
        spool=uploads.unfinished,
        platform=settings.platform,
    )
    backend = EngineBackend(
        settings,
        engine,
        events,
        uploads,
        operations,
        retained,
        image_operations,
        key,
        runtime.info,
        net.listening.taken,
        stopping,
    )
    wiring = Wiring(
        settings=settings,
        engine=engine,
        objects=objects,
        events=events,
        backend=backend,
        runtime=runtime,
        logs=logs,
        jobs=jobs,
        uploads=uploads,
        cleanups=(
            lambda: runtime.cleanup([task.id for task in runtime.list()]),  # what has no record left, and killed trials
            lambda: seeds.cleanup([]),
            lambda: roots.cleanup(sorted(roots.mounted())),  # folders that nothing was mounted on yet
            snapshotter.cleanup,
            images.cleanup,
            *(driver.cleanup for driver in (*volumes.values(), anonymous)),
            image_reconciler.prune,
        ),
        endings=(net.resolver.names.stop, lambda: roots.cleanup([]), lambda: seeds.cleanup([]), memory.release),
        closers=(
            net.firewall.close,
            net.resolver.close,
            runtime.close,
            snapshotter.close,
            objects.settle,
            store.close,
            events.close,
        ),
        new_store=store.created or store.behind,
    )
    engine.on_rest = wiring.came_to_rest
    return wiring


def _registries(settings: Settings) -> dict[str, RegistryConfig]:
    return {host: RegistryConfig(**dict(registry)) for host, registry in settings.registries.items()}


def _each(calls: Sequence[Callable[[], object]]) -> None:
    for call in calls:
        try:
            call()
        except (EngineError, OSError) as error:
            structlog.get_logger().warning("something stays", why=str(error))


def _check_key(key: HostKey, objects: ObjectStore) -> None:
    """No engine starts that could not give its containers their secrets. Raises: DataLoss."""
    for secret in objects.list(Kind.SECRET):
        for sealed in secret.effective.entries.values():
            key.open(sealed)
            return
