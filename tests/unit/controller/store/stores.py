"""Stores that fail in one way or another, and objects to put in."""

import json
import time
from collections.abc import Callable, Iterator, Sequence

from controller.store import layout
from controller.store.interface import Compare, Delete, Entry, Event, Put, Store
from controller.store.objects import ObjectStore
from resources.errors import ResourceExhausted
from resources.object import Object
from tests.unit.controller.making import made


class Crash(Exception):
    pass


class CrashingStore:
    """Dies at transaction number `at`: before it is made, or just after."""

    def __init__(self, inner: Store, at: int, *, after: bool) -> None:
        self.inner = inner
        self._left = at
        self._after = after

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            raise Crash
        done = self.inner.txn(compares, operations)
        if self._left == 0:
            raise Crash
        return done

    def get(self, key: str) -> Entry | None:
        return self.inner.get(key)

    def range(self, prefix: str) -> Sequence[Entry]:
        return self.inner.range(prefix)

    def snapshot(self, prefixes: Sequence[str]) -> tuple[int, Sequence[Entry]]:
        return self.inner.snapshot(prefixes)

    def revision(self) -> int:
        return self.inner.revision()

    def watch(self, prefix: str, since: int, stopped: Callable[[], bool]) -> Iterator[Event]:
        return self.inner.watch(prefix, since, stopped)

    def compact(self, before: int) -> None:
        self.inner.compact(before)

    def close(self) -> None:
        self.inner.close()


class LingeringStore(CrashingStore):
    """Others see a transaction a while before the one who made it hears of it."""

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        done = self.inner.txn(compares, operations)
        time.sleep(0.1)
        return done


class FullStore(CrashingStore):
    full = False

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        if self.full:
            raise ResourceExhausted("the disk is full")
        return self.inner.txn(compares, operations)


def many(count: int, prefix: str = "c") -> list[Object]:
    return [made(f"container/{prefix}{number}", {"image": "a"}) for number in range(count)]


def changed(item: Object, image: str = "b", **meta: object) -> Object:
    spec = item.spec.model_copy(update={"image": image})
    metadata = item.metadata.model_copy(update=meta)
    return item.model_copy(update={"spec": spec, "effective": spec, "metadata": metadata})


def names_agree(store: ObjectStore) -> None:
    """The keys of names in the store say what the objects say."""
    indexed = {entry.key: entry.value.decode() for entry in store.store.range("/names/")}
    assert indexed == {layout.name_key(item.ref): item.metadata.uid for item in store.list()}


def allocations_agree(store: Store) -> None:
    """What is told by value is what is told by holder."""
    by_value, by_holder = {}, {}
    for entry in store.range(layout.ALLOCATIONS):
        _, pool, value = layout.parts(entry.key)
        holder = json.loads(entry.value)
        by_value[pool, value] = (holder["uid"], holder["slot"])
    for entry in store.range("/held/"):
        _, uid, pool, slot = layout.parts(entry.key)
        by_holder[pool, entry.value.decode()] = (uid, slot)
    assert by_value == by_holder
