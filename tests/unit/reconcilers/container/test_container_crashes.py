"""Killed between any two actions, the next engine ends where this one would have."""

from typing import Any

import pytest

from drivers.images.interface import ImageConfig
from drivers.runtime.interface import TaskStatus
from reconcilers.interface import Diff
from tests.unit.reconcilers.container.full import FULL, full_world
from tests.unit.reconcilers.container.worlds import World, container
from tests.unit.reconcilers.engines import deleted, killed_at_every_step


def test_killed_at_every_step_of_a_creation() -> None:
    for world in killed_at_every_step(full_world, lambda w, fuse: w.life(fuse).settle(container(**FULL))):
        item = container(**FULL)
        world.life().settle(item)
        assert world.running(item).applied["spec"] == item.effective.full()
        world.life().settle(deleted(item))
        assert world.left() == []


def test_killed_at_every_step_and_deleted_at_once() -> None:
    for world in killed_at_every_step(full_world, lambda w, fuse: w.life(fuse).settle(container(**FULL))):
        loop = world.life()
        loop.settle(deleted(container(**FULL)))
        assert (world.left(), loop.reconciler.known()) == ([], [])


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("after", [{"command": ["other"]}, {**FULL, "user": "7"}, {"resources": {"pids": 3}}])
def test_killed_at_every_step_of_a_change(after: dict[str, Any], reboots: bool) -> None:
    def make() -> World:
        world = full_world()
        world.life().settle(container(**{**FULL, "restart": {"policy": "always"}}))
        return world

    item = container(**{**after, "restart": {"policy": "always"}})
    for world in killed_at_every_step(make, lambda w, fuse: w.life(fuse).settle(item)):
        if reboots:
            world.reboot()
        loop = world.life()
        loop.settle(item)
        assert world.running(item).applied["spec"] == item.effective.full()
        assert loop.look(item.key, item) == Diff()
        own = {state.id for state in world.anonymous.list()}
        published = [item.metadata.uid] if "ports" in after else []
        assert world.ports.list() == published
        assert {name[:64] for name in world.left()} == {world.task(item).id, *own, *published}
        assert len(own) == (1 if "mounts" in after else 2)


def test_killed_at_every_step_of_a_restart_it_happens_all_the_same() -> None:
    def make() -> World:
        world = full_world()
        world.life().settle(container())
        return world

    item = container(restart_request="1")
    for world in killed_at_every_step(make, lambda w, fuse: w.life(fuse).settle(item)):
        world.life().settle(item)
        assert world.running(item).attempt == 2


def test_killed_at_every_step_of_a_deletion() -> None:
    def make() -> World:
        world = full_world()
        world.life().settle(container(**FULL))
        return world

    item = deleted(container(**FULL))
    for world in killed_at_every_step(make, lambda w, fuse: w.life(fuse).settle(item)):
        loop = world.life()
        assert loop.reconciler.known() in ([item.key], [])
        loop.settle(None, item.key)
        assert (world.left(), loop.reconciler.known()) == ([], [])


def test_an_image_without_layers() -> None:
    world = World(config=ImageConfig(command=("x",)))
    assert world.life().converge(container()) == Diff()
    assert world.task(container()).status is TaskStatus.RUNNING
