"""Who holds which address, subnet or host port: a value has one holder, and a slot of a holder one value.

A slot is what a value is held for (`ipv4`, `tcp:8080:`). What an object holds goes with it when it is removed; nothing
else frees it, no stop and no reboot.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.store.interface import MAX_OPERATIONS, Compare, Delete, Entry, Put, Store
from controller.store.layout import allocation_key, dump, held_key, held_prefix, parts
from resources.errors import Conflict, InvalidArgument

_WRITES_A_SLOT = 3
"""The slot's own key, the value it gets and the one it had."""


@dataclass(frozen=True, slots=True)
class Holder:
    uid: str
    slot: str


class Allocations:
    def __init__(self, store: Store) -> None:
        self._store = store

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        """Give the holder just these values of the pool, by slot, and free what else of it it held: in one transaction, as
        long as no more than 33 slots change. Raises: Conflict naming who has one of them."""
        if len(set(wanted.values())) < len(wanted):
            raise InvalidArgument(f"two slots of {uid[:12]} cannot have one value of {pool}")
        while not self._held_just(uid, pool, wanted):
            pass

    def _held_just(self, uid: str, pool: str, wanted: Mapping[str, str]) -> bool:
        """Bring it about; False when somebody else was quicker."""
        held = self._entries(uid, pool)
        changes = [slot for slot in sorted({*held, *wanted}) if _value(held.get(slot)) != wanted.get(slot)]
        if len(changes) * _WRITES_A_SLOT <= MAX_OPERATIONS:
            return not changes or self._write(uid, pool, held, {slot: wanted.get(slot) for slot in changes})
        # In parts, and first what is freed, since another slot may want it.
        for slots in _parts([slot for slot in changes if slot in held]):
            if not self._write(uid, pool, held, dict.fromkeys(slots)):
                return False
            for slot in slots:
                del held[slot]
        return all(
            self._write(uid, pool, held, {slot: wanted[slot] for slot in slots})
            for slots in _parts([slot for slot in changes if slot in wanted])
        )

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        """(pool, slot) -> value."""
        found = {}
        for entry in self._store.range(held_prefix(uid)):
            _, _, pool, slot = parts(entry.key)
            found[pool, slot] = entry.value.decode()
        return found

    def taken(self, pool: str, prefix: str = "") -> Mapping[str, Holder]:
        """By value; those that begin with `prefix`."""
        return {parts(entry.key)[2]: _holder(entry) for entry in self._store.range(allocation_key(pool, prefix))}

    def _entries(self, uid: str, pool: str) -> dict[str, Entry]:
        return {parts(entry.key)[3]: entry for entry in self._store.range(held_key(uid, pool, ""))}

    def _write(self, uid: str, pool: str, held: Mapping[str, Entry], changes: Mapping[str, str | None]) -> bool:
        """Writes nothing when somebody else was quicker, and returns False: it is read again then."""
        compares: list[Compare] = []
        writes: dict[str, Put | Delete] = {}
        for slot in changes:
            own = held_key(uid, pool, slot)
            compares.append(Compare(own, held[slot].mod_revision if slot in held else 0))
            if slot in held:
                freed = allocation_key(pool, held[slot].value.decode())
                writes |= {own: Delete(own), freed: Delete(freed)}
        for slot, value in changes.items():
            if value is None:
                continue
            own, theirs = held_key(uid, pool, slot), allocation_key(pool, value)
            taken = self._store.get(theirs)
            if taken is not None:
                holder = _holder(taken)
                if holder.uid != uid:
                    raise Conflict(f"{value} of {pool} is held by {holder.uid[:12]} for {holder.slot}")
                if holder.slot not in changes:
                    return False
            compares.append(Compare(theirs, 0 if taken is None else taken.mod_revision))
            writes |= {own: Put(own, value.encode()), theirs: Put(theirs, dump({"uid": uid, "slot": slot}))}
        return self._store.txn(compares, list(writes.values())) is not None


def _parts(slots: Sequence[str]) -> Iterator[Sequence[str]]:
    size = MAX_OPERATIONS // _WRITES_A_SLOT
    return (slots[start : start + size] for start in range(0, len(slots), size))


def _value(entry: Entry | None) -> str | None:
    return None if entry is None else entry.value.decode()


def _holder(entry: Entry) -> Holder:
    data = json.loads(entry.value)
    return Holder(data["uid"], data["slot"])
