"""Blobs on their way in, and what keeps them from being pruned: partial files, leases, flights."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.images.content import LayoutContentStore
from drivers.images.digest import of_bytes
from drivers.images.interface import Descriptor
from drivers.images.leases import LASTING, Leases
from drivers.images.names import IndexImageStore
from drivers.images.registry.flights import Flights
from drivers.images.registry.stop import Stop
from resources.errors import Cancelled, DataLoss, InvalidArgument, NotFound, ResourceExhausted, Unavailable

DATA = os.urandom(3_000_000)
BLOB = Descriptor("", of_bytes(DATA), len(DATA))


def unchecked() -> None:
    pass


@pytest.fixture
def content(tmp_path: Path) -> LayoutContentStore:
    return LayoutContentStore(tmp_path)


def part(folder: Path, blob: Descriptor = BLOB) -> Path:
    return folder / "ingest" / (blob.digest.replace(":", "-") + ".part")


def test_what_is_there_is_gone_on_with(content: LayoutContentStore, tmp_path: Path) -> None:
    with content.partial(BLOB, unchecked) as partial:
        partial.write(DATA[:1000])
    assert content.partials() == {BLOB.digest: 1000}
    assert list(content.walk()) == []
    with content.partial(BLOB, unchecked) as partial:
        assert partial.size == 1000
        partial.write(DATA[1000:])
        assert content.info(BLOB.digest) is None
        partial.commit()
    assert content.read(BLOB.digest, len(DATA)) == DATA
    assert os.listdir(tmp_path / "ingest") == []
    assert content.partials() == {}


@pytest.mark.parametrize("kept", [DATA[:1000] + bytes([DATA[1000] ^ 1]), b"x" * len(DATA), DATA + b"x"])
def test_what_does_not_verify_is_not_kept(content: LayoutContentStore, tmp_path: Path, kept: bytes) -> None:
    part(tmp_path).write_bytes(kept)
    with content.partial(BLOB, unchecked) as partial:
        partial.write(DATA[partial.size :] if partial.size else b"y" * len(DATA))
        with pytest.raises(DataLoss, match=BLOB.digest):
            partial.commit()
    assert os.listdir(tmp_path / "ingest") == []
    assert list(content.walk()) == []


def test_an_empty_attempt_leaves_nothing(content: LayoutContentStore, tmp_path: Path) -> None:
    with content.partial(BLOB, unchecked):
        pass
    assert os.listdir(tmp_path / "ingest") == []
    empty = Descriptor("", of_bytes(b""), 0)
    with content.partial(empty, unchecked) as partial:
        partial.commit()
    assert content.info(empty.digest) == empty


def test_one_at_a_time(content: LayoutContentStore) -> None:
    with content.partial(BLOB, unchecked):
        with pytest.raises(Unavailable, match="another process"):
            content.partial(BLOB, unchecked)


def test_hashing_what_is_there_can_be_cancelled(content: LayoutContentStore, tmp_path: Path) -> None:
    def cancelled() -> None:
        raise Cancelled("enough")

    part(tmp_path).write_bytes(DATA[:2_000_000])
    with pytest.raises(Cancelled):
        content.partial(BLOB, cancelled)
    assert content.partials() == {BLOB.digest: 2_000_000}


def test_a_digest_is_checked_and_a_link_not_followed(content: LayoutContentStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        content.partial(Descriptor("", "sha256:../../x", 1), unchecked)
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    part(tmp_path).symlink_to(victim)
    with pytest.raises(DataLoss):
        content.partial(BLOB, unchecked)
    assert victim.read_bytes() == b"victim"


def test_no_room_leaves_nothing(content: LayoutContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part(tmp_path).write_bytes(DATA[:1000])

    def full(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with content.partial(BLOB, unchecked) as partial:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(ResourceExhausted, match="No space"):
            partial.write(b"x")
        monkeypatch.undo()
    assert os.listdir(tmp_path / "ingest") == []


def test_names_can_be_taken_away_where_there_is_no_room_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = IndexImageStore(tmp_path)
    names.put("a", BLOB)
    spare = tmp_path / "index.spare"
    assert spare.stat().st_size

    def full(path: Path, content: bytes) -> None:
        if spare.exists():
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr("drivers.images.names.write_durable", full)
        with pytest.raises(ResourceExhausted, match="No space"):
            names.put("b", BLOB)
        names.delete("a")
        assert names.list() == []
    names.put("c", BLOB)
    assert spare.stat().st_size, "and the next time"


def test_a_lease_that_finds_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("drivers.images.leases.write_durable", full)
    with pytest.raises(ResourceExhausted, match="No space"), Leases(tmp_path).during("a", "linux/amd64") as lease:
        lease.hold([BLOB.digest])


def test_the_start_of_an_engine_keeps_what_is_worth_it(content: LayoutContentStore, tmp_path: Path) -> None:
    blobs = [Descriptor("", of_bytes(bytes([i])), 100) for i in range(70)]
    for i, blob in enumerate(blobs):
        part(tmp_path, blob).write_bytes(b"x" * 10)
        os.utime(part(tmp_path, blob), (time.time() - i,) * 2)
    os.utime(part(tmp_path, blobs[3]), (time.time() - LASTING - 5,) * 2)
    os.utime(part(tmp_path, blobs[4]), (time.time() + LASTING + 5,) * 2)
    (tmp_path / "ingest" / "half").write_bytes(b"x")
    (tmp_path / "ingest" / "sha256-../x.part").parent.mkdir()
    (tmp_path / "ingest" / "sha256-..").rmdir()
    (tmp_path / "ingest" / "sha256-00.part").write_bytes(b"x")
    content.cleanup()
    left = content.partials()
    assert len(left) == 63
    assert blobs[0].digest in left
    assert not {blobs[3].digest, blobs[4].digest, blobs[69].digest} & set(left)
    assert len(os.listdir(tmp_path / "ingest")) == 63
    assert content.cleanup() == 0
    assert content.drop_partials(keep=[blobs[0].digest]) == 62 * 10
    assert content.partials() == {blobs[0].digest: 10}


def held(leases: Leases) -> set[str]:
    with leases.settled() as found:
        return found


def test_a_lease_lasts_over_a_failure_and_ends_with_success(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with suppress(Unavailable), leases.during("a/b:1", "linux/amd64") as lease:
        lease.hold([BLOB.digest])
        assert held(leases) == {BLOB.digest}
        raise Unavailable("gone")
    assert held(leases) == {BLOB.digest} == held(Leases(tmp_path))
    with leases.during("a/b:1", "linux/amd64") as lease:
        lease.hold([BLOB.digest])
        lease.fulfilled = True
    assert held(leases) == set()
    assert os.listdir(tmp_path / "leases") == []


def test_a_lease_is_over_after_a_day_but_not_while_it_is_used(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with leases.during("a/b:1", "linux/amd64") as lease:
        lease.hold([BLOB.digest])
        os.utime(lease.path, (time.time() - LASTING - 5,) * 2)
        assert held(leases) == {BLOB.digest}
    assert held(leases) == set()
    assert os.listdir(tmp_path / "leases") == []


@pytest.mark.parametrize("text", ["", "{", '{"digests": 5}', '{"digests": ["sha256:../../x", 7, null]}', "[]"])
def test_a_damaged_lease_holds_nothing(tmp_path: Path, text: str) -> None:
    leases = Leases(tmp_path)
    (tmp_path / "leases" / "x").write_text(text)
    assert held(leases) == set()


def test_an_abandoned_pull_leaves_no_lease(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    for platform in ("linux/amd64", "linux/arm64"):
        with leases.during("a/b:1", platform) as lease:
            lease.hold([BLOB.digest])
    with leases.during("a/b:2", "linux/amd64") as lease:
        lease.hold([of_bytes(b"2")])
    leases.abandon("a/b:1")
    leases.abandon("a/b:3")
    assert held(leases) == {of_bytes(b"2")}
    with leases.during("a/b:2", "linux/amd64") as lease:
        leases.abandon("a/b:2")
        assert held(leases) == {of_bytes(b"2")}
    assert held(leases) == set()
    # Begun again after that, it is wanted again.
    with leases.during("a/b:2", "linux/amd64") as first:
        first.hold([of_bytes(b"2")])
        leases.abandon("a/b:2")
        with leases.during("a/b:2", "linux/amd64"):
            pass
    assert held(leases) == {of_bytes(b"2")}


class Crew:
    """Threads that all want the same."""

    def __init__(self, count: int, sources: list[str]) -> None:
        self.flights = Flights()
        self.there = threading.Event()
        self.fetches: list[int] = []
        self.results: dict[int, BaseException | None] = {}
        self.stops = [Stop() for _ in range(count)]
        self.sources = sources
        self.threads = [threading.Thread(target=self.want, args=(i,)) for i in range(count)]

    def fetch(self, number: int) -> None:
        raise NotImplementedError

    def want(self, number: int) -> None:
        def fetch(told: object) -> None:
            self.fetches.append(number)
            self.fetch(number)

        try:
            source = self.sources[number % len(self.sources)]
            self.flights.run("d", source, self.stops[number], lambda done: None, self.there.is_set, fetch)
        except BaseException as error:
            self.results[number] = error
        else:
            self.results[number] = None

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


def test_fifty_want_it_and_one_fetches() -> None:
    class Fetching(Crew):
        def fetch(self, number: int) -> None:
            time.sleep(0.2)
            self.there.set()

    crew = Fetching(50, ["a", "b"])
    crew.run()
    assert len(crew.fetches) == 1
    assert set(crew.results.values()) == {None}


def test_the_error_of_one_is_that_of_all_who_asked_the_same() -> None:
    class Failing(Crew):
        def fetch(self, number: int) -> None:
            time.sleep(0.3)
            raise NotFound("no such blob", hint="look")

    crew = Failing(20, ["a"])
    crew.run()
    assert len(crew.fetches) == 1
    assert {str(error) for error in crew.results.values()} == {"no such blob (look)"}
    assert {type(error) for error in crew.results.values()} == {NotFound}


def test_another_source_and_a_cancelled_one_are_taken_over_from() -> None:
    class Mixed(Crew):
        def fetch(self, number: int) -> None:
            time.sleep(0.2)
            if number == 0:
                raise NotFound("not at a")
            if number == 1:
                self.stops[1].set()
                self.stops[1].check()
            self.there.set()

    crew = Mixed(3, ["a", "b", "c"])
    for thread in crew.threads:
        thread.start()
        time.sleep(0.05)
    for thread in crew.threads:
        thread.join(20)
    assert isinstance(crew.results[0], NotFound)
    assert crew.results[2] is None
    assert crew.results[1] is None or isinstance(crew.results[1], Cancelled)


def test_who_waits_can_stop_waiting() -> None:
    class Slow(Crew):
        def fetch(self, number: int) -> None:
            time.sleep(1)
            self.there.set()

    crew = Slow(2, ["a"])
    crew.threads[0].start()
    time.sleep(0.1)
    crew.threads[1].start()
    crew.stops[1].set()
    crew.threads[1].join(0.5)
    assert isinstance(crew.results[1], Cancelled)
    crew.threads[0].join()
    assert crew.results[0] is None
