"""Containers converge on the real kernel and runtime: run, changed, broken, ended, killed with their engine, gone."""

import base64
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.jobs import ThreadJobs
from drivers.images.interface import Image
from drivers.images.store import ImageDriver
from drivers.kernel.mount import unmount
from drivers.logs.file import FileLogs
from drivers.network.ipam.fake import FakeAllocations
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.names.fake import FakeNames
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.fake import FakePorts
from drivers.network.sandbox.namespaces import NetnsSandboxes
from drivers.network.sandbox.prober import SandboxProber
from drivers.runtime.interface import TaskState, TaskStatus
from drivers.runtime.oci import OciRuntime
from drivers.runtime.seccomp import seccomp
from drivers.runtime.users import resolve_user
from drivers.snapshots.overlay import OverlaySnapshotter
from drivers.snapshots.rootfs import MountedRootFilesystems
from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.interface import VolumeConfig
from drivers.volumes.local import LocalVolumes
from drivers.volumes.projector import TmpfsProjector
from drivers.volumes.stage import BoundStage
from reconcilers.container.reconciler import ContainerDrivers, ContainerReconciler
from reconcilers.interface import Context, Diff
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object
from tests.unit.reconcilers.container.worlds import NotedEvents, OpenSealer, container, held
from tests.unit.reconcilers.engines import deleted, made

pytestmark = pytest.mark.host
DEADLINE = 20.0


class Life:
    """One life of an engine on two roots."""

    def __init__(self, base: Path, instance: str) -> None:
        root, run_root = base / "s", base / "r"
        self.root, self.run_root = root, run_root
        self.runtime = OciRuntime(root, run_root, instance)
        self.snapshots = OverlaySnapshotter(root / "snapshots")
        self.images = ImageDriver(root / "images", self.snapshots)
        self.sandboxes = NetnsSandboxes(run_root, instance)
        self.volumes = LocalVolumes(root, run_root)
        self.projector = TmpfsProjector(run_root)
        self.roots = MountedRootFilesystems(run_root)
        self.stage = BoundStage(run_root)
        self.jobs = ThreadJobs({"io": 1, "probes": 1}, lambda _: None)
        self.logs = FileLogs(root, run_root)
        self.objects: dict[Ref, Object] = {}
        allocations = FakeAllocations()
        self.reconciler = ContainerReconciler(
            ContainerDrivers(
                runtime=self.runtime,
                snapshotter=self.snapshots,
                roots=self.roots,
                images=self.images,
                sandboxes=self.sandboxes,
                networks={},
                ipam=DefaultIpam(
                    allocations,
                    routes=lambda: (),
                    link=lambda network_id: network_id[:8],
                    address_pools=[AddressPool("10.192.0.0/12", 22)],
                ),
                host_ports=StoredHostPorts(allocations, lambda: ()),
                publisher=FakePorts(),
                names=FakeNames(),
                volumes={"local": self.volumes},
                anonymous=LocalVolumes(root / "anonymous", run_root / "anonymous"),
                copy_up=DescriptorCopyUp(),
                projector=self.projector,
                stage=self.stage,
                prober=SandboxProber(self.sandboxes),
                logs=self.logs,
                sealer=OpenSealer(),
                jobs=self.jobs,
                events=NotedEvents(),
                resolve_user=resolve_user,
                seccomp=seccomp,
            )
        )

    def context(self) -> Context:
        return Context(datetime.now(UTC), self.objects)

    def look(self, item: Object | None, key: Key | None = None) -> Diff[Any]:
        context, where = self.context(), key or (item.key if item else None)
        assert where is not None
        return self.reconciler.diff(item, self.reconciler.observe(where, item, context), context)

    def settle(self, item: Object | None, key: Key | None = None) -> Diff[Any]:
        """Until there is nothing to do and nothing to wait for."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            diff = self.look(item, key)
            for action in diff.actions:
                begun = time.monotonic()
                self.reconciler.act(action)
                took = time.monotonic() - begun
                assert took < 0.25 or type(action).__name__ in ("CreateTask", "StartTask", "DeleteTask"), (action, took)
            if not (diff.actions or diff.waiting or self.jobs.running()):
                return diff
            time.sleep(0.01)
        raise AssertionError(f"does not settle: {diff}")

    def status(self, item: Object) -> Status:
        context = self.context()
        return self.reconciler.status(item, self.reconciler.observe(item.key, item, context), context)

    def task(self, item: Object) -> TaskState:
        [found] = [task for task in self.runtime.list() if task.id.startswith(item.metadata.uid)]
        return found

    def running(self, item: Object) -> TaskState:
        found = self.task(item)
        assert found.status is TaskStatus.RUNNING, found
        return found

    def said(self, item: Object) -> str:
        return b"".join(entry.data for entry in self.logs.read(self.task(item).id)).decode()

    def until(self, condition: Callable[[], Any]) -> None:
        limit = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < limit
            time.sleep(0.01)

    # ---- what containers refer to

    def image(self, archive: Path) -> Image:
        item = made(Kind.IMAGE, "box", {"from": {"archive": "./busybox.tar"}})
        [image] = self.images.import_archive(archive, platform="linux/amd64")
        self.images.unpack(image)
        self.images.names().put(f"uid:{item.metadata.uid}", image.manifest)
        self.objects[item.ref] = item
        return image

    def config(self, **values: str) -> None:
        entries = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        digests = {key: hashlib.sha256(value.encode()).hexdigest() for key, value in values.items()}
        item = made(Kind.CONFIG, "conf", {}, effective={"entries": entries, "digests": digests})
        self.objects[item.ref] = item

    def volume(self, name: str) -> Object:
        item = made(Kind.VOLUME, name, {})
        self.volumes.create(VolumeConfig(item.metadata.uid, f"default/{name}"))
        self.objects[item.ref] = item
        return item

    def left(self) -> list[Any]:
        layers = [info.key for info in self.snapshots.walk() if info.kind != "committed"]
        return [
            *self.runtime.list(), *layers, *self.sandboxes.list(), *self.roots.mounted(), *self.stage.list(),
            *self.projector.list(),
        ]  # fmt: skip

    def end(self) -> None:
        self.jobs.close()
        self.runtime.close()
        self.snapshots.close()


@pytest.fixture
def life(short_path: Path, instance: str, images: Path) -> Iterator[Life]:
    first = Life(short_path, instance)
    first.image(images / "busybox.tar")
    yield first
    for key in first.reconciler.known():
        first.settle(None, key)
    first.runtime.cleanup([])
    for state in first.volumes.list():
        first.volumes.delete(state.id, data=True)
    first.end()


def sleeper(script: str = "sleep 1000", **spec: Any) -> Object:
    return container(command=["/bin/sh", "-c", script], **{"stop": {"signal": "SIGKILL"}, **spec})


def inside(task: TaskState, path: str) -> Path:
    return Path(f"/proc/{task.pid}/root{path}")


def test_from_nothing_to_running_and_away(life: Life, tmp_path: Path) -> None:
    life.config(mode="prod")
    volume = life.volume("data")
    (tmp_path / "seen").write_text("bound")
    tmp_path.chmod(0o755)
    mounts = [
        {"volume": "data", "target": "/etc"},
        {"bind": str(tmp_path), "target": "/srv"},
        {"config": "conf", "target": "/conf"},
        {"config": "conf", "key": "mode", "target": "/one/mode"},
        {"tmpfs": {"size": "1Mi"}, "target": "/tmp"},
        {"image": {"name": "box"}, "target": "/box"},
    ]
    env = {"MODE": {"config": "conf", "key": "mode"}}
    item = sleeper("echo $MODE; cat /srv/seen; sleep 1000", mounts=mounts, env=env, init=True, user="7")
    assert life.settle(item) == Diff()
    task = life.running(item)
    status = life.status(item)
    assert (status.phase, status.ready, status.fields["pid"]) == ("Running", True, task.pid)
    assert Path(f"/proc/{task.pid}/cmdline").read_bytes().startswith(b"/dev/init\0--\0/bin/sh")
    assert inside(task, "/conf/mode").read_text() == inside(task, "/one/mode").read_text() == "prod"
    assert inside(task, "/box/bin/busybox").exists()
    state = life.volumes.inspect(volume.metadata.uid)
    assert state is not None
    assert (state.path / "passwd").exists()
    life.until(lambda: life.said(item) == "prod\nbound")
    assert os.stat(f"/proc/{task.pid}").st_uid == 7
    life.settle(deleted(item))
    assert life.left() == []


def test_hot_changes_and_drift_leave_the_process_alone(life: Life) -> None:
    life.config(mode="prod")
    mounts = [
        {"config": "conf", "target": "/conf"},
        {"config": "conf", "key": "mode", "target": "/one/mode"},
    ]
    life.settle(sleeper(mounts=mounts))
    before = life.running(sleeper())
    life.config(mode="test")
    item = sleeper(mounts=mounts, resources={"memory": "64Mi", "pids": 33}, extraHosts={"db": "10.9.8.7"})
    assert life.settle(item) == Diff()
    task = life.running(item)
    assert (task.pid, task.start_time) == (before.pid, before.start_time)
    assert task.limits is not None
    assert (task.limits.memory, task.limits.pids) == (64 << 20, 33)
    assert inside(task, "/conf/mode").read_text() == inside(task, "/one/mode").read_text() == "test"
    assert "10.9.8.7\tdb" in inside(task, "/etc/hosts").read_text()
    life.sandboxes.files(task.id)["hosts"].write_text("scribbled")
    unmount(life.run_root / "netns" / task.id)
    life.roots.unmount(task.id)
    inside(task, "/etc/resolv.conf").write_text("nameserver 6.6.6.6\n")
    assert {c.path for c in life.look(item).changes} == {"sandbox.namespace", "sandbox.files"}
    assert life.settle(item) == Diff()
    now = life.running(item)
    assert (now.pid, now.start_time) == (before.pid, before.start_time)
    named = os.stat(life.run_root / "netns" / task.id).st_ino
    assert named == os.stat(f"/proc/{now.pid}/ns/net").st_ino


def test_paused_stopped_started_restarted_recreated(life: Life) -> None:
    item = sleeper("trap 'exit 3' TERM; while :; do sleep 0.05; done", stop={"timeout": "5s"})
    life.settle(item)
    pid = life.running(item).pid
    life.settle(held(item, "paused"))
    assert life.task(item).status is TaskStatus.PAUSED
    life.settle(item)
    assert life.running(item).pid == pid
    life.settle(held(item, "stopped"))
    status = life.status(held(item, "stopped"))
    assert (status.phase, status.fields["exitCode"]) == ("Stopped", 3)
    life.settle(item)
    inside(life.running(item), "/kept").write_text("x")
    again = item.model_copy(update={"restart_request": "1"})
    life.settle(again)
    task = life.running(again)
    assert (task.attempt, inside(task, "/kept").exists()) == (3, True)
    anew = sleeper(env={"A": "1"})
    life.settle(anew)
    task = life.running(anew)
    assert (task.attempt, int(task.id[32:], 16), inside(task, "/kept").exists()) == (1, 2, False)
    assert {str(getattr(left, "id", left))[:64] for left in life.left()} == {task.id}


def test_a_killed_process_is_started_again_and_a_job_is_done(life: Life) -> None:
    item = sleeper(restart={"policy": "always"})
    life.settle(item)
    pid = life.running(item).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    life.until(lambda: life.task(item).status is TaskStatus.STOPPED)
    assert [change.path for change in life.look(item).changes] == ["process"]
    life.settle(item)
    assert life.running(item).attempt == 2
    job = container("job", command=["/bin/sh", "-c", "exit 0"])
    life.settle(job)
    life.until(lambda: life.settle(job) == Diff() and life.status(job).phase == "Completed")
    assert life.status(job).ready


def test_health_inside_the_sandbox(life: Life) -> None:
    health = {"http": {"port": 80, "path": "/index.html"}, "interval": "100ms"}
    serve = "mkdir /www; echo hello > /www/index.html; httpd -f -p 80 -h /www"
    item = sleeper(serve, health=health)
    life.until(lambda: life.settle(item) and life.status(item).ready)
    told = sleeper(serve, health={"exec": ["/bin/sh", "-c", "echo broken; exit 4"], "interval": "50ms", "retries": 1})
    life.until(lambda: life.settle(told) and life.status(told).phase == "Unhealthy")
    ready = life.status(told).condition("Ready")
    assert ready is not None
    assert ready.message == "exit code 4: broken"


def test_the_next_life_finds_it_so(life: Life, short_path: Path, instance: str) -> None:
    item = sleeper()
    life.settle(item)
    before = life.running(item)
    second = Life(short_path, instance)
    second.objects = life.objects
    assert second.look(item) == Diff()
    assert second.reconciler.known() == [item.key]
    assert second.running(item).pid == before.pid
    second.settle(deleted(item))
    assert second.left() == []
    second.end()


def test_what_cannot_run_says_so(life: Life) -> None:
    from resources.errors import FailedPrecondition

    item = container(command=["/no/such/program"])
    with pytest.raises(FailedPrecondition):
        life.settle(item)
    ready = life.status(item).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "FailedPrecondition")
    assert "/no/such/program" in ready.message
    life.settle(sleeper())
    assert life.running(sleeper())
