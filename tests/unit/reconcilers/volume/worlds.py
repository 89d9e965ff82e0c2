"""A host with volume and image drivers in memory, on which engines live one after the other."""

from pathlib import Path
from typing import Any

from drivers.copy.interface import Entry
from drivers.images.fake import FakeImages
from drivers.snapshots.fake import FakeRootFilesystems, FakeSnapshotter
from drivers.snapshots.interface import Mount
from drivers.volumes.fake import FakeCopyUp, FakePopulator, FakeVolumeHost, FakeVolumes
from reconcilers.volume.reconciler import VolumeReconciler
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from tests.unit.reconcilers.engines import FolderInputs, Fuse, Loop, made, uid_of

CONTENT = {"a": b"1", "b": b"2"}
SEEDS_ROOT = FakeRootFilesystems().path(f"{uid_of('data'):0<64}.populate")
"""Where the volume `data` sees the image it is populated from."""


class PathsOfTrees:
    """As much of a Copier as populating asks: whether a path is there."""

    def __init__(self, host: FakeVolumeHost) -> None:
        self._host = host

    def stat(self, root: Path, path: str) -> Entry | None:
        return Entry(path, 0, 0o40755, 0) if root / path.lstrip("/") in self._host.trees else None


class World:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.host = FakeVolumeHost()
        self.mounts: dict[str, tuple[Mount, ...]] = {}
        self.snapshots = FakeSnapshotter()
        self.images = FakeImages(self.snapshots)
        self.inputs = FolderInputs(folder)
        self.local = FakeVolumes(self.host)
        self.tmpfs = FakeVolumes(self.host, "tmpfs")
        self.copy_up = FakeCopyUp(self.host)
        self.populator = FakePopulator(self.host)
        self.image: Object | None = None

    def life(self, fuse: Fuse | None = None) -> Loop:
        loop = Loop(
            lambda jobs, now: VolumeReconciler(
                {"local": self.local, "tmpfs": self.tmpfs},
                images=self.images,
                snapshotter=self.snapshots,
                root_filesystems=FakeRootFilesystems(self.mounts),
                copy_up=self.copy_up,
                populator=self.populator,
                copier=PathsOfTrees(self.host),  # type: ignore[arg-type]
                jobs=jobs,
                inputs=self.inputs,
                now=now,
            ),
            fuse,
        )
        if self.image is not None:
            loop.dependencies = {self.image.ref: self.image}
        return loop

    def archive(self, letter: str) -> str:
        digest = self.inputs.put(letter)
        path = self.inputs.path(digest)
        assert path is not None
        self.host.trees[path] = dict(CONTENT)
        return digest

    def seeded_image(self, *, unpacked: bool = True) -> Ref:
        """An Image `seed` whose /data has content."""
        digest = self.inputs.put("i")
        path = self.inputs.path(digest)
        assert path is not None
        [image] = [self.images.import_rootfs(path, platform="linux/amd64")]
        if unpacked:
            self.images.unpack(image)
        self.image = made(Kind.IMAGE, "seed", {"from": {"rootfs": "./seed.tar"}})
        self.images.names().put(f"uid:{self.image.metadata.uid}", image.manifest)
        self.host.trees[SEEDS_ROOT / "data"] = dict(CONTENT)
        return self.image.ref

    def data(self, item: Object) -> dict[str, bytes]:
        state = self.local.inspect(item.metadata.uid) or self.tmpfs.inspect(item.metadata.uid)
        return {} if state is None else self.host.trees[state.path]

    def left(self) -> list[Any]:
        """Everything on the host but the image's own layers."""
        views = [info for info in self.snapshots.walk() if info.kind != "committed"]
        return [*self.host.volumes.values(), *self.mounts, *views]


def volume(name: str = "data", *, input: str = "", **spec: Any) -> Object:
    inputs = {"spec.populate.archive": input} if input else {}
    return made(Kind.VOLUME, name, spec, inputs=inputs)
