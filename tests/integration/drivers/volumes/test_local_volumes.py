"""Volumes on the disk, with and without a size, against what hosts and containers do to them."""

import errno
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.kernel.mount import mounts, unmount
from drivers.volumes import image
from drivers.volumes.interface import VolumeConfig, VolumeState
from drivers.volumes.local import LocalVolumes
from resources.errors import DataLoss, FailedPrecondition, Unsupported
from tests.integration.drivers.volumes.kills import at_every_step

pytestmark = pytest.mark.host
MIB = 1 << 20
PLAIN = VolumeConfig("1" * 32, "default/data", uid=7)
LIMITED = replace(PLAIN, size=4 * MIB)
BOTH = pytest.mark.parametrize("config", [PLAIN, LIMITED], ids=["folder", "limited"])


@pytest.fixture
def volumes(short_path: Path) -> Iterator[LocalVolumes]:
    driver = LocalVolumes(short_path / "s", short_path / "r")
    yield driver
    emptied(driver)


def emptied(driver: LocalVolumes) -> None:
    for state in driver.list():
        driver.delete(state.id, data=True)
    driver.cleanup()


def state_of(driver: LocalVolumes, volume_id: str) -> VolumeState:
    found = driver.inspect(volume_id)
    assert found is not None
    return found


def loops_of(base: Path) -> list[str]:
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            text = file.read_text()
        except OSError:
            continue
        if str(base) in text:
            found.append(text.strip())
    return found


def test_a_size_is_held_to(volumes: LocalVolumes) -> None:
    volumes.create(LIMITED)
    path = state_of(volumes, LIMITED.id).path
    with pytest.raises(OSError) as caught, (path / "large").open("wb", buffering=MIB) as file:
        file.writelines([bytes(MIB)] * 5)
    assert caught.value.errno == errno.ENOSPC
    assert MIB < (path / "large").stat().st_size <= 4 * MIB
    assert os.listdir(path) == ["large"]


def test_the_mount_is_private_and_has_no_devices_and_no_setuid(volumes: LocalVolumes, short_path: Path) -> None:
    volumes.create(LIMITED)
    point = state_of(volumes, LIMITED.id).path.parent
    [entry] = [m for m in mounts() if m.target == str(point)]
    assert {"nosuid", "nodev"} <= set(entry.options)
    assert entry.optional == ()
    volumes.delete(LIMITED.id, data=True)
    assert not [m for m in mounts() if m.target.startswith(str(short_path))]


def test_what_others_unmount_is_mounted_again_with_the_same_data(volumes: LocalVolumes, short_path: Path) -> None:
    volumes.create(LIMITED)
    volumes.mark_populated(LIMITED.id)
    path = state_of(volumes, LIMITED.id).path
    (path / "file").write_text("content")
    unmount(path.parent)
    state = state_of(volumes, LIMITED.id)
    assert not state.mounted
    assert state.populated
    assert (state.uid, state.mode) == (7, 0o755)
    assert not path.exists()
    volumes.mount(LIMITED.id)
    assert (path / "file").read_text() == "content"
    assert state_of(volumes, LIMITED.id).mounted


def test_one_file_system_never_gets_two_devices(volumes: LocalVolumes, short_path: Path) -> None:
    """A container goes on with the old mount when the host's is taken away."""
    volumes.create(LIMITED)
    path = state_of(volumes, LIMITED.id).path
    with (path / "file").open("w") as held:
        unmount(path.parent)
        assert len(loops_of(short_path)) == 1
        volumes.mount(LIMITED.id)
        assert len(loops_of(short_path)) == 1
        held.write("written by the old one")
        held.flush()
        assert (path / "file").read_text() == "written by the old one"
    with (path / "file").open(), pytest.raises(FailedPrecondition, match="busy"):
        volumes.delete(LIMITED.id, data=True)
    volumes.delete(LIMITED.id, data=True)
    assert loops_of(short_path) == []


def test_growing_waits_for_whoever_holds_it(volumes: LocalVolumes) -> None:
    volumes.create(LIMITED)
    path = state_of(volumes, LIMITED.id).path
    larger = replace(LIMITED, size=8 * MIB)
    container = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "echo ready; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert container.stdin
    assert container.stdout
    assert container.stdout.readline() == b"ready\n"
    try:
        volumes.create(larger)
    except FailedPrecondition:
        assert state_of(volumes, LIMITED.id).size == 4 * MIB  # online growth is not allowed everywhere
    assert state_of(volumes, LIMITED.id).mounted
    container.communicate(b"\n")
    volumes.create(larger)
    (path / "large").write_bytes(bytes(6 * MIB))
    assert state_of(volumes, LIMITED.id).size == 8 * MIB


def test_where_a_size_cannot_be_held_to(volumes: LocalVolumes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsupported, match="no room"):
        volumes.validate(replace(LIMITED, size=4096))
    monkeypatch.setattr(image, "_PATH", "/nonexistent")
    for call in (volumes.validate, volumes.create):
        with pytest.raises(Unsupported, match=r"mkfs\.ext4") as caught:
            call(LIMITED)
        assert "e2fsprogs" in caught.value.hint
    volumes.validate(PLAIN)
    assert volumes.list() == []
    monkeypatch.undo()
    monkeypatch.setattr("drivers.kernel.loop._CONTROL", Path("/nonexistent/loop-control"))
    with pytest.raises(Unsupported, match="loop devices"):
        volumes.validate(LIMITED)


@BOTH
def test_data_that_is_gone_is_never_made_up(volumes: LocalVolumes, short_path: Path, config: VolumeConfig) -> None:
    volumes.create(config)
    state = state_of(volumes, config.id)
    folder = short_path / "s/volumes" / config.id
    if config.size is None:
        shutil.rmtree(state.path)
    else:
        unmount(state.path.parent)
        (folder / "image").unlink()
    assert not state_of(volumes, config.id).mounted
    for call in (lambda: volumes.mount(config.id), lambda: volumes.create(config)):
        with pytest.raises(DataLoss, match="gone"):
            call()
    volumes.delete(config.id, data=True)
    volumes.create(config)
    assert os.listdir(state_of(volumes, config.id).path) == []


def test_a_damaged_record_is_reported_and_left(volumes: LocalVolumes, short_path: Path) -> None:
    volumes.create(PLAIN)
    path = state_of(volumes, PLAIN.id).path
    (path / "file").write_text("content")
    record = path.parent / "volume.json"
    good = record.read_bytes()
    for bad in (b"", b"{", b"[]", b'{"version": 1}', b'{"version": 9}', good[:-20]):
        record.write_bytes(bad)
        for call in (lambda: volumes.inspect(PLAIN.id), volumes.list, lambda: volumes.create(PLAIN)):
            with pytest.raises(DataLoss, match="damaged"):
                call()
        volumes.cleanup()
        assert (path / "file").read_text() == "content"
    record.write_bytes(good)
    assert state_of(volumes, PLAIN.id).mounted


@BOTH
def test_a_container_that_has_it_is_found(volumes: LocalVolumes, short_path: Path, config: VolumeConfig) -> None:
    volumes.create(config)
    (short_path / "root").mkdir()
    script = f"mount --bind {state_of(volumes, config.id).path} {short_path}/root && echo ready && read line"
    container = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert container.stdout
    assert container.stdout.readline() == b"ready\n"
    for data in (True, False):
        with pytest.raises(FailedPrecondition, match=str(container.pid)):
            volumes.delete(config.id, data=data)
    assert state_of(volumes, config.id).mounted
    container.communicate(b"\n")
    volumes.delete(config.id, data=True)


def test_a_copy_of_all_the_hosts_mounts_is_no_use(volumes: LocalVolumes) -> None:
    """As services with a private /tmp have it: they would hold every volume for ever."""
    volumes.create(LIMITED)
    service = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "echo ready; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert service.stdout
    assert service.stdout.readline() == b"ready\n"
    volumes.delete(LIMITED.id, data=True)
    assert volumes.inspect(LIMITED.id) is None
    service.communicate(b"\n")


def test_nothing_on_the_disk_is_named_by_a_user(volumes: LocalVolumes, short_path: Path) -> None:
    """VOL-05."""
    claims = ["../../etc/passwd", "default/a;b", "x" * 300, "default/\n", "default/ö\0"]
    for number, claim in enumerate(claims):
        volumes.create(VolumeConfig(f"{number:032x}", claim))
    names = {name for _, folders, files in os.walk(short_path) for name in (*folders, *files)}
    assert names == {"s", "volumes", "data", "volume.json", *(f"{n:032x}" for n in range(len(claims)))}
    assert [state.claim for state in volumes.list()] == claims


def test_owner_and_mode_follow_no_link(volumes: LocalVolumes, tmp_path: Path) -> None:
    """VOL-06."""
    volumes.create(PLAIN)
    path = state_of(volumes, PLAIN.id).path
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o711)
    (path / "link").symlink_to(outside)
    volumes.create(replace(PLAIN, uid=999, mode=0o700))
    assert (outside.stat().st_uid, outside.stat().st_mode & 0o777) == (0, 0o711)
    (path / "link").unlink()
    path.rmdir()
    path.symlink_to(outside)
    assert not state_of(volumes, PLAIN.id).mounted
    with pytest.raises(DataLoss):
        volumes.create(replace(PLAIN, uid=998, mode=0o777))
    assert (outside.stat().st_uid, outside.stat().st_mode & 0o777) == (0, 0o711)
    volumes.delete(PLAIN.id, data=True)
    assert outside.is_dir()


@BOTH
def test_killed_while_it_is_made(volumes: LocalVolumes, short_path: Path, config: VolumeConfig) -> None:
    def again() -> LocalVolumes:
        return LocalVolumes(short_path / "s", short_path / "r")

    def after() -> None:
        driver = again()
        driver.cleanup()
        assert [s.id for s in driver.list()] in ([], [config.id])
        driver.create(config)
        state = state_of(driver, config.id)
        assert state.mounted
        assert (state.uid, state.mode, state.applied) == (7, 0o755, config)
        assert os.listdir(state.path) == []
        assert os.listdir(short_path / "s/volumes") == [config.id]
        emptied(driver)
        assert loops_of(short_path) == []

    assert at_every_step(lambda: None, lambda: again().create(config), after) > 8


@BOTH
def test_killed_while_it_is_released_and_taken_back(
    volumes: LocalVolumes, short_path: Path, config: VolumeConfig
) -> None:
    ids = [secrets.token_hex(16) for _ in range(2)]

    def again() -> LocalVolumes:
        return LocalVolumes(short_path / "s", short_path / "r")

    def before() -> None:
        driver = again()
        driver.create(replace(config, id=ids[0]))
        (state_of(driver, ids[0]).path / "file").write_text("content")
        driver.mark_populated(ids[0])

    def work() -> None:
        driver = again()
        driver.delete(ids[0], data=False)
        driver.create(replace(config, id=ids[1]))

    def after() -> None:
        driver = again()
        driver.cleanup()
        assert len(driver.list()) == 1
        work()
        state = state_of(driver, ids[1])
        assert state.mounted
        assert state.populated
        assert not state.released
        assert (state.path / "file").read_text() == "content"
        assert [s.id for s in driver.list()] == [ids[1]]
        emptied(driver)

    assert at_every_step(before, work, after) > 5


@BOTH
def test_killed_while_it_is_deleted(volumes: LocalVolumes, short_path: Path, config: VolumeConfig) -> None:
    def again() -> LocalVolumes:
        return LocalVolumes(short_path / "s", short_path / "r")

    def before() -> None:
        driver = again()
        driver.create(config)
        (state_of(driver, config.id).path / "file").write_text("content")

    def after() -> None:
        driver = again()
        driver.cleanup()
        left = driver.inspect(config.id)
        if left:
            driver.mount(config.id)
            assert (left.path / "file").read_text() == "content"
            driver.delete(config.id, data=True)
        driver.cleanup()
        assert os.listdir(short_path / "s/volumes") == []
        assert loops_of(short_path) == []

    def work() -> None:
        again().delete(config.id, data=True)
        for thread in threading.enumerate():
            if thread.name == "volume-trash":
                thread.join()

    assert at_every_step(before, work, after) >= 3
