"""What every sandbox driver does, the twin in memory and the real one."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel.mount import mounts, unmount
from drivers.network.interface import SandboxDriver, SandboxFiles
from drivers.network.sandbox.fake import FakeSandboxes
from drivers.network.sandbox.namespaces import NetnsSandboxes
from resources.errors import InvalidArgument

ONE, TWO = "1" * 64, "2" * 64
HOSTILE = ("\n", "\r", "\0", "\x85", "\u2028", "\x1b", " ", "\t")


@pytest.fixture(params=["fake", pytest.param("netns", marks=pytest.mark.host)])
def sandboxes(request: pytest.FixtureRequest, short_path: Path, instance: str) -> Iterator[SandboxDriver]:
    if request.param == "fake":
        yield FakeSandboxes()
        return
    driver = NetnsSandboxes(short_path / "r", instance)
    yield driver
    for sandbox_id in driver.list():
        driver.delete(sandbox_id)
    for mounted in mounts():
        if mounted.target.startswith(str(short_path)):
            unmount(Path(mounted.target))


def test_absence_is_a_value(sandboxes: SandboxDriver) -> None:
    assert sandboxes.inspect(ONE) is None
    assert list(sandboxes.list()) == []
    sandboxes.delete(ONE)


def test_a_sandbox_is_made_once_and_has_its_loopback_up(sandboxes: SandboxDriver) -> None:
    made = sandboxes.create(ONE)
    assert made.id == ONE
    assert made.netns is not None
    assert made.loopback_up
    assert sandboxes.create(ONE) == made
    assert sandboxes.inspect(ONE) == made
    assert list(sandboxes.list()) == [ONE]


def test_a_loopback_link_that_lost_its_addresses_gets_them_again(sandboxes: SandboxDriver) -> None:
    made = sandboxes.create(ONE)
    assert made.netns is not None
    if isinstance(sandboxes, FakeSandboxes):
        sandboxes.break_loopback(ONE)
    else:
        command = ("nsenter", f"--net={made.netns}", "ip", "address", "flush", "dev", "lo")
        subprocess.run(command, check=True, capture_output=True)
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert not found.loopback_up
    assert sandboxes.create(ONE) == sandboxes.inspect(ONE) == made


def test_sandboxes_are_apart(sandboxes: SandboxDriver) -> None:
    first, second = sandboxes.create(ONE), sandboxes.create(TWO)
    assert first.netns != second.netns
    sandboxes.delete(ONE)
    assert sandboxes.inspect(ONE) is None
    assert sandboxes.inspect(TWO) == second


def test_a_sandbox_on_the_host_network_has_files_and_no_namespace(sandboxes: SandboxDriver) -> None:
    sandboxes.write_files(ONE, SandboxFiles("web", host_network=True))
    found = sandboxes.inspect(ONE)
    assert found is not None
    assert found.netns is None
    assert list(sandboxes.list()) == [ONE]
    sandboxes.delete(ONE)
    assert sandboxes.inspect(ONE) is None


def test_files_match_what_was_written_and_nothing_else(sandboxes: SandboxDriver) -> None:
    files = SandboxFiles(
        "web", extra_hosts={"db": "10.0.0.2"}, nameservers=("10.0.0.1",), search=("example.org",), options=("ndots:2",)
    )
    assert not sandboxes.files_match(ONE, files)
    sandboxes.write_files(ONE, files)
    assert sandboxes.files_match(ONE, files)
    assert not sandboxes.files_match(ONE, SandboxFiles("web"))
    assert set(sandboxes.files(ONE)) == {"hostname", "hosts", "resolv.conf"}
    sandboxes.delete(ONE)
    assert not sandboxes.files_match(ONE, files)


@pytest.mark.parametrize("character", HOSTILE)
@pytest.mark.parametrize("place", ["hostname", "name", "address", "server", "search", "option", "zone", "own"])
def test_no_value_becomes_a_second_line(sandboxes: SandboxDriver, character: str, place: str) -> None:
    evil = f"a{character}nameserver"
    files = {
        "hostname": SandboxFiles(evil),
        "name": SandboxFiles("web", extra_hosts={evil: "10.0.0.1"}),
        "address": SandboxFiles("web", extra_hosts={"db": f"10.0.0.1{character}x"}),
        "own": SandboxFiles("web", (f"10.0.0.1{character}",)),
        "zone": SandboxFiles("web", extra_hosts={"db": f"fe80::1%eth0{character}10.0.0.1 x"}),
        "server": SandboxFiles("web", nameservers=(f"10.0.0.1{character}",)),
        "search": SandboxFiles("web", search=(evil,)),
        "option": SandboxFiles("web", options=(evil,)),
    }[place]
    with pytest.raises(InvalidArgument):
        sandboxes.write_files(ONE, files)
    assert sandboxes.inspect(ONE) is None


@pytest.mark.parametrize("bad", ["", "..", "../" * 21 + "x", "A" * 64, "1" * 63, "1" * 65, "1" * 63 + "\n"])
def test_an_id_is_checked_before_a_path_is_built(sandboxes: SandboxDriver, bad: str) -> None:
    for call in (sandboxes.create, sandboxes.inspect, sandboxes.delete, sandboxes.files):
        with pytest.raises(InvalidArgument):
            call(bad)
