"""The contract of volume drivers, held by folders, limited images and tmpfs, and by their twins in memory."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.volumes.fake import FakeStage, FakeVolumeHost, FakeVolumes
from drivers.volumes.interface import Stage, VolumeConfig, VolumeDriver, VolumeState
from drivers.volumes.local import LocalVolumes
from drivers.volumes.stage import BoundStage
from drivers.volumes.tmpfs import TmpfsVolumes
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, Unsupported

MIB = 1 << 20


class Subject:
    """A driver, the engine's next lives of it, and a way to look into volumes as a container does."""

    def __init__(self, make: Callable[[], VolumeDriver], stage: Stage, size: int | None, host: FakeVolumeHost | None):
        self._make = make
        self.driver = make()
        self.stage = stage
        self.size = size
        self._host = host

    def restart(self) -> None:
        self.driver = self._make()

    def config(self, claim: str = "default/data") -> VolumeConfig:
        return VolumeConfig(secrets.token_hex(16), claim, self.size)

    def made(self, claim: str = "default/data") -> VolumeConfig:
        config = self.config(claim)
        self.driver.create(config)
        return config

    def state(self, volume_id: str) -> VolumeState:
        found = self.driver.inspect(volume_id)
        assert found is not None
        return found

    def write(self, volume_id: str, name: str, content: bytes) -> None:
        path = self.state(volume_id).path
        if self._host:
            self._host.trees[path][name] = content
        else:
            (path / name).write_bytes(content)

    def read(self, volume_id: str) -> dict[str, bytes]:
        path = self.state(volume_id).path
        if self._host:
            return dict(self._host.trees[path])
        return {file.name: file.read_bytes() for file in path.iterdir()}


REAL = [pytest.param(name, marks=pytest.mark.host) for name in ("folder", "limited", "memory")]


@pytest.fixture(params=["fake-folder", "fake-limited", "fake-memory", *REAL])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    kind = request.param.removeprefix("fake-")
    size = None if kind == "folder" else 4 * MIB
    if kind != request.param:
        host = FakeVolumeHost()
        driver = "tmpfs" if kind == "memory" else "local"
        yield Subject(lambda: FakeVolumes(host, driver), FakeStage(host), size, host)
        return
    base: Path = request.getfixturevalue("short_path")
    driver_class = TmpfsVolumes if kind == "memory" else LocalVolumes
    made = Subject(lambda: driver_class(base / "s", base / "r"), BoundStage(base / "r"), size, None)
    yield made
    for task_id in made.stage.list():
        made.stage.unstage(task_id)
    for state in made.driver.list():
        made.driver.delete(state.id, data=True)
    made.driver.cleanup()
    assert made.driver.list() == []


def test_what_is_absent(subject: Subject) -> None:
    driver, volume_id = subject.driver, secrets.token_hex(16)
    assert driver.inspect(volume_id) is None
    assert driver.list() == []
    driver.delete(volume_id, data=True)
    driver.delete(volume_id, data=False)
    assert driver.cleanup() == 0
    for call in (driver.mount, driver.mark_populated):
        with pytest.raises(NotFound):
            call(volume_id)


def test_ids_are_checked(subject: Subject) -> None:
    driver = subject.driver
    calls: list[Callable[[str], object]] = [
        driver.inspect,
        driver.mount,
        driver.mark_populated,
        lambda volume_id: driver.create(VolumeConfig(volume_id, "default/x")),
        lambda volume_id: driver.validate(VolumeConfig(volume_id, "default/x")),
        lambda volume_id: driver.delete(volume_id, data=True),
    ]
    for name in ("", "../x", "data", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n", "0" * 31 + "/"):
        for call in calls:
            with pytest.raises(InvalidArgument):
                call(name)


def test_a_life(subject: Subject) -> None:
    config = subject.made()
    state = subject.state(config.id)
    assert (state.id, state.claim, state.size) == (config.id, "default/data", subject.size)
    assert (state.uid, state.gid, state.mode) == (0, 0, 0o755)
    assert state.mounted
    assert not state.populated
    assert not state.released
    assert subject.read(config.id) == {}
    subject.write(config.id, "file", b"content")
    subject.driver.create(config)
    subject.driver.mount(config.id)
    subject.driver.mark_populated(config.id)
    subject.driver.mark_populated(config.id)
    subject.restart()
    assert subject.state(config.id) == replace(state, populated=True)
    assert state.applied == config
    assert subject.read(config.id) == {"file": b"content"}
    assert subject.driver.list() == [subject.state(config.id)]
    subject.driver.delete(config.id, data=True)
    assert subject.driver.inspect(config.id) is None
    assert subject.driver.list() == []


def test_owner_and_mode_are_set_and_healed(subject: Subject) -> None:
    config = replace(subject.config(), uid=999, gid=998, mode=0o2750)
    subject.driver.create(config)
    state = subject.state(config.id)
    assert (state.uid, state.gid, state.mode) == (999, 998, 0o2750)
    subject.driver.create(replace(config, uid=None, gid=None, mode=None))
    assert subject.state(config.id) == replace(state, applied=replace(config, uid=None, gid=None, mode=None))
    subject.driver.create(replace(config, uid=7, mode=0o700))
    state = subject.state(config.id)
    assert (state.uid, state.gid, state.mode) == (7, 998, 0o700)


def test_retained_data_is_taken_back_by_its_claim(subject: Subject) -> None:
    old = subject.made()
    subject.write(old.id, "file", b"content")
    subject.driver.mark_populated(old.id)
    subject.driver.delete(old.id, data=False)
    subject.driver.delete(old.id, data=False)
    subject.restart()
    assert subject.state(old.id).released
    other = subject.made("default/other")
    assert subject.read(other.id) == {}
    new = subject.made()
    assert subject.driver.inspect(old.id) is None
    state = subject.state(new.id)
    assert state.populated
    assert state.mounted
    assert not state.released
    assert subject.read(new.id) == {"file": b"content"}
    assert sorted(s.id for s in subject.driver.list()) == sorted([other.id, new.id])


def test_the_data_released_last_is_taken_back(subject: Subject) -> None:
    first = subject.made("default/a")
    subject.write(first.id, "first", b"")
    second = subject.made("default/b")
    subject.write(second.id, "second", b"")
    subject.driver.delete(second.id, data=False)
    subject.driver.create(replace(first, claim="default/b"))
    subject.driver.delete(first.id, data=False)
    assert subject.read(subject.made("default/b").id) == {"first": b""}
    assert [s.released for s in subject.driver.list() if s.id == second.id] == [True]


def test_released_data_is_deleted_when_that_is_asked_for(subject: Subject) -> None:
    config = subject.made()
    subject.write(config.id, "file", b"content")
    subject.driver.delete(config.id, data=False)
    subject.driver.delete(config.id, data=True)
    assert subject.driver.list() == []
    assert subject.read(subject.made().id) == {}


def test_its_own_released_data_comes_back_too(subject: Subject) -> None:
    config = subject.made()
    subject.write(config.id, "file", b"content")
    subject.driver.delete(config.id, data=False)
    subject.driver.create(config)
    assert not subject.state(config.id).released
    assert subject.read(config.id) == {"file": b"content"}


def test_a_claim_is_held_by_one_live_volume(subject: Subject) -> None:
    config, other = subject.made(), subject.made("default/other")
    with pytest.raises(Conflict, match=config.id):
        subject.driver.create(subject.config())
    with pytest.raises(Conflict, match=config.id):
        subject.driver.create(replace(other, claim="default/data"))
    assert len(subject.driver.list()) == 2
    subject.driver.create(replace(other, claim="default/renamed"))
    assert subject.state(other.id).claim == "default/renamed"


def test_nothing_goes_while_a_task_has_it(subject: Subject) -> None:
    config, task_id = subject.made(), secrets.token_hex(32)
    subject.write(config.id, "file", b"content")
    subject.stage.stage(task_id, "m0", subject.state(config.id).path)
    for data in (False, True):
        with pytest.raises(FailedPrecondition, match=task_id[:12]):
            subject.driver.delete(config.id, data=data)
    assert subject.state(config.id).mounted
    assert not subject.state(config.id).released
    assert subject.read(config.id) == {"file": b"content"}
    subject.stage.unstage(task_id)
    subject.driver.delete(config.id, data=True)
    assert subject.driver.inspect(config.id) is None


def test_a_size_grows_and_nothing_else(subject: Subject) -> None:
    config = subject.made()
    subject.write(config.id, "file", b"content")
    larger = replace(config, size=8 * MIB)
    if config.size is None:
        with pytest.raises(Unsupported):
            subject.driver.create(larger)
        assert subject.state(config.id).size is None
        return
    subject.driver.create(larger)
    assert subject.state(config.id).size == 8 * MIB
    assert subject.read(config.id) == {"file": b"content"}
    if "tmpfs" not in str(type(subject.driver)).lower() and getattr(subject.driver, "driver", "local") == "local":
        with pytest.raises(Unsupported):
            subject.driver.create(config)
        assert subject.state(config.id).size == 8 * MIB


def test_listed_by_how_an_id_begins(subject: Subject) -> None:
    for volume_id, claim in (("a" * 32, "default/a"), ("a" * 16 + "b" * 16, "default/ab"), ("b" * 32, "default/b")):
        subject.driver.create(VolumeConfig(volume_id, claim, subject.size))
    assert {state.claim for state in subject.driver.list("a" * 16)} == {"default/a", "default/ab"}
    assert len(subject.driver.list()) == 3
    assert subject.driver.list("c") == []
