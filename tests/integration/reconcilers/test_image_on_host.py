"""Images converge on the real content store and overlays: made, run, moved, broken, killed, deleted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.store.seal import HostKey
from drivers.images.store import ImageDriver
from drivers.kernel.mount import mount, unmount
from drivers.snapshots.overlay import OverlaySnapshotter
from reconcilers.image.reconciler import ImageReconciler
from reconcilers.interface import Diff
from resources.kinds import Kind
from resources.object import Object
from tests.integration.reconcilers.loops import DEADLINE, ThreadedLoop
from tests.unit.reconcilers.engines import deleted, made

pytestmark = pytest.mark.host
PLATFORM = "linux/amd64"


class Life(ThreadedLoop):
    """One life of an engine on a folder."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.base = base
        self.snapshots = OverlaySnapshotter(base / "snapshots")
        self.images = self._driver(base)
        self.images.cleanup()
        self.snapshots.cleanup()
        self.reconciler: ImageReconciler = ImageReconciler(
            self.images,
            self.jobs,
            self.inputs,
            sealer=HostKey(base),
            platform=PLATFORM,
            now=lambda: datetime.now(UTC),
        )

    def _driver(self, base: Path) -> ImageDriver:
        return ImageDriver(base / "images", self.snapshots)

    def run(self, item: Object, target: Path, *command: str) -> str:
        """Run a command in the image's tree."""
        found = self.images.image(str(self.status(item).fields["digest"]))
        assert found is not None
        target.mkdir(exist_ok=True)
        [description] = self.snapshots.prepare("test", found.chain_id)
        mount(description, target)
        try:
            return subprocess.run(["chroot", target, *command], check=True, capture_output=True, text=True).stdout
        finally:
            unmount(target, detach=False)
            self.snapshots.remove("test")

    def left(self) -> list[Any]:
        names, blobs = self.images.names().list(), self.images.content().walk()
        return [*names, *blobs, *self.snapshots.walk(), *os.listdir(self.inputs.folder.parent / "snapshots/snapshots")]

    def end(self) -> None:
        super().end()
        self.snapshots.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made_life = Life(tmp_path / "root")
    yield made_life
    made_life.end()


def image(name: str, digest: str, source: str, **spec: Any) -> Object:
    written = {"from": {source: f"./{name}.tar"}, **spec}
    return made(Kind.IMAGE, name, written, inputs={f"spec.from.{source}": digest})


@pytest.mark.parametrize(("source", "file"), [("archive", "busybox.tar"), ("rootfs", "busybox-rootfs.tar")])
def test_it_is_made_runs_and_is_gone(life: Life, images: Path, tmp_path: Path, source: str, file: str) -> None:
    item = image("busybox", life.take(images / file), source, tags=["busybox", "shop/base:1"])
    assert life.converge(item) == [Diff()]
    status = life.status(item)
    assert status.ready
    assert status.fields["platform"] == PLATFORM
    assert life.run(item, tmp_path / "m", "/bin/sh", "-c", "echo $((6*7))") == "42\n"
    tagged = {name for name, _ in life.images.names().list() if not name.startswith("uid:")}
    assert tagged == {"docker.io/library/busybox:latest", "docker.io/shop/base:1"}
    assert life.converge(deleted(item)) == [Diff()]
    assert life.left() == []


def test_the_next_life_finds_it_so(life: Life, images: Path, tmp_path: Path) -> None:
    item = image("busybox", life.take(images / "busybox.tar"), "archive", tags=["busybox"])
    life.converge(item)
    second = Life(tmp_path / "root")
    assert second.look(item) == Diff()
    assert second.reconciler.known() == [item.key]
    second.end()


def test_what_somebody_broke_is_put_back(life: Life, images: Path, tmp_path: Path) -> None:
    item = image("busybox", life.take(images / "busybox.tar"), "archive", tags=["busybox"])
    life.converge(item)
    found = life.images.image(str(life.status(item).fields["digest"]))
    assert found is not None
    for what in ("blob", "manifest", "snapshot", "name"):
        if what == "blob":
            life.images.content().delete(found.layers[0].digest)
        elif what == "manifest":
            path = tmp_path / "root/images/blobs/sha256" / found.id.removeprefix("sha256:")
            path.chmod(0o600)
            path.write_bytes(b"{}")
            assert [change.drift for change in life.look(item).changes] == [True]
            path.unlink()
        elif what == "snapshot":
            life.snapshots.remove(found.chain_id)
        else:
            life.images.names().delete("docker.io/library/busybox:latest")
        assert [change.drift for change in life.look(item).changes] == [True]
        assert life.converge(item) == [Diff()]
        assert life.run(item, tmp_path / "m", "/bin/busybox", "true") == ""


def test_another_archive_moves_the_name_and_what_runs_keeps_its_layers(life: Life, images: Path) -> None:
    first = image("base", life.take(images / "busybox.tar"), "archive", tags=["base"])
    life.converge(first)
    before = life.images.image(str(life.status(first).fields["digest"]))
    assert before is not None
    life.snapshots.prepare("running", before.chain_id)
    second = image("base", life.take(images / "busybox-rootfs.tar"), "rootfs", tags=["base"])
    assert life.converge(second) == [Diff()]
    assert life.status(second).fields["digest"] != before.id
    assert life.converge(deleted(second)) == [Diff()]
    assert life.images.unpacked(before)
    life.snapshots.remove("running")
    life.reconciler.prune()
    assert life.left() == []


def test_one_is_deleted_while_others_are_imported(life: Life, images: Path) -> None:
    first = image("first", life.take(images / "busybox.tar"), "archive")
    life.converge(first)
    second = image("second", life.take(images / "busybox-rootfs.tar"), "rootfs")
    third = image("third", life.take(images / "redis.tar"), "archive")
    assert life.converge(deleted(first), second, third) == [Diff(), Diff(), Diff()]
    assert life.status(second).ready
    assert life.status(third).ready
    assert sorted(key.uid for key in life.reconciler.known()) == sorted([second.metadata.uid, third.metadata.uid])
    assert life.converge(deleted(second), deleted(third)) == [Diff(), Diff()]
    assert life.left() == []


def test_deletion_stops_an_import(life: Life, images: Path) -> None:
    item = image("redis", life.take(images / "redis.tar"), "archive")
    for action in life.look(item).actions:
        life.reconciler.act(action)
    assert life.converge(deleted(item)) == [Diff()]
    assert life.jobs.state(f"image:{item.metadata.uid}/import") is None
    until = time.monotonic() + DEADLINE
    while life.left() and time.monotonic() < until:
        time.sleep(0.05)
    assert life.left() == []


def test_what_is_no_archive_is_told(life: Life, images: Path, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(100_000))
    bad = image("busybox", life.take(tmp_path / "noise"), "archive")
    [diff] = life.converge(bad)
    assert diff.waiting.startswith("./busybox.tar: ")
    ready = life.status(bad).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "InvalidArgument")
    wrong = image("busybox", life.take(images / "busybox.tar"), "archive", platform="linux/riscv64")
    [diff] = life.converge(wrong)
    assert "./busybox.tar has no image for linux/riscv64" in diff.waiting
    assert life.left() == []
    assert life.converge(image("busybox", life.take(images / "busybox.tar"), "archive")) == [Diff()]


KILLED = """
import sys
from pathlib import Path
from tests.integration.reconcilers.test_image_on_host import Life, image
life = Life(Path(sys.argv[1]))
item = image("redis", sys.argv[2], "archive", tags=["redis"])
print("begun", flush=True)
life.converge(item)
print("done", flush=True)
sys.stdin.read()
"""


def test_a_killed_engine_leaves_nothing_the_next_cannot_finish(life: Life, images: Path, tmp_path: Path) -> None:
    digest = life.take(images / "redis.tar")
    item = image("redis", digest, "archive", tags=["redis"])
    project = Path(__file__).parents[3]
    for delay in (0.1, 0.4, 0.8):
        base = tmp_path / f"after-{delay}"
        first = Life(base)
        first.take(images / "redis.tar")
        first.end()
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(base), digest],
            cwd=project,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stdin.close()
        second = Life(base)
        assert second.converge(item) == [Diff()]
        assert second.status(item).ready
        assert second.converge(deleted(item)) == [Diff()]
        assert second.left() == []
        second.end()


def test_an_input_that_vanished_is_asked_for_again(life: Life, images: Path) -> None:
    item = image("busybox", life.take(images / "busybox.tar"), "archive")
    life.inputs.gone.add(item.inputs["spec.from.archive"].digest)
    [diff] = life.converge(item)
    assert "apply again to send it" in diff.waiting
    life.inputs.gone.clear()
    assert life.converge(item) == [Diff()]
