"""Projected files on a real tmpfs: what readers see while they change, and what a kill leaves."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.kernel.mount import mounts, unmount
from drivers.volumes.projector import TmpfsProjector
from drivers.volumes.stage import BoundStage
from tests.integration.drivers.volumes.kills import at_every_step

pytestmark = pytest.mark.host
ID = "0" * 32
WAYS = pytest.mark.parametrize("in_place", [False, True])


@pytest.fixture
def projector(short_path: Path) -> Iterator[TmpfsProjector]:
    made = TmpfsProjector(short_path / "r")
    yield made
    for name in made.list():
        made.delete(name)


def project(
    projector: TmpfsProjector, version: str, files: dict[str, bytes], in_place: bool = False, mode: int = 0o440
) -> None:
    projector.project(ID, version, files, mode=mode, uid=101, gid=102, in_place=in_place)


@WAYS
def test_files_are_in_memory_and_for_their_reader_alone(
    projector: TmpfsProjector, short_path: Path, in_place: bool
) -> None:
    project(projector, "1", {"key": b"secret"}, in_place)
    [entry] = [m for m in mounts() if m.target.startswith(str(short_path))]
    assert entry.type == "tmpfs"
    assert {"nosuid", "nodev", "noexec"} <= set(entry.options)
    assert entry.optional == ()
    assert {"mode=700", "noswap"} <= set(entry.super_options)
    status = projector.path(ID, "key").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o440, 101, 102)
    assert projector.path(ID).stat().st_mode & 0o7777 == 0o755
    project(projector, "1", {"key": b"secret"}, in_place, mode=0o400)
    assert projector.path(ID, "key").stat().st_mode & 0o7777 == 0o400
    projector.delete(ID)
    assert not [m for m in mounts() if m.target.startswith(str(short_path))]
    assert not (short_path / "r/projected").exists()


def test_a_kernel_without_noswap(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = TmpfsProjector(short_path / "r")
    monkeypatch.setattr(made._root, "_preferred", ("nosuchoption",))
    project(made, "1", {"key": b"x"})
    assert made.intact(ID, {"key": b"x"})
    made.delete(ID)


@WAYS
def test_the_same_again_writes_nothing(projector: TmpfsProjector, in_place: bool) -> None:
    files = {"a": b"1", "b": b"2"}
    project(projector, "1", files, in_place)
    before = [p.lstat().st_ctime_ns for p in sorted(projector.path(ID).rglob("*"))]
    project(projector, "1", files, in_place)
    assert [p.lstat().st_ctime_ns for p in sorted(projector.path(ID).rglob("*"))] == before


def test_a_single_bound_file_shows_the_new_content(projector: TmpfsProjector, short_path: Path) -> None:
    stage, task_id = BoundStage(short_path / "r"), "1" * 64
    project(projector, "1", {"key": b"old and longer", "other": b"x"}, in_place=True)
    bound = stage.stage(task_id, "m0", projector.path(ID, "key"))
    inode = bound.stat().st_ino
    with bound.open("rb") as held:
        for content in (b"new", b"", b"newer" * 10_000, b"n"):
            project(projector, str(len(content)), {"key": content, "other": b"x"}, in_place=True)
            assert bound.read_bytes() == content
            assert bound.stat().st_ino == inode
            held.seek(0)
            assert held.read() == content
    stage.unstage(task_id)


def test_a_bound_folder_shows_the_new_set(projector: TmpfsProjector, short_path: Path) -> None:
    stage, task_id = BoundStage(short_path / "r"), "1" * 64
    project(projector, "1", {"a": b"1"})
    bound = stage.stage(task_id, "m0", projector.path(ID))
    for number in range(3):
        project(projector, f"v{number}", {"a": b"2", f"b{number}": b"3"})
        assert sorted(name for name in os.listdir(bound) if name[0] != ".") == ["a", f"b{number}"]
        assert (bound / f"b{number}").read_bytes() == b"3"
    stage.unstage(task_id)


@WAYS
def test_whatever_is_put_in_the_way_is_seen_and_healed(
    projector: TmpfsProjector, tmp_path: Path, in_place: bool
) -> None:
    files = {"a": b"1", "b": b"2"}
    folder, decoy = projector.path(ID), tmp_path / "decoy"
    decoy.write_bytes(b"1")
    damages: list[Callable[[Path], object]] = [
        lambda key: key.mkdir(),
        lambda key: key.symlink_to(decoy),
        lambda key: os.mkfifo(key),
        lambda _: (folder / "extra/deeper").mkdir(parents=True),
        lambda _: shutil.rmtree(folder),
        lambda _: unmount(folder.parent),
    ]
    project(projector, "1", files, in_place)
    for damage in damages:
        (folder / "a").unlink()
        damage(folder / "a")
        assert not projector.intact(ID, files)
        project(projector, "1", files, in_place)
        assert projector.intact(ID, files)
    assert decoy.stat().st_uid == 0


@settings(max_examples=20, deadline=None)
@given(
    sets=st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3000), min_size=1), min_size=2, max_size=6)
)
def test_readers_never_see_a_mixture(sets: list[dict[str, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    projector = TmpfsProjector(tmp_path_factory.getbasetemp() / "r")
    versions = [{key: bytes([number]) * size for key, size in one.items()} for number, one in enumerate(sets)]
    mixtures: list[object] = []
    done = threading.Event()
    folder = projector.path(ID)

    def read() -> None:
        while not done.is_set():
            try:
                current = os.open(folder / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                names = os.listdir(current)
                seen = {}
                for name in names:
                    fd = os.open(name, os.O_RDONLY, dir_fd=current)
                    with open(fd, "rb") as file:
                        seen[name] = file.read()
            except FileNotFoundError:
                continue  # replaced while it was read: who reads again sees the new one
            finally:
                os.close(current)
            if seen not in versions and seen:
                mixtures.append(seen)

    project(projector, "0", versions[0])
    thread = threading.Thread(target=read)
    thread.start()
    try:
        for turn in range(3 * len(versions)):
            number = turn % len(versions)
            project(projector, f"v{number}", versions[number])
            assert projector.intact(ID, versions[number])
            for key, content in versions[number].items():
                assert projector.path(ID, key).read_bytes() == content
    finally:
        done.set()
        thread.join()
        projector.delete(ID)
    assert not mixtures


@WAYS
def test_killed_while_it_changes(short_path: Path, in_place: bool) -> None:
    old, new = {"a": b"1", "b": b"2"}, {"b": b"3", "c": b"4"}

    def again() -> TmpfsProjector:
        return TmpfsProjector(short_path / "r")

    def after() -> None:
        made = again()
        version = made.version(ID)
        if not in_place:
            assert version in ("1", "2")
            seen = {p.name: p.read_bytes() for p in (made.path(ID) / "..data").iterdir()}
            assert seen == (old if version == "1" else new)
        elif version == "2":
            assert made.intact(ID, new)
        project(made, "2", new, in_place)
        assert made.version(ID) == "2"
        assert made.intact(ID, new)
        made.delete(ID)
        assert list(made.list()) == []

    def before() -> None:
        project(again(), "1", old, in_place)

    assert at_every_step(before, lambda: project(again(), "2", new, in_place), after) > 6

    def made() -> None:
        project(again(), "2", new, in_place)
        assert again().intact(ID, new)
        again().delete(ID)

    assert at_every_step(lambda: None, lambda: project(again(), "2", new, in_place), made) > 6
    assert not [m for m in mounts() if m.target.startswith(str(short_path))]
