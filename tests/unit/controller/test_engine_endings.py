"""How the loop ends with objects that go, and with errors."""

import threading
from collections.abc import Iterator

import pytest

from resources.container import Dependency
from resources.kinds import Kind
from resources.meta import Key
from tests.unit.controller.test_engine import Loop, config, container


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.engine.stop()


def test_deletion_waits_for_users_and_ends_with_the_object(loop: Loop) -> None:
    loop.containers.conditions = {"db": ("Started",)}
    db, web = loop.add(container("db"), container("web", Dependency(container="db")))
    loop.until(lambda: loop.ready(web))
    loop.delete(db)
    loop.until(lambda: (found := loop.engine.outcome(db.key)) and found.waiting)
    assert db.metadata.uid in loop.containers.values
    loop.delete(web)
    loop.until(lambda: not loop.objects.list())
    assert loop.containers.values == {}
    assert loop.told.reasons(db)[-1] == loop.told.reasons(web)[-1] == "Deleted"


def test_an_orphan_is_removed_and_leaves_nothing_in_the_store(loop: Loop) -> None:
    loop.configs.values["f" * 32] = "left"
    for key in loop.configs.known():
        loop.engine.queue.add(key)
    loop.until(lambda: not loop.configs.values)
    assert not loop.objects.list()
    assert loop.engine.outcome(Key(kind=Kind.CONFIG, uid="f" * 32)) is None


def test_what_removes_itself_is_gone_once_it_has_ended(loop: Loop) -> None:
    (item,) = loop.add(container("job", auto_remove=True))
    loop.until(lambda: loop.ready(item))
    loop.containers.phase = "Completed"
    loop.engine.queue.add(item.key)
    loop.until(lambda: not loop.objects.list())
    assert loop.containers.values == {}


def test_many_objects_at_once_never_meet_themselves(loop: Loop) -> None:
    items = loop.add(*(config(f"c{n}") for n in range(60)))
    threads = [threading.Thread(target=loop.engine.wake_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.until(lambda: all(map(loop.ready, items)))
    assert not loop.configs.overlapping
