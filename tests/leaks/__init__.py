"""The leak oracle: the whole host before and after, compared.

It asks the kernel and the disk, never the engine: an engine that forgot something cannot say so. A snapshot
holds items (mounts, namespaces, links, addresses, routes, firewall objects, settings, control groups, processes,
sockets, files, devices, locks, and the stores of ours against their own records); `diff` returns what of ours is
new, and what of anybody's was changed or taken away. Whose a thing is, is told by the paths, names and
processes it is tied to (see `Scope`), so that other work on the same machine is not blamed on a test.
"""

from tests.leaks.model import Item, Leak, Scope, Snapshot, Store, diff
from tests.leaks.oracle import Oracle
from tests.leaks.processes import OWNER_VARIABLE
from tests.leaks.snapshots import settled, snapshot
from tests.leaks.storage import unreferenced_blobs

__all__ = [
    "OWNER_VARIABLE",
    "Item",
    "Leak",
    "Oracle",
    "Scope",
    "Snapshot",
    "Store",
    "diff",
    "settled",
    "snapshot",
    "unreferenced_blobs",
]
