"""The host in memory: what of it lasts over engines, and what over a reboot."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from drivers.copy.interface import Copier
from drivers.fakes import FakeDrivers, FakeMachine
from drivers.images.interface import Images
from drivers.logs.interface import LogDriver
from drivers.network.bridge.fake import FakeNetworks
from drivers.network.interface import NetworkConfig, NetworkDriver, Prober, SandboxDriver
from drivers.network.ipam.fake import FakeAllocations
from drivers.network.ipam.interface import Allocations, Ipam
from drivers.network.names.interface import Names, SandboxNames
from drivers.network.ports.interface import HostPorts, PortPublisher, PortRequest, PublishedPort
from drivers.runtime.interface import Runtime, TaskStatus
from drivers.snapshots.interface import Mount, RootFilesystems, Snapshotter
from drivers.volumes.fake import FakeVolumes
from drivers.volumes.interface import CopyUp, Populator, Projector, Stage, VolumeConfig, VolumeDriver
from resources.errors import Unavailable
from tests.tasks import task

TASK, OWNER, NETWORK = "1" * 64, "2" * 32, "3" * 32
LOCAL, TMPFS = VolumeConfig("a" * 32, "default/data", 1 << 20), VolumeConfig("b" * 32, "default/cache")


def everything(drivers: FakeDrivers) -> None:
    drivers.runtime.create(task(Path("/nonexistent"), "serve", id=TASK))
    drivers.runtime.start(TASK)
    drivers.sandboxes.create(TASK)
    drivers.prober.listen(TASK, 80)
    drivers.snapshotter.prepare(TASK, "")
    drivers.roots.mount(TASK, [Mount("tmpfs", "tmpfs")])
    for name, config in (("local", LOCAL), ("tmpfs", TMPFS)):
        drivers.volumes[name].create(config)
        drivers.volumes[name].mark_populated(config.id)
    drivers.projector.project("c" * 32, "1", {"key": b"x"}, mode=0o400, uid=0, gid=0)
    drivers.stage.stage(TASK, "m0", Path("/srv"))
    drivers.logs.write(TASK, b"hello\n")


CONTRACTS = [
    ("runtime", Runtime),
    ("snapshotter", Snapshotter),
    ("roots", RootFilesystems),
    ("images", Images),
    ("sandboxes", SandboxDriver),
    ("ipam", Ipam),
    ("host_ports", HostPorts),
    ("publisher", PortPublisher),
    ("names", Names),
    ("prober", Prober),
    ("copy_up", CopyUp),
    ("populator", Populator),
    ("projector", Projector),
    ("stage", Stage),
    ("logs", LogDriver),
    ("copier", Copier),
]


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values() if p.name != "self"]


@pytest.mark.parametrize(("name", "contract"), CONTRACTS, ids=[name for name, _ in CONTRACTS])
def test_each_twin_takes_what_its_contract_says(name: str, contract: type) -> None:
    twin = type(getattr(FakeMachine().drivers(), name))
    calls = [call for call in vars(contract) if not call.startswith("_")]
    assert calls
    for call in calls:
        assert parameters(getattr(twin, call)) == parameters(getattr(contract, call)), call


def test_there_is_a_twin_of_each_volume_driver() -> None:
    volumes = FakeMachine().drivers().volumes
    assert set(volumes) == {"local", "tmpfs"}
    for call in (call for call in vars(VolumeDriver) if not call.startswith("_")):
        assert parameters(getattr(FakeVolumes, call)) == parameters(getattr(VolumeDriver, call)), call


@pytest.mark.parametrize(("twin", "contract"), [(FakeNetworks, NetworkDriver), (FakeAllocations, Allocations)])
def test_there_is_a_twin_of_networks_and_of_who_holds_what(twin: type, contract: type) -> None:
    assert set(FakeMachine().drivers().networks) == {"bridge"}
    for call in (call for call in vars(contract) if not call.startswith("_")):
        assert parameters(getattr(twin, call)) == parameters(getattr(contract, call)), call


def test_a_reboot_takes_networks_ports_and_names_and_nobodys_addresses() -> None:
    machine = FakeMachine()
    drivers = machine.drivers()
    pools = drivers.ipam.allocate_subnets(NETWORK, ())
    drivers.networks["bridge"].apply(NetworkConfig(NETWORK, pools))
    [address] = drivers.ipam.allocate(NETWORK, pools, OWNER)
    [port] = drivers.host_ports.allocate(OWNER, [PortRequest(80)])
    drivers.publisher.publish(OWNER, [PublishedPort(port.host or 0, 80, ipv4=address)])
    drivers.names.set(SandboxNames(TASK, Path("/netns"), ()))
    machine.reboot()
    again = machine.drivers()
    assert (again.networks["bridge"].list(), again.publisher.list(), again.names.list()) == ([], [], [])
    assert again.ipam.addresses(OWNER) == {NETWORK: (address,)}
    assert again.host_ports.held(OWNER, [PortRequest(80)]) == (port,)


def test_the_next_engine_finds_everything() -> None:
    machine = FakeMachine()
    first = machine.drivers()
    everything(first)
    first.stage.fail("unstage", Unavailable("broken"))
    second = machine.drivers()
    state = second.runtime.state(TASK)
    assert state is not None
    assert state.status is TaskStatus.RUNNING
    assert second.roots.mounted() == {TASK}
    assert second.prober.tcp(TASK, 80, 1.0).healthy
    assert [s.populated for v in second.volumes.values() for s in v.list()] == [True, True]
    assert second.projector.version("c" * 32) == "1"
    assert [entry.data for entry in second.logs.read(TASK)] == [b"hello\n"]
    assert second.stage.calls == []
    second.stage.unstage(TASK)
    assert second.stage.list() == []
    with pytest.raises(Unavailable):
        first.stage.unstage(TASK)


def test_a_reboot_takes_what_was_in_memory() -> None:
    machine = FakeMachine()
    everything(machine.drivers())
    machine.reboot()
    drivers = machine.drivers()
    state = drivers.runtime.state(TASK)
    assert state is not None
    assert state.rebooted
    assert state.limits is None
    assert drivers.sandboxes.inspect(TASK) is None
    assert not drivers.prober.tcp(TASK, 80, 1.0).healthy
    assert drivers.snapshotter.stat(TASK) is not None
    assert drivers.roots.mounted() == frozenset()
    assert drivers.stage.list() == []
    assert list(drivers.projector.list()) == []
    assert [entry.data for entry in drivers.logs.read(TASK)] == [b"hello\n"]
    [local] = drivers.volumes["local"].list()
    [tmpfs] = drivers.volumes["tmpfs"].list()
    assert (local.mounted, local.populated) == (False, True)
    assert (tmpfs.mounted, tmpfs.populated) == (False, False)
