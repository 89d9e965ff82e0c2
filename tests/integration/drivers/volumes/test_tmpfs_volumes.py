"""Volumes in memory on the real kernel: reboots, sizes, and what others do to them."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.kernel.mount import mounts, unmount
from drivers.volumes.interface import VolumeConfig, VolumeState
from drivers.volumes.stage import BoundStage
from drivers.volumes.tmpfs import TmpfsVolumes
from resources.errors import FailedPrecondition
from tests.integration.drivers.volumes.kills import at_every_step

pytestmark = pytest.mark.host
MIB = 1 << 20
CONFIG = VolumeConfig("1" * 32, "default/cache", MIB, uid=7, mode=0o1777)


@pytest.fixture
def volumes(short_path: Path) -> Iterator[TmpfsVolumes]:
    driver = TmpfsVolumes(short_path / "s", short_path / "r")
    yield driver
    emptied(driver)


def emptied(driver: TmpfsVolumes) -> None:
    for state in driver.list():
        driver.delete(state.id, data=True)


def state_of(driver: TmpfsVolumes, volume_id: str = CONFIG.id) -> VolumeState:
    found = driver.inspect(volume_id)
    assert found is not None
    return found


def reboot(base: Path) -> None:
    for entry in reversed(mounts()):
        if entry.target.startswith(f"{base}/r/"):
            unmount(Path(entry.target))
    shutil.rmtree(base / "r")


def test_it_is_gone_after_a_reboot_and_mounted_anew(volumes: TmpfsVolumes, short_path: Path) -> None:
    volumes.create(CONFIG)
    volumes.mark_populated(CONFIG.id)
    (state_of(volumes).path / "file").write_text("content")
    reboot(short_path)
    state = state_of(volumes)
    assert not state.mounted
    assert not state.populated
    assert (state.claim, state.size, state.uid, state.mode) == (CONFIG.claim, MIB, 7, 0o1777)
    volumes.mount(CONFIG.id)
    state = state_of(volumes)
    assert state.mounted
    assert not state.populated
    assert (state.size, state.uid, state.mode) == (MIB, 7, 0o1777)
    assert os.listdir(state.path) == []


def test_a_size_is_held_to_and_healed(volumes: TmpfsVolumes) -> None:
    volumes.create(CONFIG)
    state = state_of(volumes)
    with pytest.raises(OSError) as caught, (state.path / "large").open("wb") as file:
        file.write(bytes(2 * MIB))
    assert caught.value.errno == errno.ENOSPC
    subprocess.run(["mount", "-o", "remount,size=8m", str(state.path.parent)], check=True)
    assert state_of(volumes).size == 8 * MIB
    volumes.create(CONFIG)
    assert state_of(volumes).size == MIB
    with pytest.raises(FailedPrecondition, match="more in it"):
        volumes.create(replace(CONFIG, size=1000))
    assert state_of(volumes).size == MIB
    (state.path / "large").unlink()
    volumes.create(replace(CONFIG, size=1000))
    assert state_of(volumes).size == 1000


def test_without_a_size(volumes: TmpfsVolumes) -> None:
    volumes.create(replace(CONFIG, size=None))
    assert state_of(volumes).size is None
    volumes.create(CONFIG)
    assert state_of(volumes).size == MIB
    volumes.create(replace(CONFIG, size=None))
    assert state_of(volumes).size is None
    (state_of(volumes).path / "large").write_bytes(bytes(2 * MIB))


def test_the_mount_is_private_and_has_no_devices_and_no_setuid(volumes: TmpfsVolumes, short_path: Path) -> None:
    volumes.create(CONFIG)
    [folder, own] = [m for m in mounts() if m.target.startswith(str(short_path))]
    for entry in (folder, own):
        assert {"nosuid", "nodev"} <= set(entry.options)
        assert entry.optional == (("unbindable",) if entry is folder else ())
    volumes.delete(CONFIG.id, data=True)
    assert not [m for m in mounts() if m.target.startswith(str(short_path))]


def test_a_container_with_the_hosts_whole_tree_keeps_nothing_busy(volumes: TmpfsVolumes, short_path: Path) -> None:
    volumes.create(CONFIG)
    (state_of(volumes).path / "file").touch()
    stage = BoundStage(short_path / "r")
    staged = stage.stage("1" * 64, "m0", short_path)
    assert sorted(os.listdir(staged / "r")) == ["stage", "volumes"]
    assert os.listdir(staged / "r/stage") == os.listdir(staged / "r/volumes") == []
    volumes.delete(CONFIG.id, data=True)
    stage.unstage("1" * 64)


def test_retained_data_a_reboot_has_taken_is_forgotten(volumes: TmpfsVolumes, short_path: Path) -> None:
    volumes.create(CONFIG)
    volumes.delete(CONFIG.id, data=False)
    assert volumes.cleanup() == 0
    reboot(short_path)
    assert volumes.cleanup() == 1
    assert volumes.list() == []


def test_killed_while_it_is_made_released_and_taken_back(short_path: Path) -> None:
    new = replace(CONFIG, id="2" * 32)

    def again() -> TmpfsVolumes:
        return TmpfsVolumes(short_path / "s", short_path / "r")

    def before() -> None:
        driver = again()
        driver.create(CONFIG)
        (state_of(driver).path / "file").write_text("content")
        driver.mark_populated(CONFIG.id)

    def work() -> None:
        driver = again()
        driver.delete(CONFIG.id, data=False)
        driver.create(new)

    def after() -> None:
        driver = again()
        driver.cleanup()
        work()
        state = state_of(driver, new.id)
        assert state.populated
        assert (state.path / "file").read_text() == "content"
        assert [s.id for s in driver.list()] == [new.id]
        emptied(driver)
        assert not [m for m in mounts() if m.target.startswith(str(short_path))]

    assert at_every_step(before, work, after) > 5

    def made() -> None:
        driver = again()
        driver.create(CONFIG)
        assert state_of(driver).mounted
        assert state_of(driver).mode == 0o1777
        emptied(driver)

    assert at_every_step(lambda: None, lambda: again().create(CONFIG), made) > 5
