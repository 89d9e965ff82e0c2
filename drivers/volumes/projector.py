"""Secrets and Configs as files in a tmpfs at `<run root>/projected`, never swapped out where the kernel can.

A folder is swapped by one rename: `..data` is a link to the folder of a version, and each key a link through it. A file
that is bound by itself is written in place instead, for a bind holds on to the file, whatever its name becomes.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from drivers.kernel.private import PrivateFolder
from drivers.volumes.names import check_keys, checked_projection, checked_version, is_projection
from resources.errors import Conflict, FailedPrecondition, ResourceExhausted

_CURRENT, _VERSION, _NEW = "..data", "..version", "..new"
_AGAIN = "~"
"""Ends the folder's name when what it should replace has the plain one: a version that was altered."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE)

Owner = tuple[int, int, int]
"""Mode, uid and gid of every file."""


class TmpfsProjector:
    def __init__(self, run_root: Path) -> None:
        self._root = PrivateFolder(run_root / "projected", preferred=("noswap",), bindable=True)

    def project(
        self,
        projection_id: str,
        version: str,
        files: Mapping[str, bytes],
        *,
        mode: int,
        uid: int,
        gid: int,
        in_place: bool = False,
    ) -> None:
        folder = self.path(projection_id)
        checked_version(version)
        check_keys(files)
        owner = (mode, uid, gid)
        try:
            with self._root.lock:
                self._root.open()
                if os.path.lexists(folder / (_CURRENT if in_place else _VERSION)):
                    raise Conflict(f"projection {projection_id} is there already, made the other way")
                if not folder.is_dir():
                    folder.mkdir(mode=0o700)
                    folder.chmod(0o755)
                if in_place:
                    _rewrite(folder, version, files, owner)
                else:
                    _swap(folder, version, files, owner)
        except OSError as error:
            kind = ResourceExhausted if error.errno in _FULL else FailedPrecondition
            raise kind(f"cannot project {projection_id}: {error.strerror}") from error

    def version(self, projection_id: str) -> str | None:
        folder = self.path(projection_id)
        name = _link(folder / _CURRENT) or _link(folder / _VERSION)
        return name.removeprefix("..").removesuffix(_AGAIN) if name else None

    def intact(self, projection_id: str, files: Mapping[str, bytes]) -> bool:
        folder = self.path(projection_id)
        if _link(folder / _CURRENT) is not None:
            return _swapped(folder, files)
        return _link(folder / _VERSION) is not None and _holds(folder, files, (_VERSION,))

    def path(self, projection_id: str, key: str | None = None) -> Path:
        folder = self._root.path / checked_projection(projection_id)
        if key is None:
            return folder
        check_keys([key])
        return folder / key

    def delete(self, projection_id: str) -> None:
        folder = self.path(projection_id)
        with self._root.lock:
            if folder.exists():
                try:
                    shutil.rmtree(folder)
                except OSError as error:
                    raise FailedPrecondition(f"cannot remove {folder}: {error.strerror}") from error
            self._root.release()

    def list(self) -> Iterator[str]:
        return iter([name for name in self._root.names() if is_projection(name)])


def _swap(folder: Path, version: str, files: Mapping[str, bytes], owner: Owner) -> None:
    current, name = _link(folder / _CURRENT), f"..{version}"
    if current in (name, name + _AGAIN):
        if _swapped(folder, files, owner):
            return
        name = name + _AGAIN if current == name else name
    made = folder / name
    _remove(made)
    made.mkdir(mode=0o700)
    for key, content in files.items():
        _write(made / key, content, owner)
    made.chmod(0o755)
    _point(folder / _CURRENT, name)
    for key in files:
        if _link(folder / key) != f"{_CURRENT}/{key}":
            _point(folder / key, f"{_CURRENT}/{key}")
    _keep(folder, {*files, _CURRENT, name})


def _rewrite(folder: Path, version: str, files: Mapping[str, bytes], owner: Owner) -> None:
    mark = folder / _VERSION
    if _link(mark) == version and _holds(folder, files, (_VERSION,), owner):
        return
    _remove(mark)  # until all of it is written, it is no version
    for key, content in files.items():
        if not _holds_file(folder / key, content, owner):
            _write(folder / key, content, owner)
    _keep(folder, set(files))
    _point(mark, version)


def _swapped(folder: Path, files: Mapping[str, bytes], owner: Owner | None = None) -> bool:
    current = _link(folder / _CURRENT) or ""
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (
        names == {*files, _CURRENT, current}
        and all(_link(folder / key) == f"{_CURRENT}/{key}" for key in files)
        and _holds(folder / current, files, (), owner)
    )


def _holds(folder: Path, files: Mapping[str, bytes], beside: tuple[str, ...], owner: Owner | None = None) -> bool:
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return names == {*files, *beside} and all(_holds_file(folder / key, files[key], owner) for key in files)


def _holds_file(path: Path, content: bytes, owner: Owner | None) -> bool:
    try:
        fd = os.open(path, _READ)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(content):
            return False
        if owner is not None and owner != _owner(status):
            return False
        return os.pread(fd, len(content) + 1, 0) == content
    finally:
        os.close(fd)


def _write(path: Path, content: bytes, owner: Owner) -> None:
    """Write into the file that is there, or into a new one; what is no file is removed first."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        _remove(path)
    fd = os.open(path, _WRITE, 0o600)
    try:
        # Owner and mode come first: content is never shown to anyone it is not for.
        if _owner(os.fstat(fd)) != owner:
            os.fchmod(fd, 0o600)
            os.fchown(fd, owner[1], owner[2])
            os.fchmod(fd, owner[0])
        view, offset = memoryview(content), 0
        while offset < len(content):
            offset += os.pwrite(fd, view[offset:], offset)
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _owner(status: os.stat_result) -> Owner:
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _point(path: Path, target: str) -> None:
    new = path.with_name(_NEW)
    _remove(new)
    os.symlink(target, new)
    if path.is_dir() and not path.is_symlink():
        _remove(path)
    os.rename(new, path)


def _keep(folder: Path, names: set[str]) -> None:
    for name in set(os.listdir(folder)) - names:
        _remove(folder / name)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
