"""A host with image drivers in memory, on which engines live one after the other."""

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from drivers.images.fake import FakeImages
from drivers.images.interface import Image, Progress
from drivers.snapshots.fake import FakeSnapshotter
from reconcilers.image.model import record_name
from reconcilers.image.reconciler import ImageReconciler
from resources.kinds import Kind
from resources.object import Object
from resources.secret import Sealed
from tests.unit.reconcilers.engines import FolderInputs, Fuse, Loop, ManualJobs, made

PLATFORM = "linux/amd64"


class ArchivesOfMany(FakeImages):
    """Archives may hold several images, each as its own list of what was planted under another name."""

    def __init__(self, snapshotter: FakeSnapshotter) -> None:
        super().__init__(snapshotter)
        self.many: dict[str, list[str]] = {}
        self.failures: list[Exception] = []

    def import_archive(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        if self.failures:
            raise self.failures.pop(0)
        parts = self.many.get(source.name, [source.name])
        load = super().import_archive
        return [image for part in parts for image in load(Path(part), platform=platform, progress=progress)]


class PlainSealer:
    """Opens what is not sealed at all."""

    def open(self, sealed: Sealed) -> bytes:
        return base64.b64decode(sealed.value)


class World:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.snapshots = FakeSnapshotter()
        self.images = ArchivesOfMany(self.snapshots)
        self.inputs = FolderInputs(folder)

    def life(self, fuse: Fuse | None = None) -> Loop:
        def build(jobs: ManualJobs, now: Callable[[], datetime]) -> ImageReconciler:
            return ImageReconciler(self.images, jobs, self.inputs, sealer=PlainSealer(), platform=PLATFORM, now=now)

        return Loop(build, fuse)

    def archive(self, letter: str, names: Sequence[str] = ()) -> str:
        """An archive of one image of two layers; return its digest."""
        digest = self.inputs.put(letter)
        self.images.plant(digest.removeprefix("sha256:"), layers=(b"base", letter.encode()), names=names)
        return digest

    def archive_of_many(self, letter: str, parts: dict[str, str]) -> str:
        """An archive of an image a letter, each with its name."""
        digest = self.inputs.put(letter)
        for part, name in parts.items():
            self.images.plant(part, layers=(part.encode(),), names=(name,))
        self.images.many[digest.removeprefix("sha256:")] = list(parts)
        return digest

    def record(self, item: Object) -> str:
        found = self.images.names().get(record_name(item.metadata.uid))
        return found.digest if found else ""

    def tags(self) -> dict[str, str]:
        return {n: t.digest for n, t in self.images.names().list() if not n.startswith("uid:")}

    def left(self) -> tuple[list[Any], list[Any], list[Any]]:
        return (
            list(self.images.names().list()),
            list(self.images.content().walk()),
            list(self.snapshots.walk()),
        )


EMPTY: tuple[list[Any], list[Any], list[Any]] = ([], [], [])


def image(name: str, digest: str, source: str = "archive", **spec: Any) -> Object:
    written = {"from": {source: f"./{name}.tar"}, **spec}
    return made(Kind.IMAGE, name, written, inputs={f"spec.from.{source}": digest})
