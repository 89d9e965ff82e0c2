"""Commits of any size, all or nothing, out of transactions that hold only so many operations.

A large commit is first staged, which changes nothing; one transaction then sets a mark, and from there on it is made. It is
carried out in as many transactions as it takes, at the next start if need be; doing that twice does no harm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.store.interface import MAX_OPERATIONS, Compare, Delete, Put, Store
from controller.store.layout import PENDING, STAGED, staged_key

Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Committed:
    revision: int
    versions: Mapping[str, int]
    """By key, the revision that wrote it."""


def commit(store: Store, guard: Compare, mark: Put, operations: Sequence[Operation]) -> Committed | None:
    """Do all operations and write `mark`, in the very transaction that decides; None when the guard does not hold."""
    if len(operations) < MAX_OPERATIONS:
        revision = store.txn([guard], [mark, *operations])
        keys = [mark.key, *(operation.key for operation in operations)]
        return None if revision is None else Committed(revision, dict.fromkeys(keys, revision))
    puts = [Put(staged_key(number), _encode(operation)) for number, operation in enumerate(operations)]
    for chunk in _chunks(puts):
        store.txn([], chunk)
    decided = store.txn([guard, Compare(PENDING, 0)], [Put(PENDING, b""), mark])
    if decided is None:
        _clear(store)
        return None
    done = _carry_out(store, operations)
    return Committed(done.revision, {**done.versions, mark.key: decided})


def recover(store: Store) -> None:
    """Carry out what was made and not finished, and drop what was never made."""
    if store.get(PENDING) is not None:
        _carry_out(store, [_decode(entry.value) for entry in store.range(STAGED)])
    else:
        _clear(store)


def _carry_out(store: Store, operations: Sequence[Operation]) -> Committed:
    versions: dict[str, int] = {}
    for chunk in _chunks(operations):
        versions |= dict.fromkeys((operation.key for operation in chunk), store.txn([], chunk) or 0)
    revision = store.txn([], [Delete(PENDING)]) or 0
    _clear(store)
    return Committed(revision, versions)


def _clear(store: Store) -> None:
    for chunk in _chunks([Delete(entry.key) for entry in store.range(STAGED)]):
        store.txn([], chunk)


def _chunks(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    for start in range(0, len(operations), MAX_OPERATIONS):
        yield operations[start : start + MAX_OPERATIONS]


def _encode(operation: Operation) -> bytes:
    """The key, and for a Put a line's end and the value: no key holds one."""
    return operation.key.encode() + (b"\n" + operation.value if isinstance(operation, Put) else b"")


def _decode(value: bytes) -> Operation:
    key, put, content = value.partition(b"\n")
    return Put(key.decode(), content) if put else Delete(key.decode())
