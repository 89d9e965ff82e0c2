"""Images and networks that nobody declared come with the first container that needs them, and go with the last."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.store.snapshot import Snapshot
from resources.errors import FailedPrecondition, Unavailable
from resources.kinds import Kind
from tests.convergence.shop import NGINX, OWNED, container, delete, emptied, find, image, names, published, ref
from tests.convergence.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return published(tmp_path)


def test_a_container_is_all_one_has_to_write(world: World) -> None:
    text = container("web")
    plan = world.plan(text)
    assert [(str(change.ref), change.verb, change.note) for change in plan.changes] == [
        (f"image/{NGINX}", "create", "implied"),
        ("container/web", "create", ""),
    ]
    assert plan.changes[0].actions == ("pull docker.io/library/nginx:1.27 for linux/amd64", "unpack its layers")
    assert plan.changes[0].position == "m.yaml:5:15"
    applied = world.apply(text)
    assert set(applied.created) == {ref("container/web"), ref(f"image/{NGINX}")}
    world.converge()
    assert world.task("web") is not None
    assert world.plan(text).empty
    assert not [*world.apply(text).created, *world.apply(text).changed]
    emptied(world)


def test_it_goes_with_its_last_user_and_what_was_pulled_stays(world: World) -> None:
    world.apply(container("web") + container("db"))
    world.converge()
    delete(world, "container/web")
    world.converge()
    assert names(world) == ["container/db", f"image/{NGINX}"]
    with pytest.raises(FailedPrecondition, match=r"image/docker.io_library_nginx_1.27 is used by container/db"):
        delete(world, f"image/{NGINX}")
    delete(world, "container/db")
    world.converge()
    assert names(world) == []
    told = [reason for key, reason, _ in world.told.events if key.kind is Kind.IMAGE]
    assert told[told.index("Unused") :] == ["Unused", "DropRecord", "Deleted"]
    world.machine.images.registry_fails(Unavailable("no network"))
    world.apply(container("web"))
    world.converge()
    assert world.task("web") is not None
    emptied(world)


def test_another_image_comes_before_the_old_one_goes(world: World) -> None:
    world.apply(container("web"))
    world.converge()
    before = world.task("web")
    plan = world.plan(container("web", "nginx:1.28"))
    assert {(str(change.ref), change.verb) for change in plan.changes if not change.empty} == {
        ("image/docker.io_library_nginx_1.28", "create"),
        ("container/web", "update"),
        (f"image/{NGINX}", "delete"),
    }
    world.machine.images.registry_fails(Unavailable("no network"))
    world.apply(container("web", "nginx:1.28"))
    world.run()
    assert names(world) == ["container/web", "image/docker.io_library_nginx_1.28"]
    assert world.task("web") == before, "it goes on"
    status = world.engine.status(find(world, "container/web").key)
    assert status is not None
    assert "image/docker.io_library_nginx_1.28 is not ready: no network" in str(status.conditions)
    world.machine.images.registry_fails(None)
    world.converge()
    after = world.task("web")
    assert after is not None
    assert before is not None
    assert after.id != before.id
    emptied(world)


def test_a_pull_that_failed_is_tried_at_once_by_an_apply_of_the_container(world: World) -> None:
    images = world.machine.images
    images.registry_fails(Unavailable("no network"))
    world.apply(container("web"))
    for _ in range(8):
        world.now += timedelta(seconds=60)
        world.run()
    images.registry_fails(None)
    before = world.now
    world.apply(container("web"))
    world.converge()
    assert (world.now - before).total_seconds() < 2
    emptied(world)


def test_what_the_loop_marked_and_somebody_uses_again_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise Unavailable("the disk is busy")

    world.apply(container("web"))
    world.converge()
    key = find(world, f"image/{NGINX}").key
    with monkeypatch.context() as patch:
        patch.setattr(world.machine.images.names(), "delete", fails)
        delete(world, "container/web")
        world.run()
        assert find(world, f"image/{NGINX}").deleting
    world.apply(container("db"))
    assert not find(world, f"image/{NGINX}").deleting
    world.converge()
    assert find(world, f"image/{NGINX}").key == key
    assert world.task("db") is not None
    emptied(world)


def test_a_deletion_by_hand_that_came_too_late_is_taken_back(world: World) -> None:
    world.apply(container("web"))
    world.converge()
    item = find(world, f"image/{NGINX}")
    going = item.model_copy(update={"metadata": item.metadata.model_copy(update={"deletion_timestamp": world.now})})
    world.engine.objects.commit([going])
    world.engine.wake(item.key)
    world.converge()
    assert not find(world, f"image/{NGINX}").deleting
    emptied(world)


def test_no_apply_comes_between_the_look_and_the_mark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(container("web"))
    world.converge()
    objects = world.engine.objects
    looks: list[Snapshot] = []
    real = objects.snapshot

    def snapshot() -> Snapshot:
        found = real()
        if world.find(Kind.CONTAINER, "web") is None and not looks:
            looks.append(found)
            world.apply(container("db"))
        return found

    monkeypatch.setattr(objects, "snapshot", snapshot)
    delete(world, "container/web")
    world.converge()
    assert looks
    assert "Unused" not in [reason for _, reason, _ in world.told.events]
    assert names(world) == ["container/db", f"image/{NGINX}"]
    emptied(world)


def test_deletion_of_all_of_it_at_once(world: World) -> None:
    world.apply(container("web"))
    world.converge()
    delete(world, *names(world))
    world.converge()
    assert names(world) == []
    emptied(world)


def test_what_goes_while_all_is_deleted_is_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(container("web"))
    world.converge()
    delete(world, "container/web")
    objects = world.engine.objects
    real = objects.commit

    def commit(*written: Any, **how: Any) -> int:
        monkeypatch.setattr(objects, "commit", real)
        world.converge()
        return real(*written, **how)

    monkeypatch.setattr(objects, "commit", commit)
    delete(world, f"image/{NGINX}", "container/web")
    assert names(world) == []
    emptied(world)


def test_one_that_removes_itself_takes_its_image_with_it(world: World) -> None:
    world.apply(container("job", more=", command: [exit, '0'], autoRemove: true"))
    world.run()
    while world.objects:
        due = world.queue.next_due()
        assert due is not None, names(world)
        world.now += timedelta(seconds=due)
        world.run()
    emptied(world)


def test_a_declared_image_is_taken_instead_without_another_life(world: World) -> None:
    world.apply(container("web"))
    world.converge()
    before = world.task("web")
    mine = image("mine", "{from: {registry: 'nginx:1.27'}}")
    world.apply(mine)
    world.converge()
    assert names(world) == ["container/web", "image/mine"]
    assert world.task("web") == before
    pulls = world.machine.images.pulls
    for text in (container("web") + mine, container("web")):
        world.apply(text, options=OWNED)
        world.converge()
    assert names(world) == ["container/web", f"image/{NGINX}"]
    assert world.task("web") == before
    assert world.machine.images.pulls == pulls
    emptied(world)


def test_the_network_of_a_namespace_comes_and_goes_like_that(world: World) -> None:
    text = container("web").replace(", networks: [none]", "")
    (bridge,) = [change for change in world.plan(text).changes if str(change.ref) == "network/bridge"]
    assert (bridge.verb, bridge.note, bridge.position) == ("create", "implied", "m.yaml:5:1")
    world.apply(text)
    world.apply(text.replace("web", "db"))
    world.run()
    assert names(world) == ["container/db", "container/web", f"image/{NGINX}", "network/bridge"]
    delete(world, "container/db")
    world.run()
    with pytest.raises(FailedPrecondition, match="network/bridge is used by container/web"):
        delete(world, "network/bridge")
    world.apply(network := text.replace("web", "third"))
    delete(world, "container/web", "container/third")
    world.converge()
    assert names(world) == []
    world.apply(network)
    emptied(world)
