"""The store in one SQLite file: WAL with synchronous=FULL, one writer, readers that never wait for it."""

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controller.store.high_water import HighWaterMark
from controller.store.interface import Compacted, Compare, Delete, Entry, Event, Put
from controller.store.keyspace import check_transaction, prefix_end
from controller.store.sqlite_file import check_content, check_file, connect, create_file, recovery, rollback, translated
from resources.errors import DataLoss, Unavailable

APPLICATION_ID = 0x6C616469
SCHEMA_VERSION = 1
_SCHEMA = Path(__file__).with_name("schema.sql")
_POLL_SECONDS = 0.25
_BATCH_REVISIONS = 100
_COLUMNS = "key, value, create_revision, mod_revision, checksum"
_EVENTS = "SELECT revision, key, value FROM change WHERE revision > ? AND revision <= ? ORDER BY revision, position"
_UPSERT = (
    f"INSERT INTO entry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision, checksum = excluded.checksum"
)


class SqliteStore:
    """`created` says that there was no store here before, `behind` that it had more in it once: an older copy, or one whose
    write-ahead log was lost. Whoever sweeps what no object asks for should know."""

    def __init__(self, path: Path, *, busy_seconds: float = 10.0) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._writing = threading.Lock()
        self._committed = threading.Condition()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        with translated(path):
            self.created = not path.exists()
            if self.created:
                create_file(path, _SCHEMA.read_text(), APPLICATION_ID, SCHEMA_VERSION)
            check_content(path)
            self._writer = self._open()
            try:
                check_file(self._writer, path, APPLICATION_ID, SCHEMA_VERSION)
                for row in self._writer.execute(f"SELECT {_COLUMNS} FROM entry"):
                    self._entry(row)
                self._latest = int(self._writer.execute("SELECT revision FROM head").fetchone()[0])
                self._mark = HighWaterMark(path)
                self.behind = self._mark.read() > self._latest
                self._mark.write(self._latest)
            except BaseException:
                self._writer.close()
                raise

    def get(self, key: str) -> Entry | None:
        with self._reader() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM entry WHERE key = ?", (key,)).fetchone()
        return self._entry(row) if row else None

    def range(self, prefix: str) -> Sequence[Entry]:
        with self._reader() as db:
            return self._range(db, prefix)

    def snapshot(self, prefixes: Sequence[str]) -> tuple[int, Sequence[Entry]]:
        with self._reader() as db, _reading(db):
            revision = db.execute("SELECT revision FROM head").fetchone()[0]
            return revision, [entry for prefix in prefixes for entry in self._range(db, prefix)]

    def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int | None:
        check_transaction(compares, operations)
        with self._writer_locked() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                revision = db.execute("SELECT revision FROM head").fetchone()[0]
                if not all(_holds(db, compare) for compare in compares):
                    written, answer = 0, None
                else:
                    written = _write(db, operations, revision + 1)
                    answer = revision + 1 if written else revision
                db.execute("COMMIT" if written else "ROLLBACK")
            except BaseException:
                rollback(db)
                raise
        if written and answer is not None:
            self._mark.write(answer)
            self._announce(answer)
        return answer

    def revision(self) -> int:
        with self._reader() as db:
            return int(db.execute("SELECT revision FROM head").fetchone()[0])

    def watch(self, prefix: str, since: int, stopped: Callable[[], bool]) -> Iterator[Event]:
        while not stopped():
            with self._committed:
                if self._closed:
                    return
                # A commit is announced after it is made: nothing newer than `since` means that there is nothing to read.
                if self._latest <= since and not self._committed.wait(_POLL_SECONDS):
                    continue
            try:
                since, events = self._changes(since)
            except Unavailable:
                if self._closed:
                    return
                raise
            for event in events:
                if event.key.startswith(prefix):
                    yield event

    def compact(self, before: int) -> None:
        with self._writer_locked() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute("UPDATE head SET compacted = max(compacted, min(?, revision + 1))", (before,))
                db.execute("DELETE FROM change WHERE revision < (SELECT compacted FROM head)")
                db.execute("COMMIT")
            except BaseException:
                rollback(db)
                raise

    def close(self) -> None:
        with self._writing, self._committed:
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            self._writer.close()
            self._mark.close()
            self._committed.notify_all()

    def _changes(self, since: int) -> tuple[int, list[Event]]:
        """Whole revisions, so that none is half told when it is forgotten; and the last of them."""
        with self._reader() as db, _reading(db):
            newest, compacted = db.execute("SELECT revision, compacted FROM head").fetchone()
            if since < compacted - 1:
                raise Compacted(f"changes after revision {since} are no longer kept")
            last = max(since, min(newest, since + _BATCH_REVISIONS))
            return last, [Event(*row) for row in db.execute(_EVENTS, (since, last))]

    def _range(self, db: sqlite3.Connection, prefix: str) -> list[Entry]:
        end = prefix_end(prefix)
        if end is None:
            rows = db.execute(f"SELECT {_COLUMNS} FROM entry WHERE key >= ? ORDER BY key", (prefix,))
        else:
            rows = db.execute(f"SELECT {_COLUMNS} FROM entry WHERE key >= ? AND key < ? ORDER BY key", (prefix, end))
        return [self._entry(row) for row in rows]

    def _entry(self, row: tuple[str, bytes, int, int, int]) -> Entry:
        key, value, created, modified, checksum = row
        if _checksum(key, value, modified) != checksum:
            raise DataLoss(
                f"{self._path} is damaged: the value of {key} is not what was written", hint=recovery(self._path)
            )
        return Entry(key, value, created, modified)

    def _announce(self, revision: int) -> None:
        with self._committed:
            self._latest = max(self._latest, revision)
            self._committed.notify_all()

    def _open(self) -> sqlite3.Connection:
        return connect(self._path, synchronous="FULL", busy_seconds=self._busy_seconds)

    @contextmanager
    def _writer_locked(self) -> Iterator[sqlite3.Connection]:
        with self._writing, translated(self._path):
            yield self._writer

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for one thread at a time: kept in a pool, since the threads of an engine come and go."""
        with translated(self._path):
            try:
                db = self._readers.pop()
            except IndexError:
                if self._closed:
                    raise Unavailable(f"{self._path} is closed") from None
                db = self._open()
                db.execute("PRAGMA query_only=1")
            try:
                yield db
            except BaseException:
                db.close()
                raise
            if self._closed:
                db.close()
            else:
                self._readers.append(db)


@contextmanager
def _reading(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        rollback(db)


def _holds(db: sqlite3.Connection, compare: Compare) -> bool:
    row = db.execute("SELECT mod_revision FROM entry WHERE key = ?", (compare.key,)).fetchone()
    return bool((row[0] if row else 0) == compare.mod_revision)


def _write(db: sqlite3.Connection, operations: Sequence[Put | Delete], revision: int) -> int:
    changes: list[tuple[int, int, str, bytes | None]] = []
    for operation in operations:
        key = operation.key
        if isinstance(operation, Put):
            checksum = _checksum(key, operation.value, revision)
            db.execute(_UPSERT, (key, operation.value, revision, revision, checksum))
            changes.append((revision, len(changes), key, operation.value))
        elif db.execute("DELETE FROM entry WHERE key = ?", (key,)).rowcount:
            changes.append((revision, len(changes), key, None))
    if changes:
        db.executemany("INSERT INTO change (revision, position, key, value) VALUES (?, ?, ?, ?)", changes)
        db.execute("UPDATE head SET revision = ?", (revision,))
    return len(changes)


def _checksum(key: str, value: bytes, mod_revision: int) -> int:
    return zlib.crc32(value, zlib.crc32(f"{key}\0{mod_revision}\0".encode()))
