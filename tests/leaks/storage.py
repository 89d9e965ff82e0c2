"""Files in the places we may write to, block devices, shared memory, and stores against their own records."""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.leaks.model import Item, Scope, Store

WATCHED_FOLDERS = ("/tmp", "/var/tmp", "/run", "/run/lading", "/run/netns", "/dev/shm", "/var/lib", "/var/lib/lading")
RUNTIME_ROOTS = ("/run/crun", "/run/runc", "/run/user/0/crun", "/run/user/0/runc")


def file_items() -> Iterator[Item]:
    for folder in dict.fromkeys(os.path.realpath(name) for name in WATCHED_FOLDERS):
        for path in _entries(folder):
            # Only a runtime that was killed half way leaves these; they tell nothing about whose they were.
            stray = path.startswith(("/tmp/crun.", "/tmp/runc."))
            yield Item("file", path, (path,), anonymous=stray)
    for folder in RUNTIME_ROOTS:
        for path in _entries(folder):
            yield Item("runtime state", path, (path,))


def _entries(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except OSError:
        return []


def state_items(scope: Scope) -> Iterator[Item]:
    """What is left in our own roots: any socket or fifo, and below `state` any file at all."""
    for root in scope.roots:
        for path, mode in _walk(root):
            if stat.S_ISSOCK(mode):
                yield Item("socket file", path, (path,))
            elif stat.S_ISFIFO(mode):
                yield Item("fifo", path, (path,))
    for root in scope.state:
        for path, mode in _walk(root):
            name = os.path.relpath(path, root)
            if not stat.S_ISDIR(mode) and not any(fnmatch.fnmatch(name, pattern) for pattern in scope.kept):
                yield Item("state", path, (str(root), path), fault=True)


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            try:
                yield path, os.lstat(path).st_mode
            except OSError:
                continue


def block_items() -> Iterator[Item]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text().strip()
        except OSError:
            continue
        yield Item("loop device", f"/dev/{backing.parts[3]} of {file}", (file,))
    for name in Path("/sys/block").glob("dm-*/dm/name"):
        try:
            text = name.read_text().strip()
        except OSError:
            continue
        yield Item("mapped device", text, (text,))


def memory_items() -> Iterator[Item]:
    for kind in ("shm", "sem", "msg"):
        for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            makers = tuple(int(pid) for pid in fields[4:6]) if kind == "shm" else ()
            yield Item("sysv ipc", f"{kind} {fields[1]}", (), makers)


def store_items(stores: tuple[Store, ...]) -> Iterator[Item]:
    """Rows without a folder entry and entries without a row. They count even if they were there before."""
    for store in stores:
        entries = {os.path.basename(path) for path in _entries(str(store.folder))}
        known = set(store.known())
        for name in sorted(entries - known):
            yield Item("orphan", f"{store.name}: {store.folder / name} has no record", fault=True)
        for name in sorted(known - entries):
            yield Item("missing", f"{store.name}: {store.folder / name} is recorded but absent", fault=True)


def unreferenced_blobs(layout: Path) -> list[str]:
    """What is wrong with an OCI image layout: blobs nothing refers to, blobs referred to but absent, altered ones."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs" / "sha256"
    present = {path.name for path in blobs.iterdir()} if blobs.is_dir() else set()
    wanted: set[str] = set()
    todo = [index]
    while todo:
        for descriptor in _descriptors(todo.pop()):
            digest = descriptor["digest"].removeprefix("sha256:")
            if digest in wanted:
                continue
            wanted.add(digest)
            if digest in present and descriptor["mediaType"].endswith("json"):
                todo.append(json.loads((blobs / digest).read_text()))
    found = [f"{name} is referred to by nothing" for name in sorted(present - wanted)]
    found += [f"{name} is referred to and absent" for name in sorted(wanted - present)]
    for name in sorted(present & wanted):
        with (blobs / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                found.append(f"{name} does not match its digest")
    return found


def _descriptors(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    yield from document.get("manifests", ())
    yield from document.get("layers", ())
    if "config" in document and "digest" in document["config"]:
        yield document["config"]
