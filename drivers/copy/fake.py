"""The copier in memory, for tests of what is above it: trees of files, folders and links, one for each root."""

import posixpath
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from drivers.copy.interface import Entry
from drivers.images import tar
from drivers.images.limits import DEFAULT
from drivers.images.streams import opened
from drivers.images.tarwriter import END, header, padding
from drivers.images.treepath import clean
from resources.errors import InvalidArgument, NotFound

_TYPES = {stat.S_IFREG: tar.Type.FILE, stat.S_IFDIR: tar.Type.DIRECTORY, stat.S_IFLNK: tar.Type.SYMLINK}


@dataclass(frozen=True, slots=True)
class _Node:
    mode: int
    data: bytes = b""
    """Content, or the target of a link."""
    mtime: int = 0
    uid: int = 0
    gid: int = 0


class FakeCopier:
    """`roots` are the roots that are there; `put` makes a file in one, `read` gives its content."""

    def __init__(self) -> None:
        self.roots: dict[Path, dict[str, _Node]] = {}
        self.calls: list[tuple[str, Path, str]] = []

    def add_root(self, root: Path) -> None:
        self.roots.setdefault(root, {"/": _Node(stat.S_IFDIR | 0o755)})

    def put(self, root: Path, path: str, data: bytes, mode: int = 0o644) -> None:
        self._put(root, _normal(path), _Node(stat.S_IFREG | mode, data, int(time.time())))

    def link(self, root: Path, path: str, target: str) -> None:
        self._put(root, _normal(path), _Node(stat.S_IFLNK | 0o777, target.encode(), int(time.time())))

    def read(self, root: Path, path: str) -> bytes | None:
        found = self._tree(root).get(self._resolved(root, path, last=True))
        return found.data if found and stat.S_ISREG(found.mode) else None

    def stat(self, root: Path, path: str) -> Entry | None:
        where = self._resolved(root, path, last=path.endswith(("/", "/.")))
        node = self._tree(root).get(where)
        if node is None:
            return None
        link = node.data.decode() if stat.S_ISLNK(node.mode) else ""
        return Entry(_last(path), len(node.data), node.mode, node.mtime, link)

    def pack(self, root: Path, path: str) -> Iterator[bytes]:
        self.calls.append(("pack", root, path))
        where = self._resolved(root, path, last=path.endswith(("/", "/.")))
        if where not in self._tree(root):
            raise NotFound(f"{path} is not there")
        return self._packed(dict(self._tree(root)), where, _last(path))

    def unpack(self, root: Path, path: str, archive: BinaryIO) -> None:
        self.calls.append(("unpack", root, path))
        base = self._resolved(root, path, last=True)
        node = self._tree(root).get(base)
        if node is None or not stat.S_ISDIR(node.mode):
            raise NotFound(f"{path} is no folder of the container")
        with opened(archive, DEFAULT.max_unpacked) as stream:
            reader = tar.TarReader(stream)
            for entry in reader:
                self._take(root, base, entry, reader)

    def _take(self, root: Path, base: str, entry: tar.Entry, reader: tar.TarReader) -> None:
        name = clean(entry.name, DEFAULT).decode(errors="surrogateescape")
        if not name:
            return
        where = self._resolved(root, f"{base}/{name}", last=entry.type is tar.Type.DIRECTORY)
        old = self._tree(root).get(where)
        fresh = _Node(0, b"", entry.mtime_ns // 10**9, entry.uid, entry.gid)
        if entry.type is tar.Type.DIRECTORY:
            if old is not None and not stat.S_ISDIR(old.mode):
                raise InvalidArgument(f"{name}: not a folder")
            self._put(root, where, replace(fresh, mode=stat.S_IFDIR | entry.mode))
            return
        if old is not None and stat.S_ISDIR(old.mode):
            raise InvalidArgument(f"{name}: a folder is there")
        if entry.type is tar.Type.FILE:
            data = b"".join(iter(lambda: reader.read(1 << 20), b""))
            self._put(root, where, replace(fresh, mode=stat.S_IFREG | entry.mode, data=data))
        elif entry.type is tar.Type.SYMLINK:
            self._put(root, where, replace(fresh, mode=stat.S_IFLNK | 0o777, data=entry.link))
        elif entry.type is tar.Type.HARDLINK:
            target = self._tree(root).get(f"{base.rstrip('/')}/{clean(entry.link, DEFAULT).decode()}")
            if target is None:
                raise InvalidArgument(f"{name}: a hard link to nothing")
            self._put(root, where, target)

    def _tree(self, root: Path) -> dict[str, _Node]:
        if root not in self.roots:
            raise NotFound(f"the root {root} is not there")
        return self.roots[root]

    def _put(self, root: Path, where: str, node: _Node) -> None:
        tree = self._tree(root)
        above = posixpath.dirname(where)
        while above not in tree:
            tree[above] = _Node(stat.S_IFDIR | 0o755)
            above = posixpath.dirname(above)
        if not stat.S_ISDIR(tree[above].mode):
            raise InvalidArgument(f"{where}: {above} is no folder")
        tree[where] = node

    def _resolved(self, root: Path, path: str, *, last: bool) -> str:
        """The path with its links followed, the last component's only on request."""
        done, todo, links = "/", _normal(path).split("/")[1:], 0
        while todo:
            here = posixpath.join(done, todo.pop(0))
            node = self._tree(root).get(here)
            if node and stat.S_ISLNK(node.mode) and (todo or last) and links < 40:
                links += 1
                target = posixpath.normpath(posixpath.join(done, node.data.decode()))
                done, todo = "/", [part for part in target.split("/") if part] + todo
            else:
                done = here
        return posixpath.normpath(done)

    @staticmethod
    def _packed(tree: dict[str, _Node], where: str, name: str) -> Iterator[bytes]:
        for path in sorted(tree):
            if path != where and not path.startswith(f"{where.rstrip('/')}/"):
                continue
            node = tree[path]
            kind = _TYPES[stat.S_IFMT(node.mode)]
            below = path[len(where.rstrip("/")) :] if path != where else ""
            slash = "/" if kind is tar.Type.DIRECTORY else ""
            data = node.data if kind is tar.Type.FILE else b""
            link = node.data if kind is tar.Type.SYMLINK else b""
            entry_name = f"{name}{below}{slash}".encode(errors="surrogateescape")
            mode, mtime = stat.S_IMODE(node.mode), node.mtime * 10**9
            yield header(tar.Entry(kind, entry_name, link, len(data), mode, node.uid, node.gid, mtime, 0, 0, {}))
            yield data + padding(len(data))
        yield END


def _normal(path: str) -> str:
    if "\0" in path or len(path) > 4096:
        raise InvalidArgument(f"{path[:80]!r} is not a path")
    return posixpath.normpath("/" + path.lstrip("/"))


def _last(path: str) -> str:
    return _normal(path).rpartition("/")[2] or "."
