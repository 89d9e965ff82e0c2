"""mount(2), umount(2), the fsopen(2) family, and what /proc/self/mountinfo says.

Overlays are made by fsopen and one `lowerdir+` a layer where the kernel can (6.8): 500 layers instead of what fits in one
page. Older kernels get mount(2) with each directory as /proc/self/fd/N, 18 bytes whatever the path is, and with no chdir,
which would belong to the whole process.
"""

import ctypes
import errno
import os
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drivers.snapshots.interface import Mount
from resources.errors import EngineError, FailedPrecondition, ResourceExhausted, Unsupported

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_OPEN_TREE_CLONE, _AT_EMPTY_PATH, _AT_RECURSIVE = 1, 0x1000, 0x8000
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_PAGE = 4096

_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 32, 4096, 16384
_PER_MOUNT = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "remount": 32, "noatime": 1024, "nodiratime": 2048}
"""The mount flags; the attribute bits of fsmount(2) are the same for the first four."""
_ATTR_NOATIME, _ATTR_NODIRATIME = 0x10, 0x80
_PROPAGATION = {"private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20, "unbindable": 1 << 17}


class _NotByFsopen(Exception):
    """This kernel cannot make the mount by fsopen(2)."""


@dataclass(frozen=True, slots=True)
class MountInfo:
    """One line of /proc/self/mountinfo, octal escapes decoded."""

    id: int
    parent: int
    device: str
    root: str
    target: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    """`shared:3`, `master:1`, …"""
    type: str
    source: str
    super_options: tuple[str, ...]


def mount(description: Mount, target: Path) -> None:
    """Mount what `description` says on the existing directory (or file) `target`, never through a link at its end.

    Raises: FailedPrecondition naming source, target and the kernel's reason.
    """
    with _reported(description, target):
        if "bind" in description.options or "rbind" in description.options or description.type == "bind":
            _bind(description, target)
        elif description.type == "overlay":
            try:
                _overlay_by_fsopen(description, target)
            except _NotByFsopen:
                _overlay_by_mount(description, target)
        else:
            flags, data = _split(description.options)
            _mount(description.source, target, description.type, flags, ",".join(data))
    _propagate(description.options, target)


def bind_descriptor(fd: int, target: Path, options: tuple[str, ...]) -> None:
    """Bind what `fd` is open on (with what is mounted below it) on `target`: no path of the source is looked at again.

    Options and propagation hold for all of it, and from the first moment: the copy is dressed before it is attached.

    Raises: as `mount`; Unsupported before 5.12.
    """
    flags, _ = _split(options)
    propagation = next((_PROPAGATION[o.removeprefix("r")] for o in options if o.removeprefix("r") in _PROPAGATION), 0)
    with _reported(Mount("bind", os.readlink(f"/proc/self/fd/{fd}"), options), target), ExitStack() as stack:
        try:
            tree = _call(_OPEN_TREE, fd, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | _AT_RECURSIVE | os.O_CLOEXEC)
            stack.callback(os.close, tree)
            attributes = struct.pack("=4Q", _attributes(flags), 0, propagation, 0)
            _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attributes, len(attributes))
            _call(_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        except _NotByFsopen:
            raise OSError(errno.ENOSYS, "the kernel is older than 5.12") from None


def unmount(target: Path, *, detach: bool = True) -> None:
    """Unmount what is on `target`; nothing there is fine. With `detach` users of it do not hold it up.

    Raises: FailedPrecondition when it is busy and `detach` is False.
    """
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if detach else 0)
    if _libc.umount2(os.fsencode(target), ctypes.c_int(flags)) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise FailedPrecondition(f"cannot unmount {target}: {os.strerror(code)}", hint="see who uses it: fuser -m")


@cache
def overlay_by_layer() -> bool:
    """Whether this kernel takes the layers of an overlay one by one (`lowerdir+`, 6.8)."""
    try:
        context = _call(_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
    except (_NotByFsopen, OSError):
        return False
    try:
        # Before 6.5 an option is looked at only when the mount is created: one that cannot be is taken as well.
        return _takes(context, "lowerdir+", "/") and not _takes(context, "lading", "1")
    finally:
        os.close(context)


def mounts() -> tuple[MountInfo, ...]:
    """Every mount of this process's mount namespace, in the kernel's order: later ones may hide earlier ones."""
    return tuple(parse_mountinfo(Path("/proc/self/mountinfo").read_bytes()))


def is_mounted(target: Path) -> bool:
    wanted = os.path.realpath(target.parent) + "/" + target.name if target.name else "/"
    return any(m.target == wanted.replace("//", "/") for m in mounts())


def parse_mountinfo(text: bytes) -> Iterator[MountInfo]:
    for line in text.split(b"\n"):
        before, dash, after = line.partition(b" - ")
        head, tail = before.split(b" "), after.split(b" ")
        if not dash or len(head) < 6 or len(tail) < 3:
            continue
        yield MountInfo(
            id=int(head[0]),
            parent=int(head[1]),
            device=head[2].decode(),
            root=_unescape(head[3]),
            target=_unescape(head[4]),
            options=tuple(_unescape(head[5]).split(",")),
            optional=tuple(o.decode() for o in head[6:]),
            type=_unescape(tail[0]),
            source=_unescape(tail[1]),
            super_options=tuple(_unescape(tail[2]).split(",")),
        )


def _unescape(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 0xFF]), field))


@contextmanager
def _reported(description: Mount, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot mount {description.type} {description.source} on {target}: {error.strerror}"
        kind: type[EngineError] = FailedPrecondition
        if error.errno in (errno.ENODEV, errno.ENOSYS):
            kind = Unsupported
        elif error.errno in (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            kind = ResourceExhausted
        raise kind(what, hint="`lading doctor` tells what this kernel lacks") from error


def _split(options: tuple[str, ...]) -> tuple[int, list[str]]:
    flags, data = 0, []
    for option in options:
        if option in _PER_MOUNT:
            flags |= _PER_MOUNT[option]
        elif option not in ("rw", "bind", "rbind") and option.removeprefix("r") not in _PROPAGATION:
            data.append(option)
    return flags, data


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    if len(data) >= _PAGE:
        raise OSError(errno.E2BIG, f"the mount options take {len(data)} bytes, {_PAGE - 1} fit")
    raw = (os.fsencode(source), os.fsencode(target), kind.encode(), os.fsencode(data) or None)
    if _libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _bind(description: Mount, target: Path) -> None:
    flags, _ = _split(description.options)
    recursive = _MS_REC if "rbind" in description.options else 0
    _mount(description.source, target, "none", _MS_BIND | recursive, "")
    if flags:
        try:
            # Flags of a bind mount take effect in a second call only.
            _mount("none", target, "none", flags | _MS_BIND | _MS_REMOUNT, "")
        except OSError:
            unmount(target)
            raise


def _propagate(options: tuple[str, ...], target: Path) -> None:
    for option in options:
        name = option.removeprefix("r") if option != "ro" else option
        if name in _PROPAGATION:
            _mount("none", target, "none", _PROPAGATION[name] | (_MS_REC if option[0] == "r" else 0), "")


def _overlay_by_fsopen(description: Mount, target: Path) -> None:
    if not overlay_by_layer():
        raise _NotByFsopen
    with ExitStack() as stack:
        context = _call(_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
        stack.callback(os.close, context)
        flags, data = _split(description.options)
        _configure(context, "source", description.source)
        for lower in description.lower:
            _configure(context, "lowerdir+", str(lower))
        for option in data:
            key, _, value = option.partition("=")
            _configure(context, key, value or None)
        if flags & _MS_RDONLY:
            _configure(context, "ro", None)
        if _libc_syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            raise _explained(context)
        mounted = _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _attributes(flags))
        stack.callback(os.close, mounted)
        _call(_MOVE_MOUNT, mounted, b"", -100, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def _attributes(flags: int) -> int:
    attributes = flags & 0xF
    attributes |= _ATTR_NOATIME if flags & _PER_MOUNT["noatime"] else 0
    return attributes | (_ATTR_NODIRATIME if flags & _PER_MOUNT["nodiratime"] else 0)


def _takes(context: int, key: str, value: str) -> bool:
    try:
        _configure(context, key, value)
    except OSError:
        return False
    return True


def _configure(context: int, key: str, value: str | None) -> None:
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    raw = None if value is None else os.fsencode(value)
    if _libc_syscall(_FSCONFIG, context, command, key.encode(), raw, 0) < 0:
        raise _explained(context, f"{key}={value}" if value is not None else key)


def _explained(context: int, what: str = "") -> OSError:
    """The last errno with the option it is about, or what the kernel wrote to the context's own log."""
    code = ctypes.get_errno()
    try:
        said = os.read(context, 1024).decode(errors="replace").strip()
    except OSError:
        said = ""
    said = ": ".join(filter(None, (what, said)))
    return OSError(code, f"{os.strerror(code)} ({said})" if said else os.strerror(code))


def _overlay_by_mount(description: Mount, target: Path) -> None:
    flags, data = _split(description.options)
    with ExitStack() as stack:

        def short(path: str | Path) -> str:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        options = [f"lowerdir={':'.join(short(lower) for lower in description.lower)}"]
        for option in data:
            key, _, value = option.partition("=")
            options.append(f"{key}={short(value)}" if key in ("upperdir", "workdir") else option)
        _mount(description.source, target, "overlay", flags, ",".join(options))


def _call(number: int, *arguments: int | bytes | None) -> int:
    result = _libc_syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise _NotByFsopen
        raise OSError(code, os.strerror(code))
    return result


def _libc_syscall(number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *converted))
