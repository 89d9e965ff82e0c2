"""VOLUME of images: a volume of the container's own wherever its manifest mounts nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.volumes.interface import VolumeState
from reconcilers.container.model import task_id
from reconcilers.interface import Diff
from resources.errors import ResourceExhausted
from resources.object import Object
from tests.unit.reconcilers.container.worlds import CONFIG, World, container, held
from tests.unit.reconcilers.engines import Fuse, deleted, killed_at_every_step

ASKING = replace(CONFIG, volumes=("/data", "/var/lib/box"))
RECREATED = {"command": ["other"]}


def asking() -> World:
    return World(config=ASKING)


def running(**spec: Any) -> tuple[World, Any, Object]:
    world = asking()
    loop, item = world.life(), container(**spec)
    assert loop.settle(item) == Diff()
    assert world.running(item)
    return world, loop, item


def mounted(world: World, item: Object) -> dict[str, VolumeState]:
    """The volumes of its own, by where the process has them."""
    life = world.task(item).id
    sources = {f"/fake/stage/{life}/{slot}": path for slot, path in world.files.staged.get(life, {}).items()}
    volumes = {state.path: state for state in world.anonymous.list()}
    found = {m["destination"]: volumes.get(sources.get(m["source"], "")) for m in world.spec(item)["mounts"]}
    return {target: state for target, state in found.items() if state is not None}


def write(world: World, item: Object, text: bytes) -> None:
    for state in mounted(world, item).values():
        world.files.trees[state.path]["file"] = text


def written(world: World, item: Object) -> dict[str, bytes | None]:
    return {target: world.files.trees[state.path].get("file") for target, state in mounted(world, item).items()}


def test_each_is_mounted_and_has_what_the_image_has_there() -> None:
    world = asking()
    loop, item = world.life(), container()
    world.files.trees[Path(f"/fake/rootfs/{task_id(item.metadata.uid, 1)}/data")] = {"seed": b"image"}
    loop.settle(item)
    found = mounted(world, item)
    assert set(found) == {"/data", "/var/lib/box"}
    assert all(state.populated for state in found.values())
    assert world.files.trees[found["/data"].path] == {"seed": b"image"}
    options = {m["destination"]: m["options"] for m in world.spec(item)["mounts"]}
    assert options["/data"] == ["rbind", "rprivate", "nosuid", "nodev", "rw"]
    assert loop.reconciler.known() == [item.key]


def test_no_process_is_made_before_they_are_filled() -> None:
    world, item = asking(), container()
    loop = world.life()
    diff = loop.converge(item, jobs=False)
    assert world.tasks == []
    assert "the image's volume at /data is being filled" in diff.waiting
    loop.settle(item)
    assert world.running(item)


def test_a_mount_of_the_manifest_at_that_very_target_comes_first() -> None:
    world, _, item = running(mounts=[{"tmpfs": {}, "target": "/data"}, {"tmpfs": {}, "target": "/var"}])
    assert set(mounted(world, item)) == {"/var/lib/box"}
    targets = [m["destination"] for m in world.spec(item)["mounts"]]
    assert targets.count("/data") == 1
    assert targets.index("/var") < targets.index("/var/lib/box")


def test_they_outlive_restarts_recreations_and_reboots() -> None:
    world, loop, item = running()
    write(world, item, b"kept")
    kept = {"/data": b"kept", "/var/lib/box": b"kept"}
    again = container(restart_request="1")
    loop.settle(again)
    assert (world.running(item).attempt, written(world, item)) == (2, kept)
    other = container(restart_request="1", **RECREATED)
    loop.settle(other)
    assert (world.running(item).id[-1], written(world, item)) == ("2", kept)
    world.image("box", replace(ASKING, env={"NEW": "1"}), b"newer")
    loop.settle(other)
    assert (world.running(item).id[-1], written(world, item)) == ("3", kept)
    world.reboot()
    loop = world.life()
    loop.settle(container(restart={"policy": "always"}, **RECREATED))
    assert written(world, item) == kept
    loop.settle(held(item, "stopped"))
    loop.settle(item)
    assert written(world, item) == kept


def test_they_go_with_the_container() -> None:
    world, loop, item = running()
    loop.settle(deleted(item))
    assert (world.left(), loop.reconciler.known()) == ([], [])


def test_what_no_object_asks_for_is_found_and_swept() -> None:
    world, item = asking(), container()
    world.life().settle(item)
    uid = item.metadata.uid
    for name in list(world.host.tasks):
        world.exit(item)
        world.runtime.delete(name)
    world.files.staged.clear()
    loop = world.life()
    loop.settle(None, item.key)
    assert loop.reconciler.known() == []
    assert [state for state in world.anonymous.list() if state.claim.startswith(uid)] == []


def test_one_of_another_container_is_not_touched() -> None:
    world, loop, item = running()
    other = container("other")
    loop.settle(other)
    loop.settle(deleted(item))
    assert set(mounted(world, other)) == {"/data", "/var/lib/box"}
    assert len(world.anonymous.list()) == 2


def test_the_manifest_takes_the_place_and_the_volume_is_deleted() -> None:
    world, loop, item = running()
    write(world, item, b"x")
    taken = container(mounts=[{"tmpfs": {}, "target": "/data"}])
    assert loop.look(item.key, taken, planning=True).changes[0].path == "spec.mounts[0]"
    loop.settle(taken)
    assert written(world, item) == {"/var/lib/box": b"x"}
    assert len(world.anonymous.list()) == 1
    loop.settle(item)
    assert written(world, item) == {"/var/lib/box": b"x", "/data": None}


def test_a_new_image_without_it_leaves_none_and_the_plan_says_so() -> None:
    world, loop, item = running()
    world.image("box", replace(ASKING, volumes=("/var/lib/box",)), b"newer")
    planned = loop.look(item.key, item, planning=True)
    assert "delete a volume that an image asked for, with its data" in [a.describe() for a in planned.actions]
    loop.settle(item)
    assert set(mounted(world, item)) == {"/var/lib/box"}
    assert len(world.anonymous.list()) == 1


def test_an_image_that_is_not_here_takes_nothing_away() -> None:
    world, loop, item = running()
    write(world, item, b"kept")
    world.images.content().blobs.clear()
    for asked in (item, held(item, "stopped"), item, container(**RECREATED)):
        loop.settle(asked)
        assert len(world.anonymous.list()) == 2
    assert {tree.get("file") for path, tree in world.files.trees.items() if "anonymous" in str(path)} == {b"kept"}


def test_it_is_no_difference() -> None:
    _, loop, item = running()
    assert loop.look(item.key, item, planning=True) == Diff()


def test_no_space_for_it_is_said_and_tried_again() -> None:
    world, item = asking(), container()
    loop = world.life()
    world.anonymous.fail("create", ResourceExhausted("no space left"))
    assert "no space" in str(loop.failing(item))
    loop.settle(item)
    assert world.running(item)


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ({}, RECREATED, 2),
        ({}, {"mounts": [{"tmpfs": {}, "target": "/data"}]}, 1),
        ({"mounts": [{"tmpfs": {}, "target": "/data"}]}, {}, 2),
    ],
)
def test_killed_at_every_step_of_a_change_the_data_stays(before: Any, after: Any, left: int) -> None:
    def make() -> World:
        world, _, item = running(**before)
        write(world, item, b"kept")
        return world

    item = container(**after)
    for world in killed_at_every_step(make, lambda w, fuse: w.life(fuse).settle(item)):
        loop = world.life()
        loop.settle(item)
        assert loop.look(item.key, item) == Diff()
        assert written(world, item)["/var/lib/box"] == b"kept"
        assert len(mounted(world, item)) == len(world.anonymous.list()) == left
        loop.settle(deleted(item))
        assert (world.left(), loop.reconciler.known()) == ([], [])


def test_killed_at_every_step_of_a_creation_of_another_image() -> None:
    """A creation cut short leaves volumes that the next image has no use for."""
    item = container()
    for world in killed_at_every_step(asking, lambda w, fuse: w.life(fuse).settle(item)):
        world.image("box", replace(CONFIG, volumes=("/other",)), b"newer")
        loop = world.life(Fuse())
        loop.settle(item)
        assert set(mounted(world, item)) == {"/other"}
        assert len(world.anonymous.list()) == 1


def test_a_volume_that_vanished_while_it_was_filled() -> None:
    world, item = asking(), container()
    loop = world.life()
    loop.converge(item, jobs=False)
    for state in world.anonymous.list():
        world.anonymous.delete(state.id, data=True)
    loop.jobs.run()
    assert all("is gone" in str(state.error) for state in loop.jobs.states.values())
    world.later(60)
    loop.settle(item)
    assert len(mounted(world, item)) == 2
