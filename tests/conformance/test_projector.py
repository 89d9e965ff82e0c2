"""The contract of projected files, held on a tmpfs and by the twin in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.volumes.fake import FakeProjector, FakeVolumeHost
from drivers.volumes.interface import Projector
from drivers.volumes.projector import TmpfsProjector
from resources.errors import Conflict, InvalidArgument

ID = "0" * 32 + ".m1"
FILES = {"tls.crt": b"certificate", "tls.key": b"\0key", "empty": b""}
WAYS = pytest.mark.parametrize("in_place", [False, True])


class Subject:
    def __init__(self, base: Path | None) -> None:
        self._base = base
        self._host = FakeVolumeHost()
        self.projector = self.again()

    def again(self) -> Projector:
        return TmpfsProjector(self._base) if self._base else FakeProjector(self._host)

    def project(self, version: str, files: dict[str, bytes], in_place: bool) -> None:
        self.projector.project(ID, version, files, mode=0o400, uid=101, gid=102, in_place=in_place)

    def scribble(self, key: str, content: bytes | None) -> None:
        if isinstance(self.projector, FakeProjector):
            self.projector.scribble(ID, key, content)
        elif content is None:
            self.projector.path(ID, key).unlink()
        else:
            self.projector.path(ID, key).write_bytes(content)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    made = Subject(request.getfixturevalue("short_path") if request.param == "real" else None)
    yield made
    for projection_id in made.projector.list():
        made.projector.delete(projection_id)
    assert list(made.projector.list()) == []


@WAYS
def test_a_life(subject: Subject, in_place: bool) -> None:
    projector = subject.projector
    assert projector.version(ID) is None
    assert not projector.intact(ID, FILES)
    assert not projector.intact(ID, {})
    assert list(projector.list()) == []
    projector.delete(ID)
    subject.project("sha256:1", FILES, in_place)
    subject.project("sha256:1", FILES, in_place)
    again = subject.again()
    assert again.version(ID) == "sha256:1"
    assert again.intact(ID, FILES)
    assert list(again.list()) == [ID]
    assert projector.path(ID, "tls.crt").parent == projector.path(ID)
    changed = {"tls.crt": b"another", "more": b"x" * 100_000}
    subject.project("sha256:2", changed, in_place)
    assert projector.version(ID) == "sha256:2"
    assert projector.intact(ID, changed)
    assert not projector.intact(ID, FILES)
    subject.project("sha256:3", {}, in_place)
    assert projector.intact(ID, {})
    projector.delete(ID)
    assert projector.version(ID) is None
    assert list(projector.list()) == []


@WAYS
def test_what_others_alter_is_seen_and_healed(subject: Subject, in_place: bool) -> None:
    subject.project("1", FILES, in_place)
    for content in (None, b"", b"scribbled", b"certificatE"):
        subject.scribble("tls.crt", content)
        assert not subject.projector.intact(ID, FILES)
        assert subject.projector.version(ID) == "1"
        subject.project("1", FILES, in_place)
        assert subject.projector.intact(ID, FILES)
        assert subject.projector.version(ID) == "1"


def test_it_stays_what_it_was_made_as(subject: Subject) -> None:
    subject.project("1", FILES, False)
    with pytest.raises(Conflict):
        subject.project("2", FILES, True)
    subject.projector.delete(ID)
    subject.project("1", FILES, True)
    with pytest.raises(Conflict):
        subject.project("2", FILES, False)
    assert subject.projector.intact(ID, FILES)


def test_names_are_checked(subject: Subject) -> None:
    projector = subject.projector
    options = {"mode": 0o400, "uid": 0, "gid": 0}
    calls: list[Callable[[str], object]] = [
        projector.version,
        projector.path,
        projector.delete,
        lambda name: projector.intact(name, {}),
        lambda name: projector.path(ID, name),
        lambda name: projector.project(name, "1", {}, **options),
        lambda name: projector.project(ID, name, {}, **options),
        lambda name: projector.project(ID, "1", {name: b""}, **options),
    ]
    for name in ("", ".", "..", "a/b", "..data", "/etc/passwd", "a\n", "x" * 300):
        for call in calls:
            with pytest.raises(InvalidArgument):
                call(name)
    assert list(projector.list()) == []
