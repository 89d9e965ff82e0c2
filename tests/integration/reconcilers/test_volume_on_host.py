"""Volumes converge on real folders, loop file systems and tmpfs, and are populated from real archives and images."""

import os
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.copy.copier import TreeCopier
from drivers.images.store import ImageDriver
from drivers.snapshots.overlay import OverlaySnapshotter
from drivers.snapshots.rootfs import MountedRootFilesystems
from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.local import LocalVolumes
from drivers.volumes.populate import ArchivePopulator
from drivers.volumes.tmpfs import TmpfsVolumes
from reconcilers.interface import ChangeKind, Diff
from reconcilers.volume.reconciler import VolumeReconciler
from resources.kinds import Kind
from resources.object import Object
from tests.integration.reconcilers.loops import ThreadedLoop
from tests.unit.reconcilers.engines import deleted, made

pytestmark = pytest.mark.host


class Life(ThreadedLoop):
    """One life of an engine on a folder."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.snapshots = OverlaySnapshotter(base / "snapshots")
        self.images = ImageDriver(base / "images", self.snapshots)
        self.roots = MountedRootFilesystems(base / "run" / "seeds")
        self.local = LocalVolumes(base, base / "run")
        self.tmpfs = TmpfsVolumes(base, base / "run")
        self.reconciler = VolumeReconciler(
            {"local": self.local, "tmpfs": self.tmpfs},
            images=self.images,
            snapshotter=self.snapshots,
            root_filesystems=self.roots,
            copy_up=DescriptorCopyUp(),
            populator=ArchivePopulator(),
            copier=TreeCopier(),
            jobs=self.jobs,
            inputs=self.inputs,
            now=lambda: datetime.now(UTC),
        )

    def has_image(self, archive: Path) -> None:
        """An Image `seed`, imported and unpacked."""
        [image] = [self.images.import_rootfs(archive, platform="linux/amd64")]
        self.images.unpack(image)
        item = made(Kind.IMAGE, "seed", {"from": {"rootfs": "./seed.tar"}})
        self.images.names().put(f"uid:{item.metadata.uid}", image.manifest)
        self.dependencies = {item.ref: item}

    def path(self, item: Object) -> Path:
        return Path(str(self.status(item).fields["path"]))

    def end(self) -> None:
        super().end()
        self.snapshots.close()


@pytest.fixture
def life(short_path: Path) -> Iterator[Life]:
    made_life = Life(short_path)
    yield made_life
    made_life.end()
    for volumes in (made_life.local, made_life.tmpfs):
        for state in volumes.list():
            volumes.delete(state.id, data=True)


def volume(*, input: str = "", **spec: Any) -> Object:
    return made(Kind.VOLUME, "data", spec, inputs={"spec.populate.archive": input} if input else {})


@pytest.mark.parametrize(
    "spec", [{}, {"size": "64Mi"}, {"driver": "tmpfs"}, {"driver": "tmpfs", "size": "16Mi"}], ids=str
)
def test_it_is_made_owned_populated_and_gone(life: Life, images: Path, spec: dict[str, Any]) -> None:
    digest = life.take(images / "busybox-rootfs.tar")
    owner = {"uid": 12, "gid": 34, "mode": "0750"}
    item = volume(**spec, owner=owner, populate={"archive": "./seed.tar"}, input=digest)
    assert life.converge(item) == [Diff()]
    status = life.status(item)
    assert status.ready
    path = life.path(item)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12, 34, 0o750)
    assert (path / "bin" / "busybox").stat().st_size > 100_000
    assert life.converge(deleted(item, data=True)) == [Diff()]
    assert not path.exists()
    assert [*life.local.list(), *life.tmpfs.list()] == []


def test_it_is_populated_from_an_image_and_leaves_no_view(life: Life, images: Path) -> None:
    life.has_image(images / "busybox-rootfs.tar")
    item = volume(populate={"image": {"name": "seed"}, "path": "/bin"}, owner={"uid": 5})
    assert life.converge(item) == [Diff()]
    path = life.path(item)
    assert (path / "busybox").exists()
    assert path.stat().st_uid == 5
    assert life.roots.mounted() == frozenset()
    assert {info.kind for info in life.snapshots.walk()} == {"committed"}
    wrong = volume(populate={"image": {"name": "seed"}, "path": "/nowhere"})
    life.converge(deleted(item, data=True))
    [diff] = life.converge(wrong)
    assert diff.waiting == "spec.populate.path: image/seed has no /nowhere"


def test_what_somebody_broke_is_put_back(life: Life) -> None:
    item = volume(size="32Mi", owner={"uid": 5, "mode": "0700"})
    life.converge(item)
    path = life.path(item)
    (path / "kept").write_text("yes")
    os.chown(path, 7, 7)
    assert [(change.path, change.drift) for change in life.look(item).changes] == [("spec.owner.uid", True)]
    assert life.converge(item) == [Diff()]
    assert path.stat().st_uid == 5
    subprocess.run(["umount", path.parent], check=True)
    assert [(change.path, change.drift) for change in life.look(item).changes][-1] == ("mounted", True)
    assert life.converge(item) == [Diff()]
    assert (path / "kept").read_text() == "yes"


def test_it_grows_and_does_not_shrink(life: Life) -> None:
    life.converge(volume(size="32Mi"))
    item = volume(size="64Mi")
    path = life.path(item)
    (path / "kept").write_text("yes")
    assert life.look(item).kind is ChangeKind.HOT
    assert life.converge(item) == [Diff()]
    assert os.statvfs(path).f_blocks * os.statvfs(path).f_frsize > 40 << 20
    [diff] = life.converge(volume(size="32Mi"))
    assert diff.kind is ChangeKind.DATA_LOSS
    assert (path / "kept").read_text() == "yes"


def test_retained_data_comes_back_to_the_same_name(life: Life, short_path: Path) -> None:
    item = volume()
    life.converge(item)
    (life.path(item) / "kept").write_text("yes")
    assert life.converge(deleted(item)) == [Diff()]
    assert life.reconciler.known() == []
    second = item.model_copy(update={"metadata": item.metadata.model_copy(update={"uid": "f" * 32})})
    assert life.converge(second) == [Diff()]
    assert (life.path(second) / "kept").read_text() == "yes"
