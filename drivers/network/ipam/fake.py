"""Allocations in memory: those of the store, for tests of what is above them. `forget` is what removing an object does."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from resources.errors import Conflict, InvalidArgument


@dataclass(frozen=True, slots=True)
class FakeHolder:
    uid: str
    slot: str


class FakeAllocations:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], FakeHolder] = {}
        """By pool and value."""

    def hold(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        if len(set(wanted.values())) < len(wanted):
            raise InvalidArgument(f"two slots of {uid[:12]} cannot have one value of {pool}")
        with self._lock:
            for slot in sorted(wanted):
                holder = self._values.get((pool, wanted[slot]))
                if holder is not None and holder.uid != uid:
                    raise Conflict(f"{wanted[slot]} of {pool} is held by {holder.uid[:12]} for {holder.slot}")
            self._drop(uid, pool)
            self._values |= {(pool, value): FakeHolder(uid, slot) for slot, value in wanted.items()}

    def held(self, uid: str) -> Mapping[tuple[str, str], str]:
        with self._lock:
            found = [(pool, holder.slot, value) for (pool, value), holder in self._values.items() if holder.uid == uid]
        return {(pool, slot): value for pool, slot, value in sorted(found)}

    def taken(self, pool: str, prefix: str = "") -> Mapping[str, FakeHolder]:
        with self._lock:
            found = [
                (value, holder)
                for (of, value), holder in self._values.items()
                if of == pool and value.startswith(prefix)
            ]
        return dict(sorted(found, key=lambda one: one[0]))

    def forget(self, uid: str) -> None:
        """The object is gone, and with it what it held."""
        with self._lock:
            for pool in {pool for (pool, _), holder in self._values.items() if holder.uid == uid}:
                self._drop(uid, pool)

    def _drop(self, uid: str, pool: str) -> None:
        gone = [key for key, holder in self._values.items() if key[0] == pool and holder.uid == uid]
        for key in gone:
            del self._values[key]
