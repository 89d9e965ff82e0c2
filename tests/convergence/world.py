"""The whole core on a host in memory: store, engine, backend and all reconcilers, one life of the engine after another.

Time stands still until `converge` moves it on to whatever is due next; a life takes one step after the other on the thread
of the test, so that everything that happens is decided by what was asked for.
"""

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from controller.admission.host import Host
from controller.admission.networks import asked_subnets
from controller.backend import EngineBackend
from controller.engine import Engine
from controller.interface import Applied, ApplyOptions, Content, Submission
from controller.jobs import job_key
from controller.plan import Plan
from controller.retained import RetainedVolumes
from controller.settings import Settings
from controller.store.allocations import Allocations
from controller.store.layout import ALLOCATIONS
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from controller.store.seal import HostKey
from controller.store.uploads import UploadFolder
from controller.wiring import Wiring
from controller.workqueue import WorkQueue
from drivers.fakes import FakeDrivers, FakeMachine
from drivers.images.interface import HealthCheck, ImageConfig
from drivers.network.interface import ProbeAnswer
from drivers.network.sandbox.fake import FakeProber
from drivers.runtime.interface import ProcessConfig, TaskState, TaskStatus
from manifests.interface import NeedKind, Text
from manifests.load import load
from reconcilers.config.reconciler import config_reconciler
from reconcilers.container.reconciler import ContainerDrivers, ContainerReconciler
from reconcilers.image.model import UID
from reconcilers.image.reconciler import ImageReconciler
from reconcilers.interface import Diff
from reconcilers.network.reconciler import NetworkReconciler
from reconcilers.secret.reconciler import secret_reconciler
from reconcilers.volume.reconciler import VolumeReconciler
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object
from tests.convergence.state import state
from tests.unit.reconcilers.container.worlds import ThisHost, resolved
from tests.unit.reconcilers.engines import NOW, ManualJobs

IMAGES: Mapping[bytes, tuple[ImageConfig, tuple[bytes, ...]]] = {
    b"image one": (ImageConfig(command=("serve",), env={"PATH": "/bin"}, stop_signal="SIGTERM"), (b"base", b"one")),
    b"image two": (ImageConfig(command=("serve",), user="7", stop_signal="SIGQUIT"), (b"base", b"two")),
    b"image three": (
        ImageConfig(command=("serve",), health=HealthCheck(("CMD", "true")), volumes=("/img",)),
        (b"three",),
    ),
}
"""What archives hold, by their content."""
SEEDS: Mapping[bytes, Mapping[str, bytes]] = {b"seed one": {"a": b"1"}, b"seed two": {"b": b"2"}}
HORIZON = timedelta(minutes=30)
Files = Mapping[str, bytes]


class Stuck(AssertionError):
    """Something is still to be done, and nothing is going to happen."""


class OpenProber(FakeProber):
    """Something listens on every port that is not refused."""

    def _missing(self, sandbox: str | None, port: int) -> ProbeAnswer | None:
        self._statuses.setdefault((sandbox, port), 200)
        return super()._missing(sandbox, port)


class Told:
    """Events, in memory."""

    def __init__(self) -> None:
        self.events: list[tuple[Key, str, str]] = []

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        self.events.append((key, reason, message))


class SteppedJobs(ManualJobs):
    """Jobs that run when told, and wake their keys."""

    def __init__(self, on_end: Callable[[Key], None]) -> None:
        super().__init__()
        self._on_end = on_end

    def _run(self, job_id: str) -> None:
        super()._run(job_id)
        self._on_end(job_key(job_id))


def program(process: ProcessConfig) -> tuple[int, bytes, bytes]:
    """What an exec does."""
    return (1, b"", b"no") if process.args[0] == "false" else (0, b"", b"")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class World:
    folder: Path
    """For what clients upload, empty."""
    key: HostKey
    threads: int = 0
    """Workers of the engine; without any, every step is taken by the test."""
    make_queue: Callable[[Callable[[], float]], WorkQueue[Key]] = WorkQueue
    machine: FakeMachine = field(default_factory=FakeMachine)
    store: Any = field(default_factory=MemoryStore)
    now: datetime = NOW
    told: Told = field(default_factory=Told)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _exits: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.machine.prober = OpenProber(self.machine.sandboxes)
        self.uploads = UploadFolder(self.folder / "uploads")
        for data, (config, layers) in IMAGES.items():
            self.machine.images.plant(digest_of(data).removeprefix("sha256:"), config, layers)
        for data, tree in SEEDS.items():
            path = self.folder / "uploads" / digest_of(data).removeprefix("sha256:")
            self.machine.files.trees[path] = dict(tree)
        self.begin()

    # ---- lives of the engine

    def begin(self, drivers: Callable[[FakeDrivers], FakeDrivers] = lambda own: own, store: Any = None) -> None:
        """The next engine takes over, as the daemon begins: `drivers` and `store` are what it has to do with."""
        objects = ObjectStore(store or self.store)

        def subnets() -> Mapping[str, Sequence[str]]:
            return asked_subnets(objects.list(Kind.NETWORK))

        own = drivers(self.machine.drivers(program, Allocations(store or self.store), subnets))
        own.runtime.now = self.clock
        self.runtime = own.runtime
        self.queue = self.make_queue(lambda: (self.clock() - NOW).total_seconds())
        self.jobs = self._jobs(self.queue.add)
        reconcilers = self._reconcilers(own, self.jobs)
        self.engine = Engine(objects, reconcilers, self.told, self.clock, self.threads, self.queue)
        self.wiring = self._wired(own, objects)
        self.backend = self.wiring.backend
        self.engine.start()
        self.engine.wake_all()
        self.wiring.sweep()

    def end(self) -> None:
        """The engine is gone; whoever writes for it in the background has written."""
        self.engine.objects.settle()

    def restart(self) -> None:
        self.end()
        self.begin()

    def new_uid(self) -> str:
        return hashlib.sha256(str(next(self.numbers)).encode()).hexdigest()[:32]

    def clock(self) -> datetime:
        return self.now

    def _jobs(self, on_end: Callable[[Key], None]) -> Any:
        return SteppedJobs(on_end)

    def _reconcilers(self, own: FakeDrivers, jobs: Any) -> dict[Kind, Any]:
        now, uploads = self.clock, self.uploads
        containers = ContainerDrivers(
            runtime=own.runtime, snapshotter=own.snapshotter, roots=own.roots, images=own.images,
            sandboxes=own.sandboxes, networks=own.networks, ipam=own.ipam, host_ports=own.host_ports,
            publisher=own.publisher, names=own.names, volumes=own.volumes, anonymous=own.anonymous, copy_up=own.copy_up,
            projector=own.projector, stage=own.stage, prober=own.prober, logs=own.logs, sealer=self.key, jobs=jobs,
            events=self.told, resolve_user=resolved, seccomp=lambda profile, caps: {"profile": profile}, host=ThisHost(),
            now=now,
        )  # fmt: skip
        return {
            Kind.IMAGE: ImageReconciler(own.images, jobs, uploads, sealer=self.key, platform="linux/amd64", now=now),
            Kind.CONTAINER: ContainerReconciler(containers),
            Kind.VOLUME: VolumeReconciler(
                own.volumes, images=own.images, snapshotter=own.snapshotter, root_filesystems=own.roots,
                copy_up=own.copy_up, populator=own.populator, copier=own.copier, jobs=jobs, inputs=uploads, now=now,
            ),
            Kind.NETWORK: NetworkReconciler(own.networks, own.ipam),
            Kind.SECRET: secret_reconciler(),
            Kind.CONFIG: config_reconciler(),
        }  # fmt: skip

    def _wired(self, own: FakeDrivers, objects: ObjectStore) -> Wiring:
        settings = Settings(root=self.folder, run_root=self.folder)
        backend = EngineBackend(
            settings, self.engine, cast(Any, self.told), self.uploads, cast(Any, None),
            RetainedVolumes(own.volumes, self.told), cast(Any, None), self.key, own.runtime.info,
            lambda: Host(held=own.ipam.addresses), threading.Event(), self.new_uid,
        )  # fmt: skip
        wiring = Wiring(
            settings=settings, engine=self.engine, objects=objects, events=cast(Any, self.told), backend=backend,
            runtime=cast(Any, own.runtime), jobs=cast(Any, self.jobs), uploads=self.uploads, cleanups=(), closers=(),
            new_store=False, endings=(), logs=cast(Any, None), resolver=cast(Any, None),
        )  # fmt: skip
        self.engine.on_rest = wiring.came_to_rest
        return wiring

    # ---- what a client does

    def submissions(self, manifests: str, files: Files | None = None) -> tuple[Submission, ...]:
        loaded = load([Text("m.yaml", manifests.encode())])
        assert not loaded.failed, (manifests, list(map(str, loaded.problems)))
        found = []
        for located in loaded.manifests:
            contents = {}
            for need in located.needs:
                data = (files or {})[need.value]
                small = need.kind is not NeedKind.UPLOAD
                contents[need.path] = Content(digest_of(data), len(data), data if small else None)
            found.append(Submission(located, contents))
        return tuple(found)

    def apply(self, manifests: str, files: Files | None = None, options: ApplyOptions | None = None) -> Applied:
        submitted = self.submissions(manifests, files)
        known = {digest_of(data): data for data in (files or {}).values()}
        for digest in self.backend.wanted(submitted):
            self.uploads.receive(digest, len(known[digest]), iter([known[digest]]))
        return self.backend.apply(submitted, options or ApplyOptions())

    def plan(self, manifests: str, files: Files | None = None, options: ApplyOptions | None = None) -> Plan:
        return self.backend.plan(self.submissions(manifests, files), options or ApplyOptions())

    def delete_all(self) -> None:
        """Every object and all data, retained data and what was pulled too."""
        refs = [item.ref for item in self.objects if not item.deleting]
        self.backend.delete(refs, data=True, cascade=True, force=False)
        self.converge()
        self.wiring.release_uploads()
        for ref in self.backend.retained.list():
            self.backend.retained.discard(ref)
        self.clear_cache()

    def clear_cache(self) -> None:
        """What stays of pulled images when nobody asks for them."""
        names = self.machine.images.names()
        for name, where in names.list():
            if UID not in where.annotations:
                names.delete(name)
        images = self.engine.reconcilers[Kind.IMAGE]
        assert isinstance(images, ImageReconciler)
        images.prune()

    # ---- time

    def converge(self) -> None:
        """Until nothing is left to be done. Raises: Stuck."""
        end = self.now + HORIZON
        self.run()
        while rest := self.unrest():
            due = self.queue.next_due()
            if due is None or self.now > end:
                raise Stuck(f"{rest}, events {[event[1:] for event in self.told.events[-30:]]}")
            self.now += timedelta(seconds=due + 1e-6)
            self.run()

    def run(self) -> None:
        """Everything that can be done now."""
        for _ in range(20_000):
            if not (self.engine.step() or self.jobs.run() or self.processes()):
                return
        raise Stuck(f"turns in a circle: {[event[1:] for event in self.told.events[-30:]]}")

    def processes(self) -> bool:
        """What the processes in the containers do: those that run `exit N` end."""
        for task in list(self.machine.tasks.tasks.values()):
            args = self.args(task)
            if task.status is TaskStatus.RUNNING and args[-2:-1] == ["exit"]:
                self.runtime.exit(task.id, int(args[-1]))
        ended = {(task.id, task.attempt) for task in self.tasks if task.status is TaskStatus.STOPPED}
        news = ended - self._exits
        self._exits = ended
        for task_id, _ in sorted(news):
            self.queue.add(Key(kind=Kind.CONTAINER, uid=task_id[:32]))
        return bool(news)

    def unrest(self) -> list[str]:
        """What is not as it is to be, in words."""
        found = []
        for item in self.objects:
            diff, outcome, status = self.look(item), self.engine.outcome(item.key), self.engine.status(item.key)
            if item.deleting or diff.actions or diff.changes or diff.waiting:
                words = [action.describe() for action in diff.actions] or diff.waiting or list(diff.changes)
                found.append(f"{item.ref}: {words}")
            elif outcome is None or outcome.error or status is None or status.phase == "Starting":
                found.append(f"{item.ref}: {outcome} {status and status.phase}")
        return found

    def look(self, item: Object) -> Diff[Any]:
        reconciler, context = self.engine.reconcilers[item.kind], self.engine.context(item)
        return reconciler.diff(item, reconciler.observe(item.key, item, context), context)

    # ---- what is there

    @property
    def objects(self) -> Sequence[Object]:
        return self.engine.objects.list()

    @property
    def tasks(self) -> list[TaskState]:
        return list(self.machine.tasks.tasks.values())

    def args(self, task: TaskState) -> list[str]:
        config = self.machine.tasks.configs.get(task.id)
        return list(config.spec["process"]["args"]) if config else []

    def find(self, kind: Kind, name: str) -> Object | None:
        return self.engine.objects.find(Ref(kind=kind, namespace="default", name=name))

    def task(self, name: str) -> TaskState | None:
        item = self.find(Kind.CONTAINER, name)
        found = [task for task in self.tasks if item and task.id.startswith(item.metadata.uid)]
        assert len(found) < 2, f"{name} is there twice"
        return found[0] if found else None

    def left(self) -> dict[str, list[Any]]:
        """Everything on the host, where there is anything."""
        machine = self.machine
        found: dict[str, list[Any]] = {
            "objects": [item.ref for item in self.objects],
            "tasks": self.tasks,
            "snapshots": list(machine.snapshots.walk()),
            "roots": list(machine.roots),
            "sandboxes": list(machine.sandboxes.list()),
            "networks": list(machine.networks.list()),
            "ports": list(machine.ports.list()),
            "names": list(machine.names.list()),
            "allocations": [entry.key for entry in self.store.range(ALLOCATIONS)],
            "projections": list(machine.files.projections),
            "stages": list(machine.files.staged),
            "volumes": list(machine.files.volumes),
            "images": list(machine.images.names().list()),
            "blobs": list(machine.images.content().walk()),
            "uploads": [path for path in (self.folder / "uploads").iterdir() if path.name != "tmp"],
            "jobs": list(self.jobs.states),
        }
        return {name: items for name, items in found.items() if items}

    def state(self) -> Any:
        """Everything on the host, told without what differs from one way there to another."""
        return state(self.machine, self.objects, Allocations(self.store))
