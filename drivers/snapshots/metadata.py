"""What the overlay driver knows of its snapshots: the truth that directories are collected against.

One SQLite file of the driver's own, WAL with synchronous=FULL: with NORMAL a power cut loses the last commits. Directories
have random names, so a name a crash left behind never meets a new snapshot.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.snapshots.interface import SnapshotInfo, SnapshotKind
from resources.errors import DataLoss

_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshot (
  key TEXT PRIMARY KEY,
  parent TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('active', 'committed', 'view')),
  directory TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX IF NOT EXISTS snapshot_parent ON snapshot (parent);
"""
_CHAIN = """
WITH RECURSIVE chain (key, parent, directory, depth) AS (
  SELECT key, parent, directory, 0 FROM snapshot WHERE key = ?
  UNION ALL
  SELECT s.key, s.parent, s.directory, c.depth + 1 FROM snapshot s JOIN chain c ON s.key = c.parent WHERE c.parent <> ''
) SELECT directory FROM chain ORDER BY depth
"""


@dataclass(frozen=True, slots=True)
class Record:
    key: str
    parent: str
    kind: SnapshotKind
    directory: str

    def info(self) -> SnapshotInfo:
        return SnapshotInfo(self.key, self.parent, self.kind)


class Metadata:
    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise DataLoss(
                f"the snapshot metadata {path} cannot be read: {error}",
                hint="move the file away to start without snapshots; images are unpacked again, writable layers are lost",
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is written together, and no other thread is within one."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            yield

    def get(self, key: str) -> Record | None:
        rows = self._select("SELECT key, parent, kind, directory FROM snapshot WHERE key = ?", key)
        return rows[0] if rows else None

    def all(self) -> Sequence[Record]:
        return self._select("SELECT key, parent, kind, directory FROM snapshot")

    def children(self, name: str) -> Sequence[Record]:
        return self._select("SELECT key, parent, kind, directory FROM snapshot WHERE parent = ?", name)

    def chain(self, key: str) -> Sequence[str]:
        """The directories of a snapshot and all below it, uppermost first."""
        with self._lock:
            return [row[0] for row in self._db.execute(_CHAIN, (key,))]

    def insert(self, record: Record) -> None:
        values = (record.key, record.parent, record.kind.value, record.directory)
        with self._lock:
            self._db.execute("INSERT INTO snapshot (key, parent, kind, directory) VALUES (?, ?, ?, ?)", values)

    def commit_as(self, name: str, key: str, parent: str) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE snapshot SET key = ?, parent = ?, kind = 'committed' WHERE key = ?", (name, parent, key)
            )

    def delete(self, key: str) -> None:
        with self._lock:
            self._db.execute("DELETE FROM snapshot WHERE key = ?", (key,))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _select(self, query: str, *values: str) -> list[Record]:
        with self._lock:
            rows = self._db.execute(query, values).fetchall()
        return [Record(key, parent, SnapshotKind(kind), directory) for key, parent, kind, directory in rows]
