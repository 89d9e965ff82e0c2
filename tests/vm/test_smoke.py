"""Debian's own kernel: control groups v2 alone, a real reboot, a power cut, and a part of the host tests."""

from pathlib import Path

import pytest

from tests.vm import boot

pytestmark = [pytest.mark.host, pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(512 << 20)
    return path


def before_and_after(script: str, disk: Path, *, cut: bool) -> None:
    wait = " && sleep 1000" if cut else ""
    first = boot.run(f"{script} before{wait}", disk=disk, cut_power_at="acknowledged" if cut else "", timeout=900)
    assert first.code == (None if cut else 0), first.output[-5000:]
    second = boot.run(f"{script} after", disk=disk, timeout=900)
    assert second.code == 0, second.output[-5000:]


def test_the_kernel_is_debians_and_has_cgroup_v2_alone() -> None:
    result = boot.run("uname -r; grep -c cgroup /proc/mounts; cat /sys/fs/cgroup/cgroup.controllers; exit 7")
    version, mounts, controllers = result.output.splitlines()
    assert version == boot.kernel().version
    assert mounts == "1"
    assert {"cpu", "memory", "pids", "io"} <= set(controllers.split())
    assert result.code == 7


def test_nothing_it_writes_comes_back() -> None:
    path = Path("/var/tmp/lading-vm-was-here")
    assert boot.run(f"touch {path} && test -e {path}").code == 0
    assert not path.exists()


def test_a_disk_outlives_a_reboot(disk: Path) -> None:
    first = boot.run("cat /proc/sys/kernel/random/boot_id | tee /run/disk/boot", disk=disk)
    second = boot.run("cat /run/disk/boot /proc/sys/kernel/random/boot_id", disk=disk)
    before, after = second.output.split()
    assert first.output.strip() == before != after


def test_a_power_cut_keeps_what_was_synced(disk: Path) -> None:
    command = "echo kept >/run/disk/a; sync; echo lost >/run/disk/b; echo now; sleep 100"
    assert boot.run(command, disk=disk, cut_power_at="now").code is None
    result = boot.run("cat /run/disk/a; test ! -e /run/disk/b", disk=disk)
    assert (result.code, result.output) == (0, "kept\n")


def test_host_tests_pass_there(disk: Path) -> None:
    result = boot.run("sh tests/vm/smoke.sh", disk=disk, timeout=1500)
    assert result.code == 0, result.output[-5000:]


@pytest.mark.parametrize("cut", [False, True], ids=["reboot", "power cut"])
@pytest.mark.usefixtures("images")
def test_the_engine_comes_back(disk: Path, *, cut: bool) -> None:
    """What was acknowledged is there after a reboot, and restart policies are applied; limits are those of cgroup v2."""
    before_and_after(".venv/bin/python -m tests.vm.engine", disk, cut=cut)


@pytest.mark.parametrize("cut", [False, True], ids=["reboot", "power cut"])
@pytest.mark.usefixtures("images")
def test_networks_come_back(disk: Path, *, cut: bool) -> None:
    """Who reaches whom, and an image that was pulled, on a kernel whose firewall tables belong to nobody."""
    before_and_after(".venv/bin/python -m tests.vm.networks", disk, cut=cut)
