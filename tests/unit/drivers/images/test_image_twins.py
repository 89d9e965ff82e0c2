"""The driver and its in-memory twin answer alike, seen through the contract alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.images.digest import of_bytes
from drivers.images.fake import FakeImages
from drivers.images.interface import Images
from drivers.images.store import ImageDriver
from drivers.snapshots.fake import FakeSnapshotter
from drivers.snapshots.interface import Snapshotter
from resources.errors import InvalidArgument
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners of files")
LAYERS = [tars.entry("a") + tars.END, tars.entry("b") + tars.END]
PLATFORM = "linux/amd64"


def real(folder: Path, snapshotter: Snapshotter) -> Images:
    return ImageDriver(folder / "content", snapshotter)


def fake(folder: Path, snapshotter: Snapshotter) -> Images:
    images = FakeImages(snapshotter)
    images.plant("a.tar", layers=LAYERS, names=["docker.io/library/x:1"])
    return images


Pair = tuple[Images, Snapshotter, Path]


@pytest.fixture(params=[real, fake])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    make: Callable[[Path, Snapshotter], Images] = request.param
    snapshotter = FakeSnapshotter(tmp_path / "snapshots")
    return make(tmp_path, snapshotter), snapshotter, tars.written(tmp_path / "a.tar", tars.oci_archive(LAYERS))


def test_a_life(pair: Pair) -> None:
    images, snapshotter, archive = pair
    [image] = images.import_archive(archive, platform=PLATFORM)
    assert image.names_in == ("docker.io/library/x:1",)
    assert images.image(image.id) == image
    assert [i.id for i in images.import_archive(archive, platform=PLATFORM)] == [image.id]
    assert not images.unpacked(image)
    told: list[str] = []
    images.unpack(image, progress=lambda what, done, total: told.append(what))
    images.unpack(image)
    assert images.unpacked(image)
    assert {f"unpack {layer.digest}" for layer in image.layers} == set(told)
    assert {info.key for info in snapshotter.walk()} == {image.diff_ids[0], image.chain_id}
    images.names().put("uid:1", image.manifest)
    assert images.prune([image.id]) == 0
    assert images.image(image.id) == image
    assert images.prune([]) > 0
    assert images.image(image.id) is None
    assert images.names().get("uid:1") is None
    assert list(images.content().walk()) == []
    assert list(snapshotter.walk()) == []
    assert images.cleanup() == 0


def test_refusals(pair: Pair) -> None:
    images, _, archive = pair
    assert images.image(of_bytes(b"absent")) is None
    with pytest.raises(InvalidArgument):
        images.image("sha256:x")
    with pytest.raises(InvalidArgument):
        images.import_archive(tars.written(archive.with_name("b.tar"), b"no tar"), platform=PLATFORM)


def test_a_root_file_system_is_an_image_of_one_layer(pair: Pair) -> None:
    images, _, archive = pair
    source = tars.written(archive.with_name("root.tar"), LAYERS[0])
    image = images.import_rootfs(source, platform="linux/arm64")
    assert (image.platform, image.chain_id, len(image.layers)) == ("linux/arm64", of_bytes(LAYERS[0]), 1)
    assert images.import_rootfs(source, platform="linux/arm64").id == image.id
