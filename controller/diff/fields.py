"""PURE: fields by their paths: who set which, and which differ."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from resources.meta import FieldManager
from resources.object import Object
from resources.paths import join


def leaves(value: Any, path: str, *, into_lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Every field of a JSON value that holds no other, with its path. Empty lists and objects are such fields."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, join(path, name), into_lists=into_lists)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value and into_lists:
        for number, inner in enumerate(value):
            yield from leaves(inner, join(path, number), into_lists=into_lists)
    else:
        yield path, value


def differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(path, old, new) of every field that differs; None for one that is not there."""
    before, after = dict(leaves(old, path)), dict(leaves(new, path))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def covers(path: str, other: str) -> bool:
    """Whether the field, or a part of it, is that field."""
    return other == path or (other.startswith(path) and other[len(path)] in ".[")


def written_fields(item: Object) -> tuple[str, ...]:
    """What a manifest sets: everything in its spec, its labels and annotations; a list is one field."""
    values = {
        "metadata.labels": item.metadata.labels,
        "metadata.annotations": item.metadata.annotations,
        "spec": item.spec.written(),
    }
    return tuple(path for start, value in values.items() if value for path, _ in leaves(value, start, into_lists=False))


def managed(
    before: Sequence[FieldManager], manager: str, fields: Sequence[str], now: datetime
) -> tuple[FieldManager, ...]:
    """Those fields are now this manager's and no other's; what it set before and does not any more is nobody's."""
    taken = set(fields)
    others = []
    for one in before:
        left = tuple(field for field in one.fields if field not in taken)
        if one.name != manager and left:
            others.append(one.model_copy(update={"fields": left}))
    return (*others, FieldManager(name=manager, fields=tuple(fields), time=now)) if fields else tuple(others)
