"""What a command may ask of the user's side: files, folders as tars, the environment. Loaded when it asks."""

import contextlib
import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from controller.cli.client.site_packages import with_packages
from controller.cli.wire import frames
from controller.cli.wire.chunks import reader
from resources.errors import Cancelled, EngineError, InvalidArgument, NotFound, ResourceExhausted

_SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 10_000
_REASONS = {
    errno.ENOENT: "NotFound",
    errno.ENOTDIR: "NotFound",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EROFS: "PermissionDenied",
    errno.ENOSPC: "ResourceExhausted",
    errno.EDQUOT: "ResourceExhausted",
    errno.EISDIR: "InvalidArgument",
    errno.ELOOP: "InvalidArgument",
    errno.ENAMETOOLONG: "InvalidArgument",
}


class Files:
    def __init__(self, send: Callable[[bytes, bytes], None], next_frame: Callable[[], tuple[bytes, bytes]]) -> None:
        self._send = send
        self._next_frame = next_frame
        self._source: Iterator[bytes] = iter(())
        self._arriving: Iterator[bytes] = iter(())
        self._answers: dict[str, Callable[..., None]] = {
            "find": self._find,
            "read": self._read,
            "identity": self._identity,
            "digest": self._digest,
            "send": lambda path: self._begin(content(path)),
            "pack": lambda path, name: self._begin(packed(path, name)),
            "next": self._next,
            "variable": self._variable,
            "variables": self._variables,
            "write": self._write,
            "receive": self._receive,
            "ask": self._ask,
        }

    def answer(self, payload: bytes) -> None:
        name, *arguments = map(frames.text, frames.unpack(payload))
        try:
            self._answers[name](*arguments)
        except EngineError as error:
            self._fail(error.reason, error.message, error.hint)
        except OSError as error:
            path = f"{error.filename}: " if error.filename is not None else ""
            reason = _REASONS.get(error.errno or 0, "Unavailable")
            self._fail(reason, f"{path}{(error.strerror or str(error)).lower()}", "")
        with contextlib.suppress(Cancelled):
            for _ in self._arriving:  # what the engine sent before it learnt how it ended
                pass

    def _say(self, *fields: "str | bytes") -> None:
        self._send(frames.ANSWER, frames.pack(*fields))

    def _fail(self, *fields: str) -> None:
        self._send(frames.FAILED, frames.pack(*fields))

    def _find(self, path: str) -> None:
        self._say(*find(path))

    def _read(self, path: str, limit: str) -> None:
        self._begin(_limited(path, int(limit)))

    def _identity(self, path: str) -> None:
        found = os.stat(path)
        parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        self._say(*(str(max(part, 0)) for part in parts if stat.S_ISREG(found.st_mode)))

    def _digest(self, path: str) -> None:
        size, hashed = 0, hashlib.sha256()
        for chunk in content(path):
            size += len(chunk)
            hashed.update(chunk)
        self._say(f"sha256:{hashed.hexdigest()}", str(size))

    def _begin(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._next()

    def _next(self) -> None:
        chunk = next(self._source, None)
        if chunk is None:
            self._say()
        else:
            self._send(frames.DATA, chunk)

    def _variable(self, name: str) -> None:
        value = os.environ.get(name)
        self._say(*([] if value is None else [value]))

    def _variables(self) -> None:
        self._begin(_in_frames(frames.pack(*(f"{name}={value}" for name, value in os.environ.items()))))

    def _ask(self, question: str, hidden: str) -> None:
        from controller.cli.client.asking import ask

        self._say(ask(question, hidden=bool(hidden)))

    def _incoming(self) -> Iterator[bytes]:
        self._arriving = self._content()
        return self._arriving

    def _content(self) -> Iterator[bytes]:
        while (got := self._next_frame())[0] == frames.DATA:
            yield got[1]
        if got[0] != frames.END:
            raise frames.Broken("content was expected")
        if got[1] == frames.CUT:
            raise Cancelled("it was cut short")

    def _write(self, path: str) -> None:
        write(path, self._incoming())
        self._say()

    def _receive(self, path: str, name: str) -> None:
        if path == "-":
            for chunk in self._incoming():
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        else:
            receive(path, name, reader(self._incoming()))
        self._say()


def find(path: str) -> list[str]:
    """A file: itself. A folder: its manifests, below it too, sorted."""
    if path == "-" or not stat.S_ISDIR(os.stat(path).st_mode):
        return [path]
    found: list[str] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (os.path.join(folder, name) for name in names if name.endswith(_SUFFIXES) and name[0] != ".")
        if len(found) > MAX_FILES:
            raise InvalidArgument(f"{path}: more than {MAX_FILES} manifests")
    if not found:
        raise NotFound(f"{path}: no *.yaml, *.yml or *.json in it")
    return sorted(found)


def content(path: str) -> Iterator[bytes]:
    """The bytes of a file, or of a folder packed as a tar that is the same whenever the folder is."""
    if stat.S_ISDIR(os.stat(path).st_mode):
        from controller.cli.client.packing import folder

        yield from folder(path)
        return
    with _open(path) as file:
        # It is read twice, and to its end.
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidArgument(f"{path}: neither a file nor a folder")
        while chunk := file.read(frames.CHUNK):
            yield chunk


def packed(path: str, name: str) -> Iterator[bytes]:
    if path == "-":
        while chunk := sys.stdin.buffer.read(frames.CHUNK):
            yield chunk
        return
    from controller.cli.client.packing import named

    yield from named(path, name)


def write(path: str, chunks: Iterator[bytes]) -> None:
    """A new file that only its owner reads, or one replaced all at once."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".lading-")
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def receive(path: str, name: str, archive: BinaryIO) -> None:
    """Extract into the folder `path`; with `name`, or where no such folder is, what the archive holds gets a new name."""
    with_packages()
    from drivers.copy.copier import TreeCopier

    copier = TreeCopier()
    if not name and os.path.isdir(path):
        copier.unpack(Path(path), "/", archive)
        return
    folder = path if name else os.path.dirname(path) or "."
    name = name or os.path.basename(path)
    if not name or not os.path.isdir(folder):
        raise NotFound(f"there is no folder {folder}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".lading-") as scratch:
        copier.unpack(Path(scratch), "/", archive)
        found = os.listdir(scratch)
        if len(found) != 1:
            raise InvalidArgument(f"{len(found)} things came, and one name for them")
        os.rename(os.path.join(scratch, found[0]), os.path.join(folder, name))


def _open(path: str) -> BinaryIO:
    # Not waiting for the other end of a fifo that happens to lie there.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.close(handle)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    os.set_blocking(handle, True)
    return open(handle, "rb")


def _limited(path: str, limit: int) -> Iterator[bytes]:
    with sys.stdin.buffer if path == "-" else _open(path) as file:
        left = limit
        while chunk := file.read(min(frames.CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ResourceExhausted(f"{path}: it is too large")
            yield chunk
        if left == limit and path != "-" and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise InvalidArgument(f"{path}: nothing comes out of this pipe")


def _in_frames(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), frames.CHUNK):
        yield data[start : start + frames.CHUNK]
