"""Who runs: the user and groups of a manifest or an image looked up in the image's own etc/passwd and etc/group.

Both files are hostile (threats.md RT-06 to RT-08): they are opened below the root without following anything out of it,
must be regular, and are read to a limit. Digits alone are always a uid, whatever name the file gives them, and nothing
ever falls back to 0.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.kernel.openat2 import Resolve, openat2
from resources.errors import FailedPrecondition, InvalidArgument

_MAX_BYTES = 1 << 20
_MAX_ENTRIES = 10_000
_MAX_ID = 2**31 - 1
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?")


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...]
    """Additional gids, without duplicates, in the order of the file; the primary one is not among them."""
    home: str


@dataclass(frozen=True, slots=True)
class _Passwd:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(rootfs: Path, user: str, groups: Sequence[str] = ()) -> User:
    """Resolve `user`, `user:group`, each a name or a number, and additional `groups`. "" is root.

    An additional list that is given comes on top of what etc/group says of the user; with `user:group` the file's
    memberships do not count, as in Docker.

    Raises: InvalidArgument for what can be no user; FailedPrecondition when the image does not know the name, or its
    file is not one.
    """
    name, colon, group = user.partition(":")
    if colon and not group:
        raise InvalidArgument(f"user {user!r} names no group after the colon")
    root = _open_root(rootfs)
    try:
        passwd = list(_passwd(root))
        known = list(_groups(root))
    finally:
        os.close(root)
    entry = _find_user(name or "0", passwd)
    gid = _find_group(group, known) if group else entry.gid
    extra: list[int] = []
    if not group and entry.name:
        extra += [g.gid for g in known if entry.name in g.members]
    extra += [_find_group(g, known) for g in groups]
    unique = tuple(dict.fromkeys(g for g in extra if g != gid))
    return User(entry.uid, gid, unique, entry.home)


def _find_user(name: str, passwd: Sequence[_Passwd]) -> _Passwd:
    if name.isascii() and name.isdigit():
        uid = _number(name, "user")
        return next((p for p in passwd if p.uid == uid), _Passwd("", uid, 0, "/"))
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"user {name[:80]!r} is neither a name nor a number from 0 to {_MAX_ID}")
    for entry in passwd:
        if entry.name == name:
            return entry
    raise FailedPrecondition(f"the image has no user {name!r} in etc/passwd", hint="add it, or give its number")


def _find_group(name: str, groups: Sequence[_Group]) -> int:
    if name.isascii() and name.isdigit():
        return _number(name, "group")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"group {name[:80]!r} is neither a name nor a number from 0 to {_MAX_ID}")
    for entry in groups:
        if entry.name == name:
            return entry.gid
    raise FailedPrecondition(f"the image has no group {name!r} in etc/group", hint="add it, or give its number")


def _number(text: str, what: str) -> int:
    if len(text) > 10 or int(text) > _MAX_ID:
        raise InvalidArgument(f"{what} {text[:80]} is out of range: 0 to {_MAX_ID}")
    return int(text)


def _passwd(root: int) -> Iterator[_Passwd]:
    for fields in _lines(root, "etc/passwd"):
        uid, gid = _field_id(fields, 2), _field_id(fields, 3)
        if fields[0] and uid is not None and gid is not None:
            home = fields[5] if len(fields) > 5 and fields[5].startswith("/") else "/"
            yield _Passwd(fields[0], uid, gid, home)


def _groups(root: int) -> Iterator[_Group]:
    for fields in _lines(root, "etc/group"):
        gid = _field_id(fields, 2)
        if fields[0] and gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            yield _Group(fields[0], gid, tuple(m.strip() for m in members if m.strip()))


def _field_id(fields: Sequence[str], index: int) -> int | None:
    """A line with an id that is none is skipped: it must never become 0."""
    if len(fields) <= index:
        return None
    text = fields[index]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID else None


def _lines(root: int, path: str) -> Iterator[list[str]]:
    count = 0
    for line in _read(root, path).split(b"\n"):
        if line and not line.startswith(b"#"):
            count += 1
            if count > _MAX_ENTRIES:
                raise FailedPrecondition(f"{path} of the image has more than {_MAX_ENTRIES} entries")
            yield line.decode("utf-8", "surrogateescape").split(":")


def _open_root(rootfs: Path) -> int:
    try:
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FailedPrecondition(f"the root file system {rootfs} is not there: {error.strerror}") from error


def _read(root: int, path: str) -> bytes:
    """The content of a regular file below the root; empty when it is absent."""
    resolve = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
    try:
        # Look before opening: even a non-blocking open has effects on some devices.
        handle = openat2(path, os.O_PATH, dir_fd=root, resolve=resolve)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return b""
        raise FailedPrecondition(f"{path} of the image cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FailedPrecondition(f"{path} of the image is not a regular file")
        if status.st_size > _MAX_BYTES:
            raise FailedPrecondition(f"{path} of the image has {status.st_size} bytes, more than {_MAX_BYTES}")
        with open(f"/proc/self/fd/{handle}", "rb") as file:
            return file.read(_MAX_BYTES)
    finally:
        os.close(handle)
