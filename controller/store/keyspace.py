"""PURE: what every store has to agree on about keys and transactions."""

from collections.abc import Sequence

from controller.store.interface import MAX_OPERATIONS, Compare, Delete, Put
from resources.errors import InvalidArgument

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def prefix_end(prefix: str) -> str | None:
    """The first key after every key that begins with `prefix`; None when there is none."""
    for end in range(len(prefix), 0, -1):
        point = ord(prefix[end - 1])
        if point < _LAST:
            following = point + 1
            return prefix[: end - 1] + chr(_SURROGATES.stop if following in _SURROGATES else following)
    return None


def check_transaction(compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> None:
    """Raises: InvalidArgument."""
    for items in (compares, operations):
        if len(items) > MAX_OPERATIONS:
            raise InvalidArgument(f"a transaction holds at most {MAX_OPERATIONS} operations, this one {len(items)}")
    keys = [operation.key for operation in operations]
    if len(set(keys)) != len(keys):
        double = next(key for key in keys if keys.count(key) > 1)
        raise InvalidArgument(f"a transaction writes the key {double!r} twice")
    for item in (*compares, *operations):
        _check_key(item.key)


def _check_key(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the key {key!r} is not text that can be written as UTF-8") from error
    if not key or "\0" in key:
        raise InvalidArgument(f"the key {key!r} is empty or holds a NUL character")
