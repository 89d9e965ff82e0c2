"""The contract of staged binds, held on the kernel and by the twin in memory."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.volumes.fake import FakeStage, FakeVolumeHost
from drivers.volumes.interface import Stage
from drivers.volumes.stage import BoundStage
from resources.errors import FailedPrecondition, InvalidArgument


class Subject:
    def __init__(self, base: Path | None, sources: Path) -> None:
        self._base = base
        self._host = FakeVolumeHost(missing={sources / "absent"})
        self.sources = sources
        self.stage = self.again()

    def again(self) -> Stage:
        return BoundStage(self._base) if self._base else FakeStage(self._host)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content")
    made = Subject(request.getfixturevalue("short_path") if request.param == "real" else None, tmp_path)
    yield made
    for task_id in made.stage.list():
        made.stage.unstage(task_id)
    assert made.stage.list() == []


def test_a_life(subject: Subject) -> None:
    stage, task_id, other = subject.stage, secrets.token_hex(32), secrets.token_hex(32)
    assert stage.list() == []
    stage.unstage(task_id)
    folder = stage.stage(task_id, "m0", subject.sources / "folder")
    file = stage.stage(task_id, "m1", subject.sources / "file")
    assert (folder.name, file.name, folder.parent) == ("m0", "m1", file.parent)
    assert folder.parent.name == task_id
    assert stage.stage(task_id, "m0", subject.sources / "folder") == folder
    stage.stage(other, "m0", subject.sources / "folder", "inner/most")
    assert sorted(subject.again().list()) == sorted([task_id, other])
    stage.unstage(task_id)
    stage.unstage(task_id)
    assert stage.list() == [other]


def test_what_is_missing(subject: Subject) -> None:
    task_id, absent = secrets.token_hex(32), subject.sources / "absent"
    with pytest.raises(FailedPrecondition, match="absent"):
        subject.stage.stage(task_id, "m0", absent)
    assert subject.stage.list() == []
    subject.stage.stage(task_id, "m0", absent, create=True)
    assert subject.stage.list() == [task_id]


def test_what_is_inside_does_not_lead_out(subject: Subject) -> None:
    for inner in ("..", "a/../../b", "/etc", "a/.."):
        with pytest.raises(InvalidArgument):
            subject.stage.stage(secrets.token_hex(32), "m0", subject.sources / "folder", inner)
    with pytest.raises(InvalidArgument):
        subject.stage.stage(secrets.token_hex(32), "m0", Path("folder"), "a")
    assert subject.stage.list() == []


def test_names_are_checked(subject: Subject) -> None:
    source = subject.sources / "folder"
    for name in ("", "..", "a/b", "A" * 64, "0" * 64 + "\n", "0" * 63 + "/"):
        with pytest.raises(InvalidArgument):
            subject.stage.unstage(name)
        with pytest.raises(InvalidArgument):
            subject.stage.stage(name, "m0", source)
        with pytest.raises(InvalidArgument):
            subject.stage.stage("0" * 64, name, source)
