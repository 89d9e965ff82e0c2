"""Objects in the store: versions, names, edits, watches and the record of what was applied."""

import itertools
import threading
import time
from pathlib import Path

import pytest

from controller.store import layout, revisions
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from controller.store.revisions import ApplyRecord
from controller.store.sqlite import SqliteStore
from resources.errors import Conflict, NotFound
from resources.kinds import Kind
from resources.meta import Key
from resources.object import Object
from tests.unit.controller.making import NOW, made, ref, status
from tests.unit.controller.store.stores import (
    LingeringStore,
    changed,
    many,
    names_agree,
)


def test_what_is_committed_is_found_by_key_and_by_name_with_its_version() -> None:
    store = ObjectStore(MemoryStore())
    web = made("container/web", {"image": "nginx"})
    revision = store.commit([web])
    found = store.get(web.key)
    assert found is not None
    assert found.metadata.resource_version == revision
    assert found.model_copy(update={"metadata": web.metadata}) == web
    assert store.find(ref("container/web")) is found
    assert store.find(ref("container/web", "other")) is None
    assert store.snapshot().revision == revision


def test_objects_are_listed_by_kind_namespace_and_name() -> None:
    store = ObjectStore(MemoryStore())
    names = ["volume/a", "container/b", "container/a"]
    store.commit([made(name, {} if name.startswith("v") else {"image": "i"}) for name in names])
    store.commit([made("container/0", {"image": "i"}, namespace="other")])
    assert [str(item.ref) for item in store.list()] == ["container/a", "container/b", "container/0", "volume/a"]
    assert [item.metadata.name for item in store.list(Kind.CONTAINER, "default")] == ["a", "b"]
    assert [item.metadata.name for item in store.list(namespace="other")] == ["0"]


NETWORKS = [["host"], ["none"], [{"container": "x"}], [{"name": "a", "ipv4": "10.0.0.2"}, "b"]]


@pytest.mark.parametrize("networks", NETWORKS)
def test_a_container_comes_back_from_the_store_as_it_went_in(networks: list[object], tmp_path: Path) -> None:
    written = [one if isinstance(one, dict) else {"name": one} for one in networks]
    spec = {
        "image": {"name": "i"},
        "networks": written,
        "env": {"A": "1", "B": {"secret": "s", "key": "k"}},
        "mounts": [
            {"volume": "v", "target": "/v", "copyUp": False},
            {"bind": "/b", "target": "/b", "create": True},
            {"tmpfs": {"size": "64Mi"}, "target": "/t"},
            {"secret": "s", "target": "/s", "mode": "0400", "onChange": {"signal": "SIGHUP"}},
            {"image": {"name": "i"}, "target": "/i"},
        ],
        "health": {"http": {"port": 80}, "interval": "1500ms"},
        "resources": {"memory": "512Mi", "cpus": "1.5"},
    }
    path = tmp_path / "store.db"
    first = ObjectStore(SqliteStore(path))
    web = made("container/web", spec, labels={"a": "1"})
    first.commit([web])
    kept = first.get(web.key)
    first.store.close()
    assert ObjectStore(SqliteStore(path)).get(web.key) == kept


def test_a_write_of_an_older_version_is_a_conflict_that_names_the_object() -> None:
    store = ObjectStore(MemoryStore())
    store.commit([made("container/web", {"image": "a"})])
    old = store.list()[0]
    store.commit([changed(old)])
    with pytest.raises(Conflict, match="container/web was changed meanwhile"):
        store.commit([changed(old, "c"), made("container/other", {"image": "a"})])
    assert [item.effective.image for item in store.list()] == ["b"]
    store.remove(old.key)
    with pytest.raises(Conflict, match="container/web was deleted meanwhile"):
        store.commit([old])


def test_a_name_belongs_to_one_object_and_can_be_given_up_or_exchanged() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(2))
    with pytest.raises(Conflict, match="container/c0 exists already"):
        store.commit([made("container/c0", {"image": "a"})])
    with pytest.raises(Conflict, match="two objects would be container/x"):
        store.commit([made("container/x", {"image": "a"}), made("container/x", {"image": "a"})])
    zero, one = store.list()
    store.commit([changed(zero, name="c1"), changed(one, name="c0")])
    assert store.find(ref("container/c1")) == store.get(zero.key)
    store.edit(zero.key, lambda item: changed(item, name="renamed"))
    assert store.find(ref("container/c1")) is None
    assert store.find(ref("container/renamed")) == store.get(zero.key)
    names_agree(store)
    with pytest.raises(Conflict, match="container/c0 exists already"):
        store.edit(zero.key, lambda item: changed(item, name="c0"))


def test_expect_refuses_when_any_object_changed_since_and_a_status_is_no_change() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    base = store.changed()
    store.put_status(store.list()[0].key, status("Ready"))
    store.settle()
    store.commit(many(1, "d"), expect=base)
    with pytest.raises(Conflict, match="objects changed since"):
        store.commit(many(1, "e"), expect=base)


def test_edit_is_done_again_on_what_is_there_by_then() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    key = store.list()[0].key
    versions = []

    def slow(item: Object) -> Object:
        versions.append(item.metadata.resource_version)
        if len(versions) == 1:
            store.edit(key, lambda found: changed(found, "quick"))
        return item.model_copy(update={"restart_request": item.effective.image})

    edited = store.edit(key, slow)
    assert edited.restart_request == "quick"
    assert len(versions) == 2
    assert edited.metadata.generation == 2, "only the other edit changed the effective spec"


def test_an_edit_that_changes_nothing_is_not_written() -> None:
    store = ObjectStore(MemoryStore())
    store.commit(many(1))
    revision = store.revision()
    item = store.list()[0]
    assert store.edit(item.key, lambda found: found.model_copy()) is item
    assert store.revision() == revision
    with pytest.raises(NotFound):
        store.edit(Key(kind=Kind.CONTAINER, uid="none"), lambda found: found)


def test_a_watch_tells_keys_once_their_change_can_be_read() -> None:
    store = ObjectStore(MemoryStore())
    start = store.revision()
    seen: dict[Key, str] = {}
    done = threading.Event()

    def watch() -> None:
        for key in store.watch(start, done.is_set):
            item = store.get(key)
            seen[key] = "gone" if item is None else item.effective.image

    watcher = threading.Thread(target=watch)
    watcher.start()
    store.commit(many(130))
    store.commit([changed(item) for item in store.list()])
    first = store.list()[0].key
    store.remove(first)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (len(seen) < 130 or seen.get(first) != "gone"):
        time.sleep(0.01)
    done.set()
    watcher.join()
    assert set(seen.values()) == {"b", "gone"}
    assert len(seen) == 130


def test_a_watch_never_tells_a_change_before_it_can_be_read() -> None:
    store = ObjectStore(LingeringStore(MemoryStore(), 0, after=False))
    web = made("container/web", {"image": "a"})
    writer = threading.Thread(target=lambda: store.commit([web]))
    writer.start()
    key = next(store.watch(0, lambda: False))
    assert store.get(key) is not None
    writer.join()


def test_a_watch_that_lags_too_far_gets_every_key() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(3))
    inner.compact(store.revision() + 1)
    found = list(itertools.islice(store.watch(0, lambda: False), 3))
    assert set(found) == set(store.snapshot().objects)


def test_an_apply_is_recorded_with_what_was_before() -> None:
    inner = MemoryStore()
    store = ObjectStore(inner)
    web = made("container/web", {"image": "a"})
    store.commit([web], record=ApplyRecord(NOW, "cli", "shop", created=(web.ref,)))
    before = store.list()[0]
    store.commit([changed(before)], record=ApplyRecord(NOW, "api", changed=(web.ref,), previous=(before,)))
    assert [(one.number, one.manager) for one in revisions.history(inner)] == [(2, "api"), (1, "cli")]
    second = revisions.read(inner, 2)
    assert second is not None
    assert second.changed == (web.ref,)
    assert [item.effective.image for item in second.previous] == ["a"]
    assert revisions.read(inner, 3) is None


def test_the_oldest_records_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "KEPT", 3)
    inner = MemoryStore()
    store = ObjectStore(inner)
    store.commit(many(1), record=ApplyRecord(NOW, "cli"))
    for image in "bcdefg":
        before = store.list()[0]
        store.commit([changed(before, image)], record=ApplyRecord(NOW, "cli", previous=(before,)))
    assert [record.number for record in revisions.history(inner)] == [7, 6, 5]
    assert len(inner.range(layout.UNDO)) == 3


def test_a_thousand_objects_are_cheap_to_list(tmp_path: Path) -> None:
    store = ObjectStore(SqliteStore(tmp_path / "store.db"))
    store.commit(many(1000))
    store.list(Kind.CONTAINER)
    begun = time.perf_counter()
    for _ in range(100):
        assert len(store.list(Kind.CONTAINER, "default")) == 1000
    assert time.perf_counter() - begun < 0.5


def test_what_is_written_beside_an_edit_is_made_anew_when_another_was_quicker() -> None:
    store = ObjectStore(MemoryStore())
    web, back = made("container/web", {"image": "i"}), made("network/back", {})
    store.commit([web])
    asked = []

    def beside(before: Object, after: Object) -> list[Object]:
        assert (before.restart_request, after.restart_request) == ("", "r")
        asked.append(store.find(ref("network/back")))
        if len(asked) == 1:
            store.commit([back])  # somebody else: the new one's name is taken from here on
        return [] if asked[-1] else [made("network/back", {"mtu": 1400})]

    store.edit(web.key, lambda item: item.model_copy(update={"restart_request": "r"}), beside=beside)
    assert len(asked) == 2
    found = store.find(ref("network/back"))
    assert found is not None
    assert found.key == back.key


def test_an_edit_that_changes_nothing_writes_nothing_beside_it() -> None:
    store = ObjectStore(MemoryStore())
    web = made("container/web", {"image": "i"})
    revision = store.commit([web])
    store.edit(web.key, lambda item: item, beside=lambda before, after: pytest.fail("it was asked"))
    assert store.revision() == revision
