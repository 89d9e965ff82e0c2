"""The contract of mounted root file systems, held on the kernel and by the twin in memory."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.snapshots.fake import FakeRootFilesystems
from drivers.snapshots.interface import Mount, RootFilesystems
from drivers.snapshots.rootfs import MountedRootFilesystems
from resources.errors import InvalidArgument

MOUNTS = [Mount("tmpfs", "tmpfs", ("size=64k",))]


class Subject:
    def __init__(self, base: Path | None) -> None:
        self._base = base
        self._host: dict[str, tuple[Mount, ...]] = {}
        self.roots = self.again()

    def again(self) -> RootFilesystems:
        return MountedRootFilesystems(self._base) if self._base else FakeRootFilesystems(self._host)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.host)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    made = Subject(request.getfixturevalue("short_path") if request.param == "real" else None)
    yield made
    made.roots.cleanup([])
    assert made.roots.mounted() == frozenset()


def test_a_life(subject: Subject) -> None:
    roots, name = subject.roots, secrets.token_hex(32)
    assert roots.mounted() == frozenset()
    roots.unmount(name)
    assert roots.mount(name, MOUNTS) == roots.path(name)
    assert roots.path(name).name == name
    assert roots.mounted() == {name}
    assert roots.mount(name, MOUNTS) == roots.path(name)
    assert subject.again().mounted() == {name}
    roots.unmount(name)
    roots.unmount(name)
    assert roots.mounted() == frozenset()


def test_an_image_beside_a_root(subject: Subject) -> None:
    task_id = secrets.token_hex(32)
    for name in (task_id, f"{task_id}.m3"):
        subject.roots.mount(name, MOUNTS)
    assert subject.roots.mounted() == {task_id, f"{task_id}.m3"}
    subject.roots.unmount(task_id)
    assert subject.roots.mounted() == {f"{task_id}.m3"}


def test_cleanup_takes_what_is_not_known(subject: Subject) -> None:
    names = [secrets.token_hex(32) for _ in range(3)]
    for name in names:
        subject.roots.mount(name, MOUNTS)
    assert subject.again().cleanup([names[1], secrets.token_hex(32)]) == 2
    assert subject.roots.mounted() == {names[1]}
    assert subject.roots.cleanup([names[1]]) == 0


def test_names_are_checked(subject: Subject) -> None:
    for name in ("", "x", "../" + "0" * 61, "0" * 64 + ".", "0" * 64 + "./..", "0" * 64 + "\n", "F" * 64):
        for call in (subject.roots.path, subject.roots.unmount, lambda n: subject.roots.mount(n, MOUNTS)):
            with pytest.raises(InvalidArgument):
                call(name)


def test_nothing_to_mount(subject: Subject) -> None:
    with pytest.raises(InvalidArgument):
        subject.roots.mount(secrets.token_hex(32), [])
