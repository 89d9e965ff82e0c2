"""What is saved is loaded again as it was, and reads no more of the content than it passes on."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.images.saving import Named, archive
from drivers.images.store import ImageDriver
from drivers.images.streams import CHUNK
from drivers.snapshots.fake import FakeSnapshotter
from resources.errors import DataLoss, NotFound
from tests.unit.drivers.images import tars

PLATFORM = "linux/amd64"
NAMES = ("docker.io/library/shop:1", "registry.local:5000/shop:stable")


@pytest.fixture
def images(tmp_path: Path) -> ImageDriver:
    return ImageDriver(tmp_path / "content", FakeSnapshotter())


@pytest.fixture
def named(images: ImageDriver, tmp_path: Path) -> Named:
    layers = [tars.entry(name, data) + tars.END for name, data in (("a", b"a" * 3_000_000), ("b", b"b"))]
    source = tars.written(tmp_path / "in.tar", tars.oci_archive(layers))
    [image] = images.import_archive(source, platform=PLATFORM)
    return Named(image, NAMES)


def members(data: bytes) -> dict[str, bytes]:
    """Read by somebody else's reader."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        for member in opened:
            file = opened.extractfile(member)
            if file is not None:
                assert member.name not in found
                found[member.name] = file.read()
    return found


@pytest.mark.parametrize("docker", [True, False])
def test_it_is_loaded_as_it_was(images: ImageDriver, named: Named, tmp_path: Path, docker: bool) -> None:
    path = tars.written(tmp_path / "out.tar", b"".join(archive([named], images.content(), docker=docker)))
    fresh = ImageDriver(tmp_path / "fresh", FakeSnapshotter())
    [again] = fresh.import_archive(path, platform=PLATFORM)
    assert again == named.image
    assert again.names_in == NAMES


def test_docker_finds_config_layers_and_names(images: ImageDriver, named: Named) -> None:
    with_digest = replace(named, names=(*NAMES, f"docker.io/library/shop@{named.image.id}"))
    found = members(b"".join(archive([with_digest], images.content(), docker=True)))
    [entry] = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == list(NAMES)
    config: dict[str, Any] = json.loads(found[entry["Config"]])
    assert len(entry["Layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert set(entry["Layers"]) <= set(found)


def test_what_two_images_share_is_there_once(images: ImageDriver, named: Named) -> None:
    twice = [named, Named(named.image, ("docker.io/library/other:1",))]
    found = members(b"".join(archive(twice, images.content(), docker=False)))
    assert "manifest.json" not in found
    listed = json.loads(found["index.json"])["manifests"]
    assert [one["annotations"]["org.opencontainers.image.ref.name"] for one in listed] == [
        *NAMES,
        "docker.io/library/other:1",
    ]


def test_no_piece_is_larger_than_a_read(images: ImageDriver, named: Named) -> None:
    assert max(len(piece) for piece in archive([named], images.content(), docker=True)) <= CHUNK


def test_missing_content_is_said_before_anything_is_written(images: ImageDriver, named: Named) -> None:
    images.content().delete(named.image.layers[1].digest)
    with pytest.raises(NotFound, match="is not here"):
        archive([named], images.content(), docker=True)


def test_content_that_got_shorter_is_no_archive(images: ImageDriver, named: Named, tmp_path: Path) -> None:
    blob = tmp_path / "content" / "blobs" / named.image.layers[0].digest.replace(":", "/")
    pieces = archive([named], images.content(), docker=True)
    blob.chmod(0o600)
    blob.write_bytes(b"short")
    with pytest.raises(DataLoss, match="cut short"):
        b"".join(pieces)
