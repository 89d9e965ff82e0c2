"""The contract of the store: keys and values with revisions, such as etcd can keep.

Keys are strings with "/" between parts, values are bytes. Every successful transaction that writes makes one new
revision, counted from 1 over the whole store. What an object is, its name index and its allocations are built on this by
controller.store.objects, and read as Objects: the store knows none of it.

Durable: when `txn` returns, what it wrote survives a power cut. One writer process, any number of threads.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from resources.meta import Key, Ref, Status
from resources.object import Object

MAX_OPERATIONS = 100


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds when the key's `mod_revision` is this; 0 means that the key does not exist."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True)
class Event:
    revision: int
    key: str
    value: bytes | None
    """None: deleted."""


class Compacted(Exception):
    """The revision a watch asked for is no longer kept: list again, then watch from that revision."""


class Store(Protocol):
    def get(self, key: str) -> Entry | None: ...

    def range(self, prefix: str) -> Sequence[Entry]:
        """Every entry whose key begins with `prefix`, by key."""

    def snapshot(self, prefixes: Sequence[str]) -> tuple[int, Sequence[Entry]]:
        """Ranges of several prefixes as of one revision, and that revision."""

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        """When every compare holds, do every operation and return the new revision (the current one when there is nothing
        to write); otherwise do nothing and return None.

        Raises: InvalidArgument for more than MAX_OPERATIONS operations or one key twice, ResourceExhausted (disk full),
        Unavailable (the file is locked or cannot be written).
        """

    def revision(self) -> int: ...

    def watch(self, prefix: str, since: int, stopped: Callable[[], bool]) -> Iterator[Event]:
        """Yield changes after revision `since`, in order, each once; block for more until `stopped()`.

        Raises: Compacted.
        """

    def compact(self, before: int) -> None:
        """Forget the change log before that revision."""

    def close(self) -> None: ...


class Objects(Protocol):
    """Objects in the store, decoded; safe from any thread. `controller.store.objects` makes it of a Store."""

    def get(self, key: Key) -> Object | None: ...

    def find(self, ref: Ref) -> Object | None: ...

    def list(self, kind: Any = None, namespace: str | None = None) -> Sequence[Object]:
        """By kind, namespace and name."""

    def status(self, key: Key) -> Status | None: ...

    def revision(self) -> int: ...
