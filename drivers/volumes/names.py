"""What may name a folder or a file here: everything is checked before a path is built from it."""

import re
from collections.abc import Iterable

from resources.errors import InvalidArgument

_VOLUME = re.compile(r"[0-9a-f]{32}")
_TASK = re.compile(r"[0-9a-f]{64}")
_SLOT = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PROJECTION = re.compile(r"[0-9a-z][0-9a-z._-]{0,127}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z:_-]{0,127}")
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")


def checked_volume(volume_id: str) -> str:
    return _checked(_VOLUME, volume_id, "a volume id", "32 hex digits are")


def checked_task(task_id: str) -> str:
    return _checked(_TASK, task_id, "a task id", "64 hex digits are")


def checked_slot(slot: str) -> str:
    return _checked(_SLOT, slot, "a slot", "1 to 32 lower-case letters, digits, `_` and `-`")


def checked_projection(projection_id: str) -> str:
    return _checked(_PROJECTION, projection_id, "a projection id", "lower-case letters, digits, `.`, `_` and `-`")


def checked_version(version: str) -> str:
    return _checked(_VERSION, version, "a version", "letters, digits, `:`, `_` and `-`")


def check_keys(keys: Iterable[str]) -> None:
    for key in keys:
        _checked(_KEY, key, "a key", "it becomes a file name: letters, digits, `.`, `_` and `-`, no leading `.`")


def is_volume(name: str) -> bool:
    return _VOLUME.fullmatch(name) is not None


def is_task(name: str) -> bool:
    return _TASK.fullmatch(name) is not None


def is_projection(name: str) -> bool:
    return _PROJECTION.fullmatch(name) is not None


def _checked(pattern: re.Pattern[str], value: str, what: str, hint: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidArgument(f"{value[:80]!r} is not {what}", hint=hint)
    return value
