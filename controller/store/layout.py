"""PURE: where everything lies in the store, and how an object becomes a value and back.

/objects/<kind>/<uid>                   the object; its `mod_revision` is the object's resource version
/names/<kind>/<namespace>/<name>        its uid: unique, so a name belongs to one object
/status/<kind>/<uid>                    its status, apart: reports change far more often than what is desired
/allocations/<pool>/<value>             who holds it and as what: unique, so a value belongs to one holder
/held/<uid>/<pool>/<slot>               the value held: unique, so a slot of a holder has one value
/revisions/<number>                     one apply's record, never changed
/undo/<number>/<kind>/<uid>             an object as it was before that apply
/revision                               the number of the current one
/changed                                empty; its `mod_revision` says when objects last changed
/staged/<number>                        one operation of a commit too large for a transaction; nothing until
/pending                                is there: the commit is made, and is carried out before anything else is
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from pydantic import ValidationError

from controller.store.interface import Entry
from resources.errors import DataLoss
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object, decode_object, encode_object

OBJECTS = "/objects/"
STATUS = "/status/"
REVISIONS = "/revisions/"
UNDO = "/undo/"
CURRENT_REVISION = "/revision"
CHANGED = "/changed"
STAGED = "/staged/"
PENDING = "/pending"
ALLOCATIONS = "/allocations/"


def object_key(key: Key) -> str:
    return f"{OBJECTS}{key.kind}/{key.uid}"


def status_key(key: Key) -> str:
    return f"{STATUS}{key.kind}/{key.uid}"


def name_key(ref: Ref) -> str:
    return f"/names/{ref.kind}/{ref.namespace}/{ref.name}"


def allocation_key(pool: str, value: str) -> str:
    return f"{pool_prefix(pool)}{_part(value)}"


def held_prefix(uid: str) -> str:
    return f"/held/{_part(uid)}/"


def held_key(uid: str, pool: str, slot: str) -> str:
    return f"{held_prefix(uid)}{_part(pool)}/{_part(slot)}"


def revision_key(number: int) -> str:
    return f"{REVISIONS}{number:012d}"


def undo_prefix(number: int) -> str:
    return f"{UNDO}{number:012d}/"


def staged_key(number: int) -> str:
    return f"{STAGED}{number:012d}"


def pool_prefix(pool: str) -> str:
    return f"{ALLOCATIONS}{_part(pool)}/"


def parts(key: str) -> list[str]:
    return [unquote(part) for part in key.split("/")[1:]]


def parse_key(key: str) -> Key | None:
    """The object that a key of the store is about, for what lies under /objects/ and /status/."""
    if not key.startswith((OBJECTS, STATUS)):
        return None
    _, kind, uid = parts(key)
    return Key(kind=Kind(kind), uid=uid)


def dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def dump_object(item: Object) -> bytes:
    data = encode_object(item)
    data["metadata"].pop("resourceVersion", None)
    return dump(data)


def load_object(entry: Entry) -> Object:
    try:
        data = json.loads(entry.value)
        data["metadata"]["resourceVersion"] = entry.mod_revision
        return decode_object(data)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataLoss(
            f"the store's entry {entry.key} is no object this version can read", hint="run the version that wrote it"
        ) from error


def dump_status(status: Status) -> bytes:
    return dump(status.model_dump(mode="json", exclude_defaults=True))


def load_status(entry: Entry) -> Status | None:
    """None for one that cannot be read: a report is made anew."""
    try:
        return Status.parse(json.loads(entry.value))
    except (ValueError, TypeError, ValidationError):
        return None


def _part(text: str) -> str:
    return quote(text, safe=":.,-_~+@")
