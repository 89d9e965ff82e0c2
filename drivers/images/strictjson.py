"""JSON of images, parsed so that no two readers can disagree on it: no duplicate keys, no NaN, bounded all over."""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from resources.errors import InvalidArgument

MAX_DEPTH = 64
MAX_CONTAINERS = 200_000
"""Lists and objects: an empty one takes three bytes to write and seventy to keep."""
# Possessive, and content with a string that never ends: whatever it is given, each byte is looked at once.
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
_MAX_NUMBER = 64


def loads(data: bytes, what: str, limit: int) -> Any:
    """Parse one JSON document of at most `limit` bytes. Raises: InvalidArgument naming `what` and the flaw."""
    if len(data) > limit:
        raise InvalidArgument(f"{what} has {len(data)} bytes", hint=f"at most {limit} are taken")
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidArgument(f"{what} starts with a byte order mark")
    _check_nesting(data, what)
    try:
        parsed = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_float,
        )
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what} is not valid JSON: {error}"[:300]) from error
    return parsed


def load_object(data: bytes, what: str, limit: int) -> dict[str, Any]:
    parsed = loads(data, what, limit)
    if not isinstance(parsed, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return parsed


def _check_nesting(data: bytes, what: str) -> None:
    depth = containers = 0
    for token in _NESTING.finditer(data):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            containers += 1
            if depth > MAX_DEPTH:
                raise InvalidArgument(f"{what} is nested deeper than {MAX_DEPTH}")
            if containers > MAX_CONTAINERS:
                raise InvalidArgument(f"{what} has more than {MAX_CONTAINERS} lists and objects")
        elif first in b"]}":
            depth -= 1


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"the key {_twice(key for key, _ in pairs)[:100]!r} is there twice")
    return result


def _twice(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return ""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if len(text) > _MAX_NUMBER or value in (float("inf"), float("-inf")):
        raise ValueError("a number out of range")
    return value
