"""Puts one engine together: with controller.driver_set, the only code that names concrete drivers and stores."""

import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from controller.admission.networks import asked_subnets
from controller.backend import EngineBackend
from controller.containers.operations import ContainerOperations
from controller.driver_set import DriverSet, driver_set
from controller.engine import Engine
from controller.images.logins import RegistryLogins
from controller.images.operations import StoredImageOperations
from controller.jobs import ThreadJobs
from controller.reports.events import EventStore
from controller.retained import RetainedVolumes
from controller.settings import Settings
from controller.sources.orphans import orphans
from controller.store.objects import ObjectStore
from controller.store.seal import HostKey
from controller.store.sqlite import SqliteStore
from controller.store.uploads import UploadFolder
from drivers.kernel.run_root import RunRoot
from drivers.logs.file import FileLogs
from drivers.network.names.interface import Watched
from drivers.network.sandbox.namespaces import NetnsSandboxes
from drivers.network.sandbox.prober import SandboxProber
from drivers.runtime.oci import OciRuntime
from drivers.runtime.seccomp import seccomp
from drivers.runtime.users import resolve_user
from drivers.volumes.populate import ArchivePopulator
from drivers.volumes.projector import TmpfsProjector
from drivers.volumes.stage import BoundStage
from reconcilers.config.reconciler import config_reconciler
from reconcilers.container.reconciler import ContainerDrivers, ContainerReconciler
from reconcilers.image.reconciler import ImageReconciler
from reconcilers.interface import Reconciler
from reconcilers.network.reconciler import NetworkReconciler
from reconcilers.secret.reconciler import secret_reconciler
from reconcilers.volume.reconciler import VolumeReconciler
from resources.errors import EngineError, Unavailable
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object

_POOLS = {"images": 2, "pulls": 12, "io": 2, "probes": 16}
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
    resolver: Watched
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
    except BaseException as error:
        if memory.fresh:
            memory.release()
        if isinstance(error, OSError):
            raise _unusable(error) from error
        raise


def _unusable(error: OSError) -> EngineError:
    """A file, say, where the engine has a folder."""
    hint = "move away what lies there" if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR) else ""
    where = f"{error.filename}: " if error.filename else ""
    return Unavailable(f"the engine cannot use {where}{error.strerror or error}", hint=hint)


@dataclass(frozen=True, slots=True)
class _Records:
    """What the engine itself writes down, and works with."""

    store: SqliteStore
    objects: ObjectStore
    key: HostKey
    events: EventStore
    jobs: ThreadJobs
    uploads: UploadFolder
    woken: list[Callable[[Key], None]]
    """Who is told of ended jobs, which are there before the engine is."""

    def name_of(self, wanted: Key) -> Ref | None:
        item = self.objects.get(wanted)
        return None if item is None else item.ref

    def called(self, uid: str, asker: str) -> str:
        """How an object is named in what is said of another one."""
        found, other = self._on_networks(uid), self._on_networks(asker)
        return uid[:12] if found is None else found.seen_from(other.namespace if other else found.namespace)

    def subnets(self) -> Mapping[str, Sequence[str]]:
        """That networks ask for."""
        return asked_subnets(self.objects.list(Kind.NETWORK))

    def _on_networks(self, uid: str) -> Ref | None:
        found = (self.name_of(Key(kind=kind, uid=uid)) for kind in (Kind.CONTAINER, Kind.NETWORK))
        return next((ref for ref in found if ref is not None), None)


def _records(root: Path) -> _Records:
    store = SqliteStore(root / "state.db")
    objects = ObjectStore(store)
    key = HostKey(root)
    _check_key(key, objects)

    def name_of(wanted: Key) -> Ref | None:
        return records.name_of(wanted)

    woken: list[Callable[[Key], None]] = []
    records = _Records(
        store=store,
        objects=objects,
        key=key,
        events=EventStore(root / "events.db", name_of),
        jobs=ThreadJobs(_POOLS, lambda ended: woken[0](ended)),
        uploads=UploadFolder(root / "uploads"),
        woken=woken,
    )
    return records


def _containers(settings: Settings, records: _Records, drivers: DriverSet) -> ContainerReconciler:
    root, run_root, net = settings.root, settings.run_root, drivers.net
    sandboxes = NetnsSandboxes(run_root, settings.instance)
    return ContainerReconciler(
        ContainerDrivers(
            runtime=drivers.runtime,
            snapshotter=drivers.snapshotter,
            roots=drivers.roots,
            images=drivers.images,
            sandboxes=sandboxes,
            networks=net.drivers,
            ipam=net.ipam,
            host_ports=net.host_ports,
            publisher=net.publisher,
            names=net.resolver.names,
            volumes=drivers.volumes,
            anonymous=drivers.anonymous,
            copy_up=drivers.copy_up,
            projector=TmpfsProjector(run_root),
            stage=BoundStage(run_root),
            prober=SandboxProber(sandboxes),
            logs=drivers.logs,
            sealer=records.key,
            jobs=records.jobs,
            events=records.events,
            resolve_user=resolve_user,
            seccomp=seccomp,
            state=(root, run_root),
        )
    )


def _images(settings: Settings, records: _Records, drivers: DriverSet) -> ImageReconciler:
    return ImageReconciler(
        drivers.images,
        records.jobs,
        records.uploads,
        sealer=records.key,
        platform=settings.platform,
        now=_now,
    )


def _volumes(records: _Records, drivers: DriverSet) -> VolumeReconciler:
    return VolumeReconciler(
        drivers.volumes,
        images=drivers.images,
        snapshotter=drivers.snapshotter,
        root_filesystems=drivers.seeds,
        copy_up=drivers.copy_up,
        populator=ArchivePopulator(),
        copier=drivers.copier,
        jobs=records.jobs,
        inputs=records.uploads,
        now=_now,
    )


def _backend(
    settings: Settings,
    records: _Records,
    drivers: DriverSet,
    engine: Engine,
    images: ImageReconciler,
    stopping: threading.Event,
) -> EngineBackend:
    objects, events = records.objects, records.events
    return EngineBackend(
        settings,
        engine,
        events,
        records.uploads,
        ContainerOperations(objects, drivers.runtime, drivers.logs, drivers.copier, events),
        RetainedVolumes(drivers.volumes, events),
        StoredImageOperations(
            drivers.images,
            drivers.snapshotter,
            objects,
            events,
            RegistryLogins(drivers.registries.check, drivers.credentials, settings.credentials_file, events),
            busy=images.importing,
            prune=images.prune,
            spool=records.uploads.unfinished,
            platform=settings.platform,
        ),
        records.key,
        drivers.runtime.info,
        drivers.net.surroundings.host,
        stopping,
    )


def _wired(settings: Settings, stopping: threading.Event, memory: RunRoot) -> Wiring:
    records = _records(settings.root)
    drivers = driver_set(settings, records.store, records.called, records.subnets)
    runtime, roots, seeds, net = drivers.runtime, drivers.roots, drivers.seeds, drivers.net
    images = _images(settings, records, drivers)
    reconcilers: dict[Kind, Reconciler[Any, Any]] = {
        Kind.IMAGE: images,
        Kind.CONTAINER: _containers(settings, records, drivers),
        Kind.VOLUME: _volumes(records, drivers),
        Kind.NETWORK: NetworkReconciler(net.drivers, net.ipam),
        Kind.SECRET: secret_reconciler(),
        Kind.CONFIG: config_reconciler(),
    }
    engine = Engine(records.objects, reconcilers, records.events, _now, settings.workers)
    records.woken.append(engine.queue.add)
    wiring = Wiring(
        settings=settings,
        engine=engine,
        objects=records.objects,
        events=records.events,
        backend=_backend(settings, records, drivers, engine, images, stopping),
        runtime=runtime,
        logs=drivers.logs,
        jobs=records.jobs,
        uploads=records.uploads,
        resolver=net.resolver,
        cleanups=(
            lambda: runtime.cleanup([task.id for task in runtime.list()]),  # what has no record left, and killed trials
            lambda: seeds.cleanup([]),
            lambda: roots.cleanup(sorted(roots.mounted())),  # folders that nothing was mounted on yet
            drivers.snapshotter.cleanup,
            drivers.images.cleanup,
            *(driver.cleanup for driver in (*drivers.volumes.values(), drivers.anonymous)),
            images.prune,
        ),
        endings=(net.resolver.names.stop, lambda: roots.cleanup([]), lambda: seeds.cleanup([]), memory.release),
        closers=(
            net.firewall.close,
            net.resolver.close,
            runtime.close,
            drivers.snapshotter.close,
            records.objects.settle,
            records.store.close,
            records.events.close,
        ),
        new_store=records.store.created or records.store.behind,
    )
    engine.on_rest = wiring.came_to_rest
    return wiring


def _each(calls: Sequence[Callable[[], object]]) -> None:
    for call in calls:
        try:
            call()
        except (EngineError, OSError, ExceptionGroup) as error:
            structlog.get_logger().warning("something stays", why=str(error))


def _check_key(key: HostKey, objects: ObjectStore) -> None:
    """No engine starts that could not give its containers their secrets. Raises: DataLoss."""
    for secret in objects.list(Kind.SECRET):
        for sealed in secret.effective.entries.values():
            key.open(sealed)
            return
