"""What an object has of a pool, what it had, and what it waits for, all of it in the store.

What it had stays its own until it is let go: something on the host may use it still. What it waits for lies in a pool
beside, where it is in nobody's way; from that a ring is told, in which each waits for what the next one has.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from drivers.network.ipam.interface import Allocations, Holder

_HAD = "was:"
_AWAITED = "awaited:"
_BY = "@"


@dataclass(frozen=True, slots=True)
class Claim:
    has: Mapping[str, str] = field(default_factory=dict)
    """Values by slot."""
    had: tuple[str, ...] = ()
    awaits: Mapping[str, str] = field(default_factory=dict)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(value for _, value in sorted(self.has.items()))


def formerly(holder: Holder) -> bool:
    """It holds the value only until whatever uses it on the host has left it."""
    return holder.slot.startswith(_HAD)


class Claims:
    def __init__(self, allocations: Allocations) -> None:
        self._allocations = allocations

    def of(self, uid: str, pool: str) -> Claim:
        return self.all_of(uid).get(pool, Claim())

    def all_of(self, uid: str) -> Mapping[str, Claim]:
        """By pool; those of which it has, had or awaits anything."""
        has: dict[str, dict[str, str]] = {}
        had: dict[str, list[str]] = {}
        awaits: dict[str, dict[str, str]] = {}
        for (pool, slot), value in sorted(self._allocations.held(uid).items()):
            if pool.startswith(_AWAITED):
                awaits.setdefault(pool.removeprefix(_AWAITED), {})[slot] = value.partition(_BY)[0]
            elif slot.startswith(_HAD):
                had.setdefault(pool, []).append(value)
            else:
                has.setdefault(pool, {})[slot] = value
        return {
            pool: Claim(has.get(pool, {}), tuple(had.get(pool, ())), awaits.get(pool, {}))
            for pool in sorted({*has, *had, *awaits})
        }

    def move(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        """Have these. Raises: Conflict."""
        claim = self.of(uid, pool)
        had = {*claim.has.values(), *claim.had} - {*wanted.values()}
        self._allocations.hold(uid, pool, {**wanted, **{_HAD + value: value for value in had}})
        if claim.awaits:
            self._allocations.hold(uid, _AWAITED + pool, {})

    def let_go(self, uid: str, pool: str) -> None:
        """Of what it had."""
        self._allocations.hold(uid, pool, self.of(uid, pool).has)

    def vacate(self, uid: str, pool: str) -> None:
        """Have nothing, and wait on."""
        self._allocations.hold(uid, pool, {})

    def release(self, uid: str, pool: str) -> None:
        self._allocations.hold(uid, _AWAITED + pool, {})
        self._allocations.hold(uid, pool, {})

    def wait(self, uid: str, pool: str, wanted: Mapping[str, str]) -> None:
        self._allocations.hold(uid, _AWAITED + pool, {slot: value + _BY + uid for slot, value in wanted.items()})

    def awaited(self, pool: str, *, but: str) -> frozenset[str]:
        """What others than this one wait for."""
        taken = self._allocations.taken(_AWAITED + pool).items()
        return frozenset(value.partition(_BY)[0] for value, who in taken if who.uid != but)

    def yields(self, uid: str, pool: str, holders: Callable[[str, Iterable[str]], Iterable[Holder]]) -> bool:
        """Whether it is in a ring, and the one of it that gives up what it has, so that the others get on: the one with the
        least uid. `holders` are those who have, or had, something that keeps an object from values."""
        seen, ahead = {uid}, [uid]
        if not (claim := self.of(uid, pool)).has or not claim.awaits:
            return False
        while ahead:
            one = ahead.pop()
            for holder in holders(one, self.of(one, pool).awaits.values()):
                if holder.uid == one or formerly(holder):
                    continue  # what is its own, or let go anyway
                if holder.uid == uid:
                    return True
                if holder.uid > uid and holder.uid not in seen:
                    seen.add(holder.uid)
                    ahead.append(holder.uid)
        return False
