"""Folders of the user's as tar streams, in a fixed order, so that the same folder is the same bytes."""

import io
import os
import tarfile
from collections.abc import Iterator

_BLOCK = 1 << 18


def folder(path: str) -> Iterator[bytes]:
    """What is in the folder, named from it on."""
    yield from _pack(path, [(name, name) for name in sorted(os.listdir(path))])


def named(path: str, name: str = "") -> Iterator[bytes]:
    """One file or folder, under its own name or another; a link at the very end is not followed."""
    parent, own = os.path.split(os.path.abspath(path))
    os.lstat(path)
    yield from _pack(parent, [(own, name or own)])


def _pack(base: str, roots: list[tuple[str, str]]) -> Iterator[bytes]:
    gathered = bytearray()
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:  # it finds hard links; nothing is written to it
        for inner, name in _walk(base, roots):
            path = os.path.join(base, inner)
            info = archive.gettarinfo(path, name)
            if info is None:  # a socket
                continue
            _plain(info, path)
            gathered += info.tobuf(tarfile.PAX_FORMAT)
            for chunk in _body(path, info.size) if info.isreg() else ():
                gathered += chunk
                if len(gathered) >= _BLOCK:
                    yield bytes(gathered)
                    gathered.clear()
    yield bytes(gathered + bytes(2 * tarfile.BLOCKSIZE))


def _body(path: str, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes and the padding, whatever the file does meanwhile: the header has said so."""
    left = size
    with open(path, "rb") as file:
        while left:
            chunk = file.read(min(left, _BLOCK)) or bytes(min(left, _BLOCK))
            left -= len(chunk)
            yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)


def _walk(base: str, roots: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    stack = roots[::-1]
    while stack:
        inner, name = stack.pop()
        yield inner, name
        path = os.path.join(base, inner)
        if os.path.isdir(path) and not os.path.islink(path):
            below = sorted(os.listdir(path), reverse=True)
            stack += [(os.path.join(inner, child), f"{name}/{child}") for child in below]


def _plain(info: tarfile.TarInfo, path: str) -> None:
    """Numbers only: names of users are this host's, fractions of seconds are copied by nothing."""
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)
    if info.isreg():
        try:
            capability = os.getxattr(path, "security.capability", follow_symlinks=False)
        except OSError:
            return
        info.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")}
