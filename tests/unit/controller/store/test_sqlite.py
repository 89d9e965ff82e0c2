"""What only the SQLite store can get wrong: durability, damage, other processes, full disks."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from controller.store.interface import Put
from controller.store.keyspace import prefix_end
from controller.store.sqlite import SCHEMA_VERSION, SqliteStore
from resources.errors import DataLoss, EngineError, FailedPrecondition, ResourceExhausted, Unavailable

WRITER = """
import sys
from pathlib import Path
from controller.store.interface import Put
from controller.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
number = store.revision()
while True:
    number += 1
    assert store.txn([], [Put(f"/n/{number}", b"x" * 200), Put("/last", b"%d" % number)]) == number
    print(number, flush=True)
    if number % 50 == 0:
        store.compact(number - 10)
"""


def make(path: Path, keys: int = 40) -> Path:
    store = SqliteStore(path)
    for number in range(keys):
        store.txn([], [Put(f"/objects/Container/{number:032}", b'{"value": %d}' % number * 20)])
    store.close()
    return path


def test_the_file_is_durable_private_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    store = SqliteStore(path)
    assert store.created
    writer = store._writer
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    store.txn([], [Put("/a", b"1")])
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert path.parent.stat().st_mode & 0o777 == 0o700
    store.close()
    again = SqliteStore(path)
    assert not again.created
    entry = again.get("/a")
    assert entry is not None
    assert entry.value == b"1"
    again.close()
    assert [file.name for file in path.parent.iterdir()] == ["store.db", "store.db-mark"]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 90)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait()
        store = SqliteStore(path)
        entry = store.get("/last")
        assert entry is not None
        # The last one may have been written and killed before it could say so; none may be half there.
        assert acknowledged <= int(entry.value) <= acknowledged + 1
        assert len(store.range("/n/")) == int(entry.value) == store.revision() == entry.mod_revision
        store.close()


def test_a_crash_while_the_file_is_made_leaves_nothing_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    (tmp_path / ".store.db.new").write_bytes(b"half")
    (tmp_path / ".store.db.new-wal").write_bytes(b"half")
    store = SqliteStore(path)
    assert store.created
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["store.db", "store.db-mark"]


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "store.db")
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(FailedPrecondition, match="newer lading"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be one" * 200])
def test_a_file_that_is_not_ours_is_never_taken_for_a_new_store(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(DataLoss):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE head (id, revision, compacted)")
    db.commit()
    db.close()
    with pytest.raises(DataLoss, match="not a file of lading's"):
        SqliteStore(path)


def test_a_lost_file_whose_log_is_there_is_not_begun_anew(tmp_path: Path) -> None:
    path = make(tmp_path / "store.db")
    (tmp_path / "store.db-wal").write_bytes(b"of the lost file")
    path.unlink()
    with pytest.raises(DataLoss, match="is gone"):
        SqliteStore(path)


def test_a_folder_in_its_place_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(EngineError):
        SqliteStore(tmp_path / "store.db")


def test_no_damaged_byte_is_read_as_an_entry(tmp_path: Path) -> None:
    """Either the file is refused, or every entry is what was written."""
    path = make(tmp_path / "store.db")
    whole = path.read_bytes()
    store = SqliteStore(path)
    true = [(e.key, e.value, e.mod_revision) for e in store.range("")]
    store.close()
    chance = random.Random(11)
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            with contextlib.closing(SqliteStore(path)) as store:
                assert [(e.key, e.value, e.mod_revision) for e in store.range("")] == true
        except (DataLoss, FailedPrecondition, Unavailable):
            refused += 1
        for leftover in tmp_path.glob("store.db-*"):
            leftover.unlink()
    assert refused > 20


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "store.db")
    whole = path.read_bytes()
    for size in range(4096, len(whole), 4096):
        path.write_bytes(whole[:size])
        with pytest.raises(EngineError):
            SqliteStore(path)
        for leftover in tmp_path.glob("store.db-*"):
            leftover.unlink()


def test_a_locked_file_is_unavailable_and_then_works(tmp_path: Path) -> None:
    path = make(tmp_path / "store.db")
    store = SqliteStore(path, busy_seconds=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.txn([], [Put("/a", b"")])
    assert len(store.range("/objects/")) == 40
    other.execute("ROLLBACK")
    other.close()
    assert store.txn([], [Put("/a", b"")]) == 41
    store.close()


def test_a_full_disk_is_said_and_reading_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(make(tmp_path / "store.db"))
    store._writer.execute("PRAGMA max_page_count=1")
    with pytest.raises(ResourceExhausted, match="full"):
        store.txn([], [Put("/big", b"x" * 1_000_000)])
    assert len(store.range("/objects/")) == 40
    store._writer.execute("PRAGMA max_page_count=100000")
    assert store.txn([], [Put("/a", b"")]) is not None
    store.close()


def test_threads_that_come_and_go_leave_no_connections(tmp_path: Path) -> None:
    store = SqliteStore(make(tmp_path / "store.db"))

    def read() -> None:
        store.range("/objects/")

    for _ in range(40):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    opened = [fd for fd in os.listdir("/proc/self/fd") if _target(fd).startswith(str(tmp_path / "store.db"))]
    assert len(opened) <= 6
    store.close()
    assert not [fd for fd in os.listdir("/proc/self/fd") if _target(fd).startswith(str(tmp_path / "store.db"))]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("prefix", "end"), [("", None), ("/a/", "/a0"), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")]
)
def test_prefix_end(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


def test_a_store_that_lost_its_log_of_writes_says_that_it_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    assert not store.behind
    store.txn([], [Put("/a", b"1")])
    store.close()
    older = path.read_bytes()
    store = SqliteStore(path)
    assert not store.behind
    store.txn([], [Put("/b", b"2")])
    store.close()
    path.write_bytes(older)
    store = SqliteStore(path)
    assert store.behind
    assert store.get("/b") is None
    store.close()
    store = SqliteStore(path)
    assert not store.behind, "what is there now is what counts from here on"
    store.close()
