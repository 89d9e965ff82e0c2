"""Everything on the host, told without what differs from one way there to another: uids, lives, attempts, times, and which
of several free addresses and ports it has become."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drivers.fakes import FakeMachine
from drivers.network.ipam.interface import Allocations
from drivers.snapshots.interface import SnapshotKind
from resources.object import Object


def state(machine: FakeMachine, objects: Sequence[Object], allocations: Allocations) -> Any:
    names = {item.metadata.uid: str(item.ref) for item in objects}
    held = _held(objects, allocations)

    def told(value: Any) -> str:
        text = repr(value)
        for one, word in held.items():
            text = text.replace(one, word)
        for uid, name in names.items():
            for at in {text[m + 32 : m + 64] for m in _places(text, uid) if _hex(text[m + 32 : m + 64])}:
                text = text.replace(uid + at, f"<{name}>")
            text = text.replace(uid, f"<{name}>")
        return text

    tasks = [
        (
            told(task.id), task.status, task.exit_code, told(task.limits),
            told(machine.tasks.configs[task.id].spec) if task.id in machine.tasks.configs else "",
            told({k: v for k, v in task.applied.items() if k not in ("failures", "started", "endpoints")}),
        )
        for task in machine.tasks.tasks.values()
    ]  # fmt: skip
    volumes = [told((volume, machine.files.trees.get(volume.path))) for volume in machine.files.volumes.values()]
    layers = [told(info) for info in machine.snapshots.walk() if info.kind is not SnapshotKind.COMMITTED]
    return {
        "tasks": sorted(tasks, key=str),
        "volumes": sorted(volumes),
        "layers": sorted(layers),
        "images": sorted(info.key for info in machine.snapshots.walk() if info.kind is SnapshotKind.COMMITTED),
        "roots": sorted(map(told, machine.roots.items())),
        "sandboxes": sorted(told(machine.sandboxes.inspect(name)) for name in machine.sandboxes.list()),
        "networks": sorted(told(machine.networks.inspect(name)) for name in machine.networks.list()),
        "endpoints": sorted(map(told, _endpoints(machine))),
        "ports": sorted(told(machine.ports.published(name)) for name in machine.ports.list()),
        "served": sorted(told(machine.names.get(name)) for name in machine.names.list()),
        "held": sorted(map(told, held.values())),
        "projections": sorted(map(told, machine.files.projections.items())),
        "stages": sorted(map(told, machine.files.staged.items())),
        "names": sorted(map(told, machine.images.names().list())),
        "blobs": sorted(blob.digest for blob in machine.images.content().walk()),
    }


def _held(objects: Sequence[Object], allocations: Allocations) -> Mapping[str, str]:
    """A word for each address and free port that somebody holds: which it is depends on who came first."""
    found = {}
    for item in objects:
        for (pool, slot), value in allocations.held(item.metadata.uid).items():
            if pool.startswith("address"):
                found[f"'{value}"] = f"'<{slot} of {item.ref} in {pool}>"
            elif slot.startswith("free"):
                found[f"host={value.split(':')[1]},"] = f"host=<{slot} of {item.ref}>,"
    return found


def _endpoints(machine: FakeMachine) -> Iterator[Any]:
    """What is attached to what, but for what an interface is called: that depends on what was there before."""
    for sandbox in machine.sandboxes.list():
        for network in machine.networks.attached(sandbox):
            config = machine.networks._endpoints[sandbox, network].config
            yield sandbox, network, config.addresses, config.gateways, config.mtu


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _hex(text: str) -> bool:
    return len(text) == 32 and not set(text) - set("0123456789abcdef")
