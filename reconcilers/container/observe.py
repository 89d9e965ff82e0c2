"""Read what is there of a Container."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from drivers.images.interface import Image
from drivers.network.interface import SandboxFiles
from drivers.runtime.interface import TaskState, TaskStatus
from drivers.snapshots.interface import SnapshotKind
from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.intent import (
    PAUSED,
    RUNNING,
    asked_state,
    content,
    host_name,
    image_of,
    life_id,
    network_mode,
    sandbox_files,
    slots,
)
from reconcilers.container.model import (
    ALIVE,
    TASK_ID,
    UNKNOWN,
    Incarnation,
    Observed,
    Projection,
    Shared,
    VolumeView,
    anonymous_prefix,
    jobs_of,
    number_of,
    owner_of,
)
from reconcilers.container.network_observe import NetworkObserver
from reconcilers.container.networks import Networks, networks
from reconcilers.image.diff import outdated
from reconcilers.image.model import Record, record_name
from reconcilers.interface import ChangeKind, Context
from resources.container import ContainerSpec
from resources.errors import EngineError
from resources.image_reference import parse
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object


class Observer:
    def __init__(self, drivers: ContainerDrivers) -> None:
        self._drivers = drivers
        self._network = NetworkObserver(drivers)

    def observe(self, key: Key, desired: Object | None, context: Context) -> Observed:
        # Jobs first: one that ends in between is seen as running, and wakes us.
        jobs = self._drivers.jobs.of(jobs_of(key.uid))
        lives = self._lives(key.uid)
        volumes = self._drivers.anonymous.list(anonymous_prefix(key.uid))
        anonymous = {state.id: state for state in volumes if owner_of(state) == key.uid}
        if desired is None:
            network = self._network.leftover(key.uid)
            return Observed(key.uid, self._named(key.uid, lives), anonymous=anonymous, network=network, jobs=jobs)
        spec: ContainerSpec = desired.effective
        network = self._network.observe(desired, lives, context)
        lives = tuple(replace(life, named=bool(network.claimed)) for life in lives)
        current = lives[-1] if lives else None
        if current is not None:
            lives = (*lives[:-1], self._checked(current, desired, context))
        image = self._image(desired, context)
        attached = networks(desired, network, current, life_id(key.uid, current), context)
        files = self._files(desired, current, attached)
        unknown = not all(one.addresses for one in attached.endpoints)
        return Observed(
            uid=key.uid,
            incarnations=lives,
            image=image,
            unpacked=image is not None and self._drivers.images.unpacked(image),
            outdated=frozenset(self._outdated(desired, context) if context.planning else ()),
            images=dict(self._mounted_images(desired, context)),
            volumes=dict(self._volumes(desired, context)),
            anonymous=anonymous,
            started=dict(self._started(desired, context)),
            shared=dict(self._shared(desired, context)),
            files=files,
            files_match=files is None or current is None or (not unknown and self._files_match(current.id, files)),
            network=network,
            jobs=jobs,
            log_size=self._log_size(spec, current),
        )

    def known(self) -> list[Key]:
        names: set[str] = set()
        for group in self._names():
            names.update(name[:32] for name in group if TASK_ID.match(name))
        names.update(owner_of(state) for state in self._drivers.anonymous.list())
        names.update(self._network.publishing())
        return [Key(kind=Kind.CONTAINER, uid=uid) for uid in sorted(names)]

    def _names(self) -> Iterator[Iterable[str]]:
        drivers = self._drivers
        yield (task.id for task in drivers.runtime.list())
        yield (found.key for found in drivers.snapshotter.walk() if found.kind is not SnapshotKind.COMMITTED)
        yield drivers.roots.mounted()
        yield drivers.sandboxes.list()
        yield drivers.stage.list()
        yield drivers.projector.list()
        yield self._network.named()

    def _lives(self, uid: str) -> tuple[Incarnation, ...]:
        """Whatever is named from this uid, by incarnation, oldest first."""
        drivers = self._drivers
        own = {task.id: task for task in drivers.runtime.list(uid)}
        layers = {
            found.key: found.parent
            for found in drivers.snapshotter.walk()
            if found.kind is not SnapshotKind.COMMITTED and found.key.startswith(uid)
        }
        mounted = [name for name in drivers.roots.mounted() if name.startswith(uid)]
        sandboxes = [name for name in drivers.sandboxes.list() if name.startswith(uid)]
        staged = [name for name in drivers.stage.list() if name.startswith(uid)]
        projected = [name for name in drivers.projector.list() if name.startswith(uid)]
        ids = {name[:64] for names in (own, layers, mounted, sandboxes, staged, projected) for name in names}
        return tuple(
            Incarnation(
                id=life,
                task=own.get(life),
                snapshots={key: parent for key, parent in layers.items() if key.startswith(life)},
                mounted=frozenset(name for name in mounted if name.startswith(life)),
                sandbox=drivers.sandboxes.inspect(life) if life in sandboxes else None,
                staged=life in staged,
                projections={n: Projection(drivers.projector.version(n)) for n in projected if n.startswith(life)},
            )
            for life in sorted(ids, key=number_of)
        )

    def _checked(self, life: Incarnation, desired: Object, context: Context) -> Incarnation:
        """With the files of Configs compared to what they should hold. Those of Secrets are not opened for that."""
        found = dict(life.projections)
        names = slots(desired.effective)
        for mount in desired.effective.mounts:
            name = f"{life.id}.{names[mount.target]}"
            if mount.config is None or name not in found:
                continue
            wanted = content(context, desired.metadata.namespace, mount)
            if wanted is not None and wanted.version == found[name].version:
                files = {key: base64.b64decode(str(value)) for key, value in wanted.files.items()}
                found[name] = Projection(wanted.version, self._drivers.projector.intact(name, files))
        return replace(life, projections=found)

    def _image(self, desired: Object, context: Context) -> Image | None:
        images, asked, declared = self._drivers.images, desired.effective.image, image_of(desired, context)
        if declared is not None or not isinstance(asked, str):
            return self._image_named(declared)
        whole = parse(asked)
        if whole.digest:
            return self._read(whole.digest)
        target = images.names().get(str(whole))
        return self._read(target.digest) if target else None

    def _read(self, digest: str) -> Image | None:
        """One whose content is damaged is not here: its own reconciler says so."""
        try:
            return self._drivers.images.image(digest)
        except EngineError:
            return None

    def _image_named(self, found: Object | None) -> Image | None:
        target = self._drivers.images.names().get(record_name(found.metadata.uid)) if found else None
        return self._read(target.digest) if target else None

    def _mounted_images(self, desired: Object, context: Context) -> Iterator[tuple[str, Image]]:
        for mount in desired.effective.mounts:
            if mount.image is None:
                continue
            ref = Ref(kind=Kind.IMAGE, namespace=desired.metadata.namespace, name=mount.image.name)
            image = self._image_named(context.dependencies.get(ref))
            if image is not None and self._drivers.images.unpacked(image):
                yield mount.target, image

    def _outdated(self, desired: Object, context: Context) -> Iterator[str]:
        declared = {mount.target: mount.image.name for mount in desired.effective.mounts if mount.image is not None}
        refs = {t: Ref(kind=Kind.IMAGE, namespace=desired.metadata.namespace, name=n) for t, n in declared.items()}
        found = {"": image_of(desired, context), **{t: context.dependencies.get(ref) for t, ref in refs.items()}}
        for target, image in found.items():
            record = self._drivers.images.names().get(record_name(image.metadata.uid)) if image else None
            if image is not None and record is not None and outdated(image, Record.of(record)):
                yield target

    def _volumes(self, desired: Object, context: Context) -> Iterator[tuple[str, VolumeView]]:
        for mount in desired.effective.mounts:
            found = _volume(desired, context, mount.volume)
            if found is None:
                continue
            driver = self._drivers.volumes.get(found.effective.driver)
            state = driver.inspect(found.metadata.uid) if driver else None
            seeded = found.effective.populate is None or (state is not None and state.populated)
            yield mount.target, VolumeView(found.metadata.uid, found.effective.driver, state, seeded)

    def _named(self, uid: str, lives: tuple[Incarnation, ...]) -> tuple[Incarnation, ...]:
        """With those that the resolver alone knows of."""
        named = {name for name in self._network.named() if name.startswith(uid)}
        found = {life.id: life for life in lives} | {name: Incarnation(name) for name in named - {x.id for x in lives}}
        return tuple(replace(found[life], named=life in named) for life in sorted(found, key=number_of))

    def _files(self, desired: Object, current: Incarnation | None, attached: Networks) -> SandboxFiles | None:
        mode = network_mode(desired.effective)
        if mode == "container":
            return None
        gateway = self._drivers.host.gateway(host_network=mode == "host")
        return sandbox_files(desired.effective, host_name(desired, current), gateway, attached)

    def _files_match(self, sandbox_id: str, files: SandboxFiles) -> bool:
        try:
            return self._drivers.sandboxes.files_match(sandbox_id, files)
        except EngineError:  # what is wrong with them is said by the act that writes them
            return False

    def _log_size(self, spec: ContainerSpec, current: Incarnation | None) -> int:
        task = current.task if current else None
        if task is None or task.status is not TaskStatus.RUNNING or spec.logging.driver != "file":
            return 0
        return self._drivers.logs.size(task.id)

    def _latest(self, desired: Object, context: Context, name: str) -> TaskState | None:
        """The task of another container's present life."""
        found = _container(desired, context, name)
        own = self._drivers.runtime.list(found.metadata.uid) if found is not None else ()
        return max(own, key=lambda task: number_of(task.id), default=None)

    def _started(self, desired: Object, context: Context) -> Iterator[tuple[str, str]]:
        for dependency in desired.effective.depends_on:
            task = self._latest(desired, context, dependency.container) if dependency.restart else None
            if task is not None and _changing(desired, context, dependency.container, ChangeKind.RESTART):
                yield dependency.container, UNKNOWN
            elif task is not None and task.started_at is not None and task.status in ALIVE:
                yield dependency.container, _token(task)

    def _shared(self, desired: Object, context: Context) -> Iterator[tuple[str, Shared]]:
        spec: ContainerSpec = desired.effective
        network = spec.networks[0].container if spec.networks else None
        if network is not None:
            other, task = _container(desired, context, network), self._latest(desired, context, network)
            if other is not None and task is not None and task.status in ALIVE:
                again = _changing(desired, context, network, ChangeKind.RECREATE)
                host = network_mode(other.effective) == "host"
                token = UNKNOWN if again else str(number_of(task.id))
                yield "network", Shared(token, sandbox_id=task.id, host=host)
        for kind in ("pid", "ipc"):
            name = getattr(spec, kind).partition("container:")[2]
            task = self._latest(desired, context, name) if name else None
            if task is not None and task.status in ALIVE and task.pid is not None:
                again = _changing(desired, context, name, ChangeKind.RESTART)
                yield kind, Shared(UNKNOWN if again else _token(task), Path(f"/proc/{task.pid}/ns/{kind}"))


def _volume(desired: Object | None, context: Context, name: str | None) -> Object | None:
    if desired is None or name is None:
        return None
    return context.dependencies.get(Ref(kind=Kind.VOLUME, namespace=desired.metadata.namespace, name=name))


def _container(desired: Object, context: Context, name: str) -> Object | None:
    return context.dependencies.get(Ref(kind=Kind.CONTAINER, namespace=desired.metadata.namespace, name=name))


def _changing(desired: Object, context: Context, name: str, kind: ChangeKind) -> bool:
    """Planning: whether it is to run again as another process, or another container."""
    found = _container(desired, context, name)
    runs = found is not None and asked_state(found) in (RUNNING, PAUSED)
    return found is not None and runs and context.changing.get(found.ref, ChangeKind.NONE) >= kind


def _token(task: TaskState) -> str:
    return f"{number_of(task.id)}/{task.attempt}"
