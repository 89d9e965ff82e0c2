"""The contract of copy-up and of populating from an archive, held on the disk and by the twins in memory."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.fake import FakeCopyUp, FakePopulator, FakeVolumeHost, FakeVolumes
from drivers.volumes.interface import CopyUp, Populator, VolumeConfig, VolumeDriver
from drivers.volumes.local import LocalVolumes
from drivers.volumes.populate import ArchivePopulator
from resources.errors import NotFound
from tests.unit.drivers.images import tars

CONTENT = {"a": b"1", "b": b""}


class Subject:
    """One volume, an image with a folder /data, and an archive of the same."""

    def __init__(
        self, volumes: VolumeDriver, copy_up: CopyUp, populator: Populator, host: FakeVolumeHost | None, at: Path
    ):
        self.copy_up = copy_up
        self.populator = populator
        self.image = at / "image"
        self.archive = at / "archive"
        self._host = host
        config = VolumeConfig(secrets.token_hex(16), "default/data")
        volumes.create(config)
        state = volumes.inspect(config.id)
        assert state is not None
        self.target = state.path
        if host:
            host.trees[self.image / "data"] = dict(CONTENT)
            host.trees[self.archive] = dict(CONTENT)
        else:
            (self.image / "data").mkdir(parents=True)
            for name, content in CONTENT.items():
                (self.image / "data" / name).write_bytes(content)
            entries = [tars.entry(name, content) for name, content in CONTENT.items()]
            self.archive.write_bytes(b"".join(entries) + tars.END)

    def read(self) -> Mapping[str, bytes]:
        if self._host:
            return self._host.trees[self.target]
        return {file.name: file.read_bytes() for file in self.target.iterdir()}

    def write(self, name: str, content: bytes) -> None:
        if self._host:
            self._host.trees[self.target][name] = content
        else:
            (self.target / name).write_bytes(content)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "fake":
        host = FakeVolumeHost()
        yield Subject(FakeVolumes(host), FakeCopyUp(host), FakePopulator(host), host, tmp_path)
    else:
        volumes = LocalVolumes(tmp_path / "s", tmp_path / "r")
        yield Subject(volumes, DescriptorCopyUp(), ArchivePopulator(), None, tmp_path)


def test_an_empty_volume_is_filled_once(subject: Subject) -> None:
    subject.copy_up.copy_up(subject.image, "/data", subject.target)
    assert subject.read() == CONTENT
    subject.write("a", b"changed")
    subject.copy_up.copy_up(subject.image, "/data", subject.target)
    subject.populator.extract(subject.archive, subject.target)
    assert subject.read() == {**CONTENT, "a": b"changed"}


def test_an_archive_fills_it_too(subject: Subject) -> None:
    told: list[int] = []
    subject.populator.extract(subject.archive, subject.target, progress=told.append)
    assert subject.read() == CONTENT
    assert told[-1] > 0
    subject.write("a", b"changed")
    subject.populator.extract(subject.archive, subject.target)
    assert subject.read() == {**CONTENT, "a": b"changed"}


def test_what_is_not_there(subject: Subject) -> None:
    subject.copy_up.copy_up(subject.image, "/none", subject.target)
    assert subject.read() == {}
    with pytest.raises(NotFound):
        subject.populator.extract(subject.archive.with_name("none"), subject.target)
    assert subject.read() == {}
