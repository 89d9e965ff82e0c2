"""Network namespaces of the real kernel."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.kernel.mount import unmount
from drivers.network.interface import SandboxFiles
from drivers.network.sandbox.namespaces import NetnsSandboxes
from tests.tasks import until

pytestmark = pytest.mark.host
ONE = "a" * 64


@pytest.fixture
def sandboxes(short_path: Path, instance: str) -> Iterator[NetnsSandboxes]:
    driver = NetnsSandboxes(short_path / "r", instance)
    yield driver
    for sandbox_id in driver.list():
        driver.delete(sandbox_id)


def inside(netns: Path, *command: str) -> str:
    return subprocess.run(["nsenter", f"--net={netns}", *command], capture_output=True, text=True, check=True).stdout


def test_the_namespace_has_loopback_and_nothing_else(sandboxes: NetnsSandboxes) -> None:
    before = os.readlink("/proc/self/ns/net")
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    assert inside(netns, "readlink", "/proc/self/ns/net").strip() != before
    links = inside(netns, "ip", "-o", "link").splitlines()
    assert [line.split(": ")[1] for line in links if "LOOPBACK" in line] == ["lo"]
    assert all("UP" not in line.split("<")[1].split(">")[0].split(",") for line in links if "LOOPBACK" not in line)
    assert "127.0.0.1/8" in inside(netns, "ip", "-o", "address", "show", "dev", "lo")
    assert os.readlink("/proc/self/ns/net") == before


def test_no_thread_stays_in_the_new_namespace(sandboxes: NetnsSandboxes) -> None:
    sandboxes.create(ONE)
    own = os.readlink("/proc/self/ns/net")

    def namespaces() -> set[str]:
        found = set()
        for tid in os.listdir("/proc/self/task"):
            with suppress(FileNotFoundError):
                found.add(os.readlink(f"/proc/self/task/{tid}/ns/net"))
        return found

    until(lambda: namespaces() == {own})  # the kernel's thread ends a moment after Python's


def test_loopback_taken_down_is_seen_and_raised_again(sandboxes: NetnsSandboxes) -> None:
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    inside(netns, "ip", "link", "set", "lo", "down")
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert not found.loopback_up
    sandboxes.create(ONE)
    assert sandboxes.inspect(ONE) == found.__class__(ONE, netns, True)


@pytest.mark.parametrize("what", ["address flush dev lo", "address delete ::1/128 dev lo", "link set lo down"])
def test_loopback_is_as_the_kernel_makes_it(sandboxes: NetnsSandboxes, what: str) -> None:
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    before = [line.split() for line in inside(netns, "ip", "-o", "address", "show", "dev", "lo").splitlines()]
    inside(netns, "ip", *what.split())
    assert not sandboxes.inspect(ONE).loopback_up  # type: ignore[union-attr]
    sandboxes.create(ONE)
    after = [line.split() for line in inside(netns, "ip", "-o", "address", "show", "dev", "lo").splitlines()]
    assert [line[:6] for line in after] == [line[:6] for line in before]
    assert "local 127.0.0.1" in inside(netns, "ip", "route", "get", "127.0.0.1")


def test_a_namespace_without_ipv6_lacks_nothing(sandboxes: NetnsSandboxes) -> None:
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    inside(netns, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert found.loopback_up


def test_a_namespace_that_was_unmounted_is_made_anew(sandboxes: NetnsSandboxes) -> None:
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    unmount(netns)
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert found.netns is None
    assert sandboxes.create(ONE).netns == netns
    assert sandboxes.inspect(ONE) == found.__class__(ONE, netns, True)


def test_another_engine_finds_it(sandboxes: NetnsSandboxes, short_path: Path, instance: str) -> None:
    made = sandboxes.create(ONE)
    later = NetnsSandboxes(short_path / "r", instance)
    assert later.inspect(ONE) == made
    assert later.list() == [ONE]


def test_deleting_ends_the_copies_in_other_mount_namespaces(sandboxes: NetnsSandboxes) -> None:
    netns = sandboxes.create(ONE).netns
    assert netns is not None
    other = subprocess.Popen(["unshare", "-m", "sleep", "60"])
    try:
        mountinfo = Path(f"/proc/{other.pid}/mountinfo")
        own = os.readlink("/proc/self/ns/mnt")
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{other.pid}/ns/mnt") == own or str(netns) not in mountinfo.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        sandboxes.delete(ONE)
        assert str(netns) not in mountinfo.read_text()
    finally:
        other.kill()
        other.wait()


def test_files_keep_their_inode(sandboxes: NetnsSandboxes) -> None:
    sandboxes.write_files(ONE, SandboxFiles("web", extra_hosts={"db": "10.0.0.2"}))
    hosts = sandboxes.files(ONE)["hosts"]
    inode = hosts.stat().st_ino
    assert hosts.stat().st_mode & 0o777 == 0o644
    sandboxes.write_files(ONE, SandboxFiles("web"))
    assert hosts.stat().st_ino == inode
    assert "db" not in hosts.read_text()
    hosts.write_text("127.0.0.1 evil\n")
    assert not sandboxes.files_match(ONE, SandboxFiles("web"))


def test_whatever_lies_in_the_place_of_a_file_makes_way(short_path: Path, instance: str) -> None:
    sandboxes, wanted = NetnsSandboxes(short_path / "r", instance), SandboxFiles("web")
    one = "1" * 64
    try:
        for put in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
            os.makedirs(short_path / "r" / "netns", exist_ok=True)
            os.makedirs(short_path / "r" / "sandboxes" / one)
            put(short_path / "r" / "netns" / one)
            put(short_path / "r" / "sandboxes" / one / "hosts")
            assert not sandboxes.files_match(one, wanted)
            sandboxes.create(one)
            sandboxes.write_files(one, wanted)
            assert sandboxes.files_match(one, wanted)
            sandboxes.delete(one)
            assert sandboxes.list() == []
    finally:
        sandboxes.delete(one)
