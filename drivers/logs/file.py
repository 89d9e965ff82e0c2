"""The file driver: conmon's CRI log of a task, and the files it was rotated to.

`log` is being written, `log.1` was before it, and so on. Rotation renames and asks conmon to open anew: until it has,
it goes on writing to the renamed file, so no line is lost.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from drivers.logs.interface import LogEntry, Stopped
from drivers.runtime.conmon import reopen_log, supervisor
from drivers.runtime.layout import Layout
from resources.errors import FailedPrecondition

_BLOCK = 64 * 1024
_MAX_LINE = 1024 * 1024
_POLL = 0.05
_REOPEN_PATIENCE = 0.2


class FileLogs:
    """`root` and `run_root` are those of the runtime driver, whose conmons write here."""

    def __init__(self, root: Path, run_root: Path) -> None:
        self._layout = Layout(root.absolute(), run_root.absolute())
        self._asked: dict[str, int] = {}
        """Inode of the renamed file for which conmon was asked to open a new one."""

    def read(
        self,
        task_id: str,
        *,
        tail: int | None = None,
        since: datetime | None = None,
        follow: bool = False,
        stopped: Stopped | None = None,
    ) -> Iterator[LogEntry]:
        current = self._layout.log(task_id)
        entries = _Joined()
        with _Chain(current) as chain:
            if tail is not None:
                yield from _since(_tail(chain, entries, tail, ends=not follow), since)
                if not follow:
                    return
            while True:
                # Asked before reading: what was written before the end is then still read.
                last = not follow or (stopped is not None and stopped())
                yield from _since(entries.of(chain.lines()), since)
                if last or not current.parent.is_dir():
                    yield from _since(entries.rest(), since)
                    return
                time.sleep(_POLL)

    def size(self, task_id: str) -> int:
        current = self._layout.log(task_id)
        # Renamed and not yet made anew, conmon still writes to what is log.1 now.
        for path in (current, _numbered(current, 1)):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def larger_than(self, size: int) -> Sequence[str]:
        found = []
        for task_id in self._layout.task_ids():
            with contextlib.suppress(FileNotFoundError):
                if self._layout.log(task_id).stat().st_size > size:
                    found.append(task_id)
        return found

    def rotate(self, task_id: str, *, max_size: int, max_files: int) -> bool:
        current = self._layout.log(task_id)
        bundle = self._layout.bundle(task_id)
        if supervisor(bundle) is None:
            return False  # nothing more will be written
        try:
            if current.stat().st_size <= max_size:
                return False
        except FileNotFoundError:
            # Renamed before a crash, and conmon was not told: it still writes to what is log.1 now. Asked twice it would
            # put a second new file over the first one, and what that has with it.
            renamed = _inode(_numbered(current, 1))
            if renamed is None or self._asked.get(task_id) == renamed:
                return False
        else:
            for number in range(_count(current), 0, -1):
                os.rename(_numbered(current, number), _numbered(current, number + 1))
            os.rename(current, _numbered(current, 1))
            self._asked.pop(task_id, None)
        with contextlib.suppress(FailedPrecondition):  # it has just ended
            renamed = _inode(_numbered(current, 1))
            reopen_log(bundle)
            if renamed is not None:
                self._asked[task_id] = renamed
            deadline = time.monotonic() + _REOPEN_PATIENCE
            while not current.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
        for number in range(_count(current), max(max_files, 1) - 1, -1):
            _numbered(current, number).unlink(missing_ok=True)
        return True

    def delete(self, task_id: str) -> None:
        current = self._layout.log(task_id)
        self._asked.pop(task_id, None)
        for path in [current, *(_numbered(current, n) for n in range(1, _count(current) + 1))]:
            path.unlink(missing_ok=True)


class _Chain:
    """The files of one log from the oldest to the one being written, read on as they grow and are rotated."""

    def __init__(self, current: Path) -> None:
        self._current = current
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Chain":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def files(self) -> list[tuple[Path, int]]:
        """What is there now with its inodes, oldest first."""
        paths = [*(_numbered(self._current, n) for n in range(_count(self._current), 0, -1)), self._current]
        return [(path, inode) for path in paths if (inode := _inode(path)) is not None]

    def seek(self, path: Path, offset: int) -> None:
        """Read on from there."""
        self._close()
        with contextlib.suppress(FileNotFoundError):
            self._file = open(path, "rb", buffering=_BLOCK)  # noqa: SIM115
            self._file.seek(offset)

    def lines(self) -> Iterator[bytes]:
        """Complete lines up to what is there now. A line without an end waits for it, unless it is too long."""
        newest, end = self._end()
        while self._file is not None or self._open_next():
            # A newer file is looked for first: once it is there, this one has all it will ever have.
            newer = self._newer()
            assert self._file is not None
            reached = os.fstat(self._file.fileno()).st_ino == newest
            while True:
                at = self._file.tell()
                if reached and at >= end:
                    return  # whoever writes faster than this reads would keep it for ever
                line = self._file.readline(_MAX_LINE)
                if not line.endswith(b"\n") and len(line) < _MAX_LINE:
                    self._file.seek(at)
                    break
                yield line
            if reached or not newer:
                return
            self._open_next()

    def _end(self) -> tuple[int, int]:
        """Inode and size of the newest file."""
        for path, inode in reversed(self.files()):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if found.st_ino == inode:
                    return inode, found.st_size
        return 0, 0

    def _newer(self) -> bool:
        return bool(self._following(self.files()))

    def _open_next(self) -> bool:
        while found := self._following(before := self.files()):
            with contextlib.suppress(FileNotFoundError):
                opened = open(found[0][0], "rb", buffering=_BLOCK)  # noqa: SIM115
                # A rotation in between gives the name to a later file: the one that was meant would be left out.
                if self.files() == before:
                    self._close()
                    self._file = opened
                    return True
                opened.close()
        return False

    def _following(self, files: list[tuple[Path, int]]) -> list[tuple[Path, int]]:
        """Those after the open one; once that is rotated away entirely, everything that is left is newer."""
        mine = os.fstat(self._file.fileno()).st_ino if self._file is not None else None
        inodes = [inode for _, inode in files]
        return files[inodes.index(mine) + 1 :] if mine in inodes else files

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Joined:
    """Parts joined to lines, each stream for itself; a line longer than the limit comes in parts."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[datetime, bytearray]] = {}

    def of(self, lines: Iterator[bytes]) -> Iterator[LogEntry]:
        for line in lines:
            parsed = _parse(line)
            if parsed is None:
                continue
            when, stream, partial, data = parsed
            first, buffer = self._parts.pop(stream, (when, bytearray()))
            buffer += data
            if partial and len(buffer) < _MAX_LINE:
                self._parts[stream] = (first, buffer)
            else:
                yield LogEntry(first, stream, bytes(buffer) if partial else bytes(buffer) + b"\n")

    def rest(self) -> Iterator[LogEntry]:
        """What was written without a newline at the end."""
        parts, self._parts = self._parts, {}
        for stream, (when, buffer) in sorted(parts.items(), key=lambda item: item[1][0]):
            yield LogEntry(when, stream, bytes(buffer))


def _parse(line: bytes) -> tuple[datetime, str, bool, bytes] | None:
    fields = line.rstrip(b"\n").split(b" ", 3)
    if len(fields) < 3 or fields[1] not in (b"stdout", b"stderr") or fields[2] not in (b"F", b"P"):
        return None
    try:
        when = datetime.fromisoformat(fields[0].decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    if when.tzinfo is None:
        return None
    return when, fields[1].decode(), fields[2] == b"P", fields[3] if len(fields) > 3 else b""


def _tail(chain: _Chain, entries: _Joined, count: int, *, ends: bool) -> Iterator[LogEntry]:
    """The last `count` entries, one without an end counted when nothing is waited for; the chain is left after them."""
    while True:
        files, missing = chain.files(), count
        for path, _ in reversed(files):
            found, offset = _last_lines(path, missing)
            missing -= found
            if missing <= 0 or path == files[0][0]:
                chain.seek(path, offset)
                break
        if chain.files() == files:  # else the names are other files by now
            break
    # Ends of lines were counted; what was written since, and parts without an end, would make it more.
    kept: deque[LogEntry] = deque(entries.of(chain.lines()), maxlen=count)
    if ends:
        kept.extend(entries.rest())
    yield from kept


def _last_lines(path: Path, count: int) -> tuple[int, int]:
    """How many of the last `count` entries are in a file, and the offset where they begin."""
    try:
        with open(path, "rb") as file:
            at = file.seek(0, os.SEEK_END)
            carry, found = b"", 0
            while at > 0:
                size = min(_BLOCK, at)
                at -= size
                file.seek(at)
                block = file.read(size) + carry
                end = at + len(block)
                # The first piece may be the end of a line that begins before this block.
                first, *lines = block.split(b"\n")
                for line in reversed(lines if at else [first, *lines]):
                    found += _is_end(line)
                    if found > count:
                        return count, end + 1
                    end -= len(line) + 1
                carry = first
                if len(carry) > _MAX_LINE:
                    return found, end  # no log of ours: what is before is not counted
            return found, 0
    except FileNotFoundError:
        return 0, 0


def _is_end(line: bytes) -> bool:
    return line[:80].split(b" ", 3)[2:3] == [b"F"]


def _since(entries: Iterator[LogEntry], since: datetime | None) -> Iterator[LogEntry]:
    return entries if since is None else (entry for entry in entries if entry.time >= since)


def _numbered(current: Path, number: int) -> Path:
    return current.with_name(f"{current.name}.{number}")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _count(current: Path) -> int:
    """How many rotated files there are: the highest number."""
    numbers = [0]
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(current.parent):
            prefix, _, number = name.rpartition(".")
            if prefix == current.name and number.isascii() and number.isdigit() and len(number) < 6:
                numbers.append(int(number))
    return max(numbers)
