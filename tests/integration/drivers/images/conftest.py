"""What the tests of images share: a content store and overlays of their own, in a folder."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.images.interface import Image
from drivers.images.store import ImageDriver
from drivers.kernel.mount import mount, unmount
from drivers.snapshots.overlay import OverlaySnapshotter
from tests.unit.drivers.images import tars

PLATFORM = "linux/amd64"


class Ground:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.snapshots = OverlaySnapshotter(base / "snapshots")
        self.images = ImageDriver(base / "content", self.snapshots)

    def archive(self, data: bytes, name: str = "a.tar") -> Path:
        return tars.written(self.base / name, data)

    def only(self, data: bytes) -> Image:
        [image] = self.images.import_archive(self.archive(data), platform=PLATFORM)
        return image

    @contextmanager
    def mounted(self, image: Image, key: str = "c") -> Iterator[Path]:
        target = self.base / "m"
        target.mkdir(exist_ok=True)
        [description] = self.snapshots.prepare(key, image.chain_id)
        mount(description, target)
        try:
            yield target
        finally:
            unmount(target, detach=False)
            self.snapshots.remove(key)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.snapshots.close()


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
