"""What each apply changed: its record, and beside it every object as it was before, so that it can be undone.

A record and the objects it tells of are written together, once, and never changed; the oldest are forgotten.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from controller.store.interface import Delete, Put, Store
from controller.store.layout import (
    CURRENT_REVISION,
    REVISIONS,
    dump,
    dump_object,
    load_object,
    revision_key,
    undo_prefix,
)
from resources.errors import DataLoss
from resources.meta import Model, Ref
from resources.object import Object

KEPT = 100


@dataclass(frozen=True, slots=True)
class ApplyRecord:
    time: datetime
    manager: str
    owner: str = ""
    created: tuple[Ref, ...] = ()
    changed: tuple[Ref, ...] = ()
    deleted: tuple[Ref, ...] = ()
    previous: tuple[Object, ...] = ()
    """What was changed or deleted, as it was; only `read` brings them back, without their resource version."""
    number: int = 0
    """Given when it is written; counted from 1."""


class _Record(Model):
    time: datetime
    manager: str
    owner: str = ""
    created: tuple[Ref, ...] = ()
    changed: tuple[Ref, ...] = ()
    deleted: tuple[Ref, ...] = ()


_FIELDS = tuple(_Record.model_fields)


def current(store: Store) -> int:
    """The number of the latest; 0 when there is none."""
    entry = store.get(CURRENT_REVISION)
    return 0 if entry is None else int(entry.value)


def puts(record: ApplyRecord, number: int) -> list[Put]:
    """What writing it takes."""
    written = _Record(**{name: getattr(record, name) for name in _FIELDS}).model_dump(mode="json")
    return [
        Put(CURRENT_REVISION, str(number).encode()),
        Put(revision_key(number), dump(written)),
        *(Put(f"{undo_prefix(number)}{item.kind}/{item.metadata.uid}", dump_object(item)) for item in record.previous),
    ]


def history(store: Store) -> Sequence[ApplyRecord]:
    """Newest first, without the objects."""
    return [_load(entry.key, entry.value) for entry in reversed(store.range(REVISIONS))]


def read(store: Store, number: int) -> ApplyRecord | None:
    entry = store.get(revision_key(number))
    if entry is None:
        return None
    previous = tuple(load_object(found) for found in store.range(undo_prefix(number)))
    return replace(_load(entry.key, entry.value), previous=previous)


def expired(store: Store, number: int) -> list[Delete]:
    """What there is to forget once that one is written."""
    old = number - KEPT
    if old < 1 or store.get(revision_key(old)) is None:
        return []
    return [Delete(revision_key(old)), *(Delete(entry.key) for entry in store.range(undo_prefix(old)))]


def _load(key: str, value: bytes) -> ApplyRecord:
    try:
        record = _Record.parse(json.loads(value))
    except (ValueError, ValidationError) as error:
        raise DataLoss(
            f"the store's entry {key} is no record this version can read", hint="run the version that wrote it"
        ) from error
    return ApplyRecord(**{name: getattr(record, name) for name in _FIELDS}, number=int(key.removeprefix(REVISIONS)))
