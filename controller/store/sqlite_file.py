"""A SQLite file of ours: made in one step, looked through before it is trusted, its errors said in our words.

A new file is made under another name and renamed when it is complete. So a file of that name that is empty, of another
program or damaged is never taken for a new one: an engine that began with an empty store would remove all that runs.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resources.errors import DataLoss, EngineError, FailedPrecondition, ResourceExhausted, Unavailable

_BUSY_SECONDS = 10.0
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT}


def create_file(path: Path, schema: str, application_id: int, version: int) -> None:
    """Make the file with its tables; nothing is there under `path` before all of it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    orphan = next((leftover for leftover in companions(path) if leftover.exists()), None)
    if orphan:
        raise DataLoss(f"{path} is gone, but {orphan.name}, which belongs to it, is there", hint=recovery(path))
    staged = path.with_name(f".{path.name}.new")
    for leftover in (staged, *companions(staged)):
        leftover.unlink(missing_ok=True)
    os.close(os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    db = connect(staged, synchronous="FULL")
    try:
        db.executescript(
            f"BEGIN IMMEDIATE; {schema}; PRAGMA application_id={application_id:d}; PRAGMA user_version={version:d}; COMMIT"
        )
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
    _sync(staged)
    os.rename(staged, path)
    _sync(path.parent)


def connect(path: Path, *, synchronous: str, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=busy_seconds)
    try:
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        db.execute(f"PRAGMA synchronous={synchronous}")
        level = db.execute("PRAGMA synchronous").fetchone()[0]
        if mode != "wal" or level != {"NORMAL": 1, "FULL": 2}[synchronous]:
            raise FailedPrecondition(
                f"{path} cannot be written safely: journal mode {mode}, synchronous {level}",
                hint="put the state root on a local file system",
            )
    except BaseException:
        db.close()
        raise
    return db


def check_content(path: Path) -> None:
    """Look before SQLite does: it would make a new database of an empty file."""
    if not path.stat().st_size:
        raise DataLoss(f"{path} was emptied", hint=recovery(path))


def check_file(db: sqlite3.Connection, path: Path, application_id: int, version: int) -> None:
    """Refuse a file that is not ours, newer than us, or damaged."""
    if db.execute("PRAGMA application_id").fetchone()[0] != application_id:
        raise DataLoss(f"{path} is not a file of lading's", hint=recovery(path))
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > version:
        raise FailedPrecondition(
            f"{path} was written by a newer lading (schema {found}, this one knows {version}); it was left as it is",
            hint="run the newer version, or give another --root",
        )
    problem = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise DataLoss(f"{path} is damaged: {problem}", hint=recovery(path))


def companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def recovery(path: Path) -> str:
    return f"nothing was changed; restore a backup, or move {path} and its -wal and -shm away to begin anew"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Say SQLite's errors in the classes of resources.errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _engine_error(error, path) from error


def _engine_error(error: sqlite3.Error, path: Path) -> EngineError:
    code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return ResourceExhausted(
            f"the disk is full: {path} cannot grow", hint="free space on the state root's file system"
        )
    if code in _DAMAGED:
        return DataLoss(f"{path} is damaged: {error}", hint=recovery(path))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path} is locked by another process", hint="only one engine may use a state root")
    if isinstance(error, sqlite3.ProgrammingError):
        return Unavailable(f"{path} is closed")
    return Unavailable(f"{path} cannot be used: {error}", hint="look at the state root's disk, its mode and its owner")


def rollback(db: sqlite3.Connection) -> None:
    """After an error SQLite may have rolled back by itself."""
    if db.in_transaction:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
