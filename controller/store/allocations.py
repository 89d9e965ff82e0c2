"""Who holds which address, VNI or host port: a value has one holder, and a slot of a holder one value.

A slot is what a value is held for (`endpoint/frontend`, `port/80/tcp`). What an object holds goes with it when it is
removed; nothing else frees it, no stop and no reboot.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.store.interface import Compare, Delete, Entry, Put, Store
from controller.store.layout import allocation_key, dump, held_key, held_prefix, parts, pool_prefix
from resources.errors import Conflict, ResourceExhausted


@dataclass(frozen=True, slots=True)
class Holder:
    uid: str
    slot: str


class Allocations:
    def __init__(self, store: Store) -> None:
        self._store = store

    def allocate(self, uid: str, pool: str, slot: str, value: str) -> None:
        """Give the slot exactly this value, instead of one it had. Raises: Conflict naming the holder."""
        while True:
            held = self._store.get(held_key(uid, pool, slot))
            taken = self._store.get(allocation_key(pool, value))
            if taken is not None:
                holder = _holder(taken)
                if holder != Holder(uid, slot):
                    raise Conflict(f"{value} of {pool} is held by {holder.uid[:12]} for {holder.slot}")
                return
            if self._give(uid, pool, slot, value, held):
                return

    def allocate_any(self, uid: str, pool: str, slot: str, candidates: Iterable[str]) -> str:
        """The value the slot has already, or else the first of the candidates that is free.

        Raises: ResourceExhausted.
        """
        rest = iter(candidates)
        taken = self.taken(pool)
        while True:
            held = self._store.get(held_key(uid, pool, slot))
            if held is not None:
                return held.value.decode()
            value = next((value for value in rest if value not in taken), None)
            if value is None:
                raise ResourceExhausted(f"nothing of {pool} is free", hint="free some, or give it more")
            if self._give(uid, pool, slot, value, None):
                return value

    def release(self, uid: str, pool: str, slot: str) -> None:
        """Of what is not held: fine."""
        while True:
            held = self._store.get(held_key(uid, pool, slot))
            if held is None:
                return
            gone = [Delete(held.key), Delete(allocation_key(pool, held.value.decode()))]
            if self._store.txn([Compare(held.key, held.mod_revision)], gone) is not None:
                return

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        """(pool, slot) -> value."""
        found = {}
        for entry in self._store.range(held_prefix(uid)):
            _, _, pool, slot = parts(entry.key)
            found[pool, slot] = entry.value.decode()
        return found

    def taken(self, pool: str) -> Mapping[str, Holder]:
        return {parts(entry.key)[2]: _holder(entry) for entry in self._store.range(pool_prefix(pool))}

    def _give(self, uid: str, pool: str, slot: str, value: str, held: Entry | None) -> bool:
        own, theirs = held_key(uid, pool, slot), allocation_key(pool, value)
        compares = [Compare(own, 0 if held is None else held.mod_revision), Compare(theirs, 0)]
        writes: list[Put | Delete] = [Put(own, value.encode()), Put(theirs, dump({"uid": uid, "slot": slot}))]
        if held is not None:
            writes.append(Delete(allocation_key(pool, held.value.decode())))
        return self._store.txn(compares, writes) is not None


def _holder(entry: Entry) -> Holder:
    data = json.loads(entry.value)
    return Holder(data["uid"], data["slot"])
