"""Manifests and indexes that are refused, what is fetched of those that are not, and what is not asked for at all."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.images.store import ImageDriver
from drivers.snapshots.fake import FakeSnapshotter
from resources.errors import DataLoss, EngineError, InvalidArgument, Unsupported
from tests import fake_registry, registry_faults
from tests.fake_registry import FakeRegistry, Published
from tests.integration.drivers.images.pulls import Puller

BLOBS = "GET .*/blobs/"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def published(registry: FakeRegistry) -> Published:
    return registry.publish("team/app:1", [b"one" * 1000, b"two" * 1000], platforms=["linux/amd64", "linux/arm64"])


def name(registry: FakeRegistry) -> str:
    return f"{registry.host}/team/app:1"


def test_formats_and_platforms_that_are_refused(registry: FakeRegistry, puller: Puller) -> None:
    published(registry)
    with pytest.raises(InvalidArgument, match="linux/amd64, linux/arm64"):
        puller.pull(name(registry), platform="linux/s390x")
    registry.publish("team/app:single", [b"x"], platforms=["linux/arm64"])
    with pytest.raises(InvalidArgument, match="linux/arm64"):
        puller.pull(f"{registry.host}/team/app:single")
    registry.put_manifest(
        "old", "1", b'{"schemaVersion": 1, "fsLayers": []}', "application/vnd.docker.distribution.manifest.v1+json"
    )
    with pytest.raises(Unsupported, match="2016"):
        puller.pull(f"{registry.host}/old:1")
    registry.put_manifest(
        "art",
        "2",
        b'{"schemaVersion": 2, "config": {"mediaType": "text/x", "size": 1, "digest": "sha256:'
        + b"0" * 64
        + b'"}, "layers": []}',
    )
    with pytest.raises(InvalidArgument, match="artifact"):
        puller.pull(f"{registry.host}/art:2")


@pytest.mark.parametrize(
    "changes",
    [
        {"manifests": []},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:../../x", "size": 1}]},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha512:" + "0" * 128, "size": 1}]},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:" + "0" * 64, "size": -1}]},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:" + "0" * 64, "size": 1.0}]},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:" + "0" * 64, "size": True}]},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:" + "0" * 64, "size": 1}] * 1001},
        {"layers": []},
        {"layers": [{"mediaType": fake_registry.LAYER, "digest": "sha256:" + "0" * 64, "size": n} for n in (1, 2)]},
        {"layers": [{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 5,
                     "digest": "sha256:" + "0" * 64, "urls": ["http://169.254.169.254/x"]}]},
        {"config": {"mediaType": fake_registry.CONFIG, "digest": "sha256:" + "0" * 64, "size": 9 << 20}},
    ],
)  # fmt: skip
def test_manifests_that_are_refused(registry: FakeRegistry, puller: Puller, changes: dict[str, object]) -> None:
    registry.publish("team/app:1", [b"layer"], manifest=changes)
    with pytest.raises(InvalidArgument):
        puller.pull(name(registry))
    assert puller.check_blobs() <= 1
    assert not registry.asked("blobs/sha256:0")
    puller.images.abandon(name(registry))
    assert puller.leftovers() == []


def test_layers_are_never_fetched_from_their_urls(registry: FakeRegistry, puller: Puller) -> None:
    """MAN-04: what a layer says of where else it might be had is not followed."""
    with FakeRegistry() as other:
        layer = fake_registry.described(b"layer", fake_registry.LAYER) | {"urls": [f"{other.url}/layer"]}
        registry.publish("team/app:1", [b"layer"], manifest={"layers": [layer]})
        puller.pull(name(registry))
        assert other.requests == []


def test_indexes_in_indexes(registry: FakeRegistry, puller: Puller) -> None:
    image = published(registry)
    kind, raw = registry.manifests[("team/app", "1")]
    entry = fake_registry.described(raw, kind)
    for depth, works in ((2, True), (3, True), (4, False), (50, False)):
        nested = raw
        for _ in range(depth - 1):
            entry = fake_registry.described(nested, fake_registry.INDEX)
            nested = json.dumps({"schemaVersion": 2, "mediaType": fake_registry.INDEX, "manifests": [entry]}).encode()
            registry.put_manifest("team/app", f"deep{depth}", nested, fake_registry.INDEX)
        if works:
            assert puller.pull(f"{registry.host}/team/app:deep{depth}").id == image.id
        else:
            with pytest.raises(InvalidArgument, match="nested"):
                puller.pull(f"{registry.host}/team/app:deep{depth}")
    empty = [json.dumps({"schemaVersion": 2, "mediaType": fake_registry.INDEX, "manifests": [], "x": i}).encode()
             for i in range(100)]  # fmt: skip
    for one in empty:
        registry.put_manifest("team/app", "e", one, fake_registry.INDEX)
    entries = [fake_registry.described(one, fake_registry.INDEX) for one in empty]
    wide = json.dumps({"schemaVersion": 2, "mediaType": fake_registry.INDEX, "manifests": entries}).encode()
    registry.put_manifest("team/app", "wide", wide, fake_registry.INDEX)
    before = len(registry.requests)
    with pytest.raises(InvalidArgument, match="indexes"):
        puller.pull(f"{registry.host}/team/app:wide")
    assert len(registry.requests) - before < 20


def test_an_index_that_names_no_platform_is_not_looked_through_without_end(
    registry: FakeRegistry, puller: Puller
) -> None:
    made = [registry.publish("team/app:x", [], platforms=["linux/s390x"], config={"User": str(i)}) for i in range(200)]
    entries = [fake_registry.described(one.manifest, fake_registry.MANIFEST) for one in made]
    wide = json.dumps({"schemaVersion": 2, "mediaType": fake_registry.INDEX, "manifests": entries}).encode()
    registry.put_manifest("team/app", "wide", wide, fake_registry.INDEX)
    with pytest.raises(InvalidArgument, match="no image for"):
        puller.pull(f"{registry.host}/team/app:wide")
    assert len(registry.requests) < 40


def test_no_room_is_told_before_it_is_filled(
    registry: FakeRegistry, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(registry)
    real = os.statvfs(puller.base)

    def little(path: object) -> object:
        return type("S", (), {"f_bavail": 100, "f_frsize": 1, "f_blocks": real.f_blocks})()

    monkeypatch.setattr(os, "statvfs", little)
    with pytest.raises(EngineError, match="100 are free") as caught:
        puller.pull(name(registry))
    assert caught.value.reason == "ResourceExhausted"
    assert registry.asked(BLOBS) == registry.asked("blobs/.*")[:1]


@pytest.mark.parametrize("code", [400, 405, 501])
def test_a_registry_that_does_not_know_head(registry: FakeRegistry, puller: Puller, code: int) -> None:
    image = published(registry)
    registry.fault("HEAD ", registry_faults.status(code), times=9)
    assert puller.images.resolve(name(registry)).digest == image.target
    registry.fault("GET ", registry_faults.headers(Docker_Content_Digest="sha256:" + "0" * 64), times=9)
    with pytest.raises(DataLoss):
        puller.images.resolve(name(registry))


def test_what_is_here_is_not_asked_for(registry: FakeRegistry, puller: Puller) -> None:
    image = published(registry)
    puller.pull(name(registry))
    before = len(registry.requests)
    again = puller.pull(f"{registry.host}/team/app@{image.id}")
    assert (again.id, again.resolved) == (image.id, image.id)
    assert len(registry.requests) == before
    assert puller.pull(name(registry)).id == image.id
    assert [one.method + one.path for one in registry.requests[before:]] == [
        "GET/v2/team/app/manifests/1",
        f"GET/v2/team/app/manifests/{image.id}",
    ]


def test_without_registries(tmp_path: Path) -> None:
    images = ImageDriver(tmp_path / "c", FakeSnapshotter(tmp_path / "s"))
    with pytest.raises(Unsupported):
        images.pull("x", platform="linux/amd64")
    with pytest.raises(Unsupported):
        images.resolve("x")
