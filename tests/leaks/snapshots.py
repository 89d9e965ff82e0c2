"""Looking at the whole host, once or until it has settled."""

import gc
import time
from collections.abc import Iterator

from tests.leaks.model import Item, Leak, Process, Scope, Snapshot, diff
from tests.leaks.mounts import cgroup_hierarchies, mount_items, mounted_namespaces, read_mounts
from tests.leaks.network import firewall_items, listener_items, network_items, setting_items
from tests.leaks.processes import (
    cgroup_items,
    descriptor_links,
    lock_items,
    namespace_items,
    process_items,
    read_processes,
    watched_items,
)
from tests.leaks.storage import block_items, file_items, memory_items, state_items, store_items


def snapshot(scope: Scope | None = None) -> Snapshot:
    """The host as it is now. The scope adds its own roots, stores and watched processes to what is looked at."""
    scope = scope or Scope()
    gc.collect()  # a descriptor that only garbage still holds is no leak
    processes = read_processes()
    items = {(item.kind, item.identity): item for item in _items(scope, processes)}
    return Snapshot(items, processes)


def _items(scope: Scope, processes: dict[int, Process]) -> Iterator[Item]:
    links = descriptor_links(processes)
    mounts = read_mounts()
    yield from process_items(processes)
    yield from namespace_items(processes, links, mounted_namespaces(mounts))
    yield from lock_items(processes)
    yield from watched_items(scope.watched, links)
    yield from cgroup_items(cgroup_hierarchies(mounts))
    yield from mount_items(processes)
    yield from network_items()
    yield from firewall_items()
    yield from setting_items()
    yield from listener_items(links)
    yield from file_items()
    yield from state_items(scope)
    yield from block_items()
    yield from memory_items()
    yield from store_items(scope.stores)


def settled(before: Snapshot, scope: Scope, *, within: float = 5.0) -> list[Leak]:
    """The leaks that are still there after a while: the kernel drops namespaces, mounts and zombies lazily."""
    deadline = time.monotonic() + within
    while True:
        leaks = diff(before, snapshot(scope), scope)
        if not leaks or time.monotonic() > deadline:
            return leaks
        time.sleep(0.1)
