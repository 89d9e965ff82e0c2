"""Sandboxes as network namespaces bound to files: `<run root>/netns/<id>`, and `<run root>/sandboxes/<id>/` for the
files that name things. Both are on a tmpfs: a reboot takes them with the namespaces.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from drivers.kernel.files import clear, held_open, make_folder, read
from drivers.kernel.mount import mount, unmount
from drivers.kernel.namespaces import Namespace, run_in, run_in_new
from drivers.network.interface import Sandbox, SandboxFiles
from drivers.network.sandbox.etcfiles import NAMES, HostFiles, contents
from drivers.network.sandbox.loopback import loopback_is_up, raise_loopback
from drivers.snapshots.interface import Mount
from resources.errors import OUT_OF_DESCRIPTORS, EngineError, FailedPrecondition, InvalidArgument, ResourceExhausted

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{64}")
_MAX_FILE = 4 << 20
"""What a file of names may hold; a longer one is none of ours."""


class NetnsSandboxes:
    """`instance` is for links the drivers of networks name; the namespaces themselves are named by their path."""

    def __init__(self, run_root: Path, instance: str, host: HostFiles | None = None) -> None:
        self.instance = instance
        self._netns = run_root / "netns"
        self._files = run_root / "sandboxes"
        self._host = host or HostFiles()

    def create(self, sandbox_id: str, *, pid: int | None = None) -> Sandbox:
        path = self._path(sandbox_id)
        try:
            if _is_namespace(path):
                _enter(path, raise_loopback)
            else:
                make_folder(str(self._netns))
                os.close(held_open(str(path), os.O_RDONLY))
                if pid is None:
                    run_in_new(Namespace.NETWORK, lambda: _bind(path))
                else:
                    mount(Mount("bind", f"/proc/{pid}/ns/net", ("bind",)), path)
                    _enter(path, raise_loopback)
        except OSError as error:
            raise ResourceExhausted(f"cannot make a network namespace: {error.strerror}") from error
        return Sandbox(sandbox_id, path, True)

    def inspect(self, sandbox_id: str) -> Sandbox | None:
        path = self._path(sandbox_id)
        if _is_namespace(path):
            with suppress(FileNotFoundError):  # deleted meanwhile
                return Sandbox(sandbox_id, path, _enter(path, loopback_is_up))
        if path.exists() or (self._files / sandbox_id).exists():
            return Sandbox(sandbox_id, None, True)
        return None

    def delete(self, sandbox_id: str) -> None:
        path = self._path(sandbox_id)
        failures: list[EngineError] = []
        if path.exists():
            try:
                unmount(path)
            except EngineError as error:
                failures.append(error)
        # Removing the file also ends what other mount namespaces have copied of the mount on it.
        for what in (path, self._files / sandbox_id):
            try:
                clear(str(what))
            except OSError as error:
                failures.append(FailedPrecondition(f"cannot remove {error.filename}: {error.strerror}"))
        if failures:
            raise ExceptionGroup(f"sandbox {sandbox_id[:12]} is not wholly gone", failures)

    def list(self) -> Sequence[str]:
        found: set[str] = set()
        for folder in (self._netns, self._files):
            with suppress(FileNotFoundError):
                found.update(name for name in os.listdir(folder) if _ID.fullmatch(name))
        return sorted(found)

    def write_files(self, sandbox_id: str, files: SandboxFiles) -> None:
        wanted = contents(files, self._host)
        self._path(sandbox_id)
        folder = self._files / sandbox_id
        for name, content in wanted.items():
            try:
                make_folder(str(folder))
                _write_in_place(folder / name, content)
            except OSError as error:
                raise ResourceExhausted(f"cannot write {folder / name}: {error.strerror}") from error

    def files(self, sandbox_id: str) -> Mapping[str, Path]:
        self._path(sandbox_id)
        return {name: self._files / sandbox_id / name for name in NAMES}

    def files_match(self, sandbox_id: str, files: SandboxFiles) -> bool:
        wanted = contents(files, self._host)
        return all(_read(path) == wanted[name] for name, path in self.files(sandbox_id).items())

    def _path(self, sandbox_id: str) -> Path:
        if not _ID.fullmatch(sandbox_id):
            raise InvalidArgument(f"{sandbox_id[:80]!r} is not a sandbox id: 64 hex digits are")
        return self._netns / sandbox_id


def _bind(path: Path) -> None:
    raise_loopback()
    mount(Mount("bind", "/proc/thread-self/ns/net", ("bind",)), path)


def _is_namespace(path: Path) -> bool:
    """Whether a namespace is bound there, or it is the empty file a crash or a reboot left."""
    try:
        return path.stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def _enter(path: Path, work: Callable[[], T]) -> T:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return run_in(fd, Namespace.NETWORK, work)
    finally:
        os.close(fd)


def _write_in_place(path: Path, content: bytes) -> None:
    """The same inode, since it is bound into running containers. Never emptied first: a reader finds something."""
    fd = held_open(str(path), os.O_RDWR)
    try:
        if os.fstat(fd).st_mode & 0o777 != 0o644:
            os.fchmod(fd, 0o644)
        if os.pread(fd, len(content) + 1, 0) != content:
            os.pwrite(fd, content, 0)
            os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _read(path: Path) -> bytes | None:
    try:
        return read(str(path), _MAX_FILE)
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise
        return None
