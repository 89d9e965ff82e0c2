"""What happened, kept: a log in a SQLite file of its own that a reader resumes by sequence number. Never an input to diff.

Sequence numbers follow the clock in milliseconds and never go back. So none comes twice, even when a power cut took the last
events (they are not synced one by one) or the file had to be begun anew.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.interface import EngineEvent
from controller.store.sqlite_file import check_content, check_file, companions, connect, create_file, translated
from resources.errors import DataLoss, EngineError
from resources.kinds import Kind
from resources.meta import Key, Ref

KEPT = 100_000
_TRIM_EVERY = 1000
_APPLICATION_ID = 0x6C646576
_VERSION = 1
_POLL_SECONDS = 0.5
_NAMES = 20_000
_COLUMNS = "sequence, time, kind, uid, namespace, name, reason, message, data"
_SCHEMA = """
CREATE TABLE event (
  sequence INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  kind TEXT NOT NULL,
  uid TEXT NOT NULL,
  namespace TEXT,
  name TEXT,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  data TEXT NOT NULL
) STRICT
"""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EventStore:
    """Implements controller.interface.EventLog and reconcilers.interface.Events; safe from any thread."""

    def __init__(
        self,
        path: Path,
        name_of: Callable[[Key], Ref | None],
        *,
        now: Callable[[], datetime] = _utc_now,
        kept: int = KEPT,
    ) -> None:
        self._path = path
        self._name_of = name_of
        self._now = now
        self._kept = kept
        self._changed = threading.Condition()
        self._names: dict[Key, Ref] = {}
        self._closed = False
        self._since_trim = 0
        try:
            self._db = _opened(path)
        except DataLoss:
            # Events are a report: a damaged file is set aside, and no engine stays down for it.
            for file in (path, *companions(path)):
                with suppress(FileNotFoundError):
                    file.replace(file.with_name(file.name + ".damaged"))
            self._db = _opened(path)
        self._last = int(self._db.execute("SELECT coalesce(max(sequence), 0) FROM event").fetchone()[0])

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        now = self._now()
        ref = self._name(key)
        text = json.dumps(data, ensure_ascii=False, default=str)
        names = (None, None) if ref is None else (ref.namespace, ref.name)
        with self._changed:
            sequence = max(self._last + 1, int(now.timestamp() * 1000))
            row = (sequence, now.isoformat(), key.kind.value, key.uid, *names, reason, message, text)
            with suppress(sqlite3.Error, UnicodeError):
                self._db.execute(f"INSERT INTO event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
                self._last = sequence
                self._trim()
                self._changed.notify_all()

    def read(self, since: int = 0, *, limit: int = 10_000) -> Sequence[EngineEvent]:
        query = f"SELECT {_COLUMNS} FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._changed, translated(self._path):
            rows = self._db.execute(query, (since, limit)).fetchall()
        return [_event(row) for row in rows]

    def latest(self) -> int:
        """The newest sequence number: `follow` from there yields what comes from now on."""
        with self._changed:
            return self._last

    def follow(self, since: int, stopped: Callable[[], bool]) -> Iterator[EngineEvent]:
        while not stopped():
            with self._changed:
                if self._closed:
                    return
                if self._last <= since:
                    self._changed.wait(_POLL_SECONDS)
                    continue
            try:
                events = self.read(since)
            except EngineError:
                if self._closed:
                    return
                raise
            yield from events
            since = events[-1].sequence if events else self.latest()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._db.close()
            self._changed.notify_all()

    def _name(self, key: Key) -> Ref | None:
        """What it is called, or was last, since the end of an object is told when it is gone."""
        ref = self._name_of(key)
        if ref is None:
            return self._names.get(key)
        if len(self._names) > _NAMES:
            self._names.clear()
        self._names[key] = ref
        return ref

    def _trim(self) -> None:
        self._since_trim += 1
        if self._since_trim >= min(_TRIM_EVERY, self._kept):
            self._since_trim = 0
            oldest = "SELECT sequence FROM event ORDER BY sequence DESC LIMIT 1 OFFSET ?"
            self._db.execute(f"DELETE FROM event WHERE sequence <= ({oldest})", (self._kept,))


def _opened(path: Path) -> sqlite3.Connection:
    with translated(path):
        if not path.exists():
            create_file(path, _SCHEMA, _APPLICATION_ID, _VERSION)
        check_content(path)
        db = connect(path, synchronous="NORMAL")
        try:
            check_file(db, path, _APPLICATION_ID, _VERSION)
        except BaseException:
            db.close()
            raise
        return db


def _event(row: tuple[Any, ...]) -> EngineEvent:
    sequence, time, kind, uid, namespace, name, reason, message, data = row
    ref = None if name is None else Ref(kind=Kind(kind), namespace=namespace, name=name)
    key = Key(kind=Kind(kind), uid=uid)
    return EngineEvent(sequence, datetime.fromisoformat(time), key, ref, reason, message, json.loads(data))
