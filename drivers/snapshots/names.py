"""The names root file systems are mounted under, and the one check before a path is built from one."""

import re

from resources.errors import InvalidArgument

_NAME = re.compile(r"[0-9a-f]{64}(?:\.[a-z][a-z0-9]{0,15})?")


def checked_name(name: str) -> str:
    """Raises: InvalidArgument for anything but 64 lower-case hex digits, with "." and a slot perhaps."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name[:80]!r} names no root file system", hint="a task id, or `<task id>.<slot>`")
    return name


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
