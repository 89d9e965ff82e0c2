"""A Container from nothing to running and away again, and what is in the way of that."""

from typing import Any

import pytest

from reconcilers.interface import ChangeKind, Diff
from resources.errors import FailedPrecondition, InvalidArgument, Unsupported
from tests.unit.reconcilers.container.full import FULL, full_world, started
from tests.unit.reconcilers.container.worlds import CONFIG, World, container
from tests.unit.reconcilers.engines import deleted


def test_from_nothing_to_running_and_away() -> None:
    world, loop, item = started()
    task = world.running(item)
    assert loop.acted == [
        "PrepareSnapshot", "MountRootfs", "CreateAnonymous", "AllocateAddresses", "AllocateAddresses", "AllocatePorts",
        "CopyUpVolume", "CopyUpVolume", "CreateSandbox", "AttachEndpoint", "AttachEndpoint", "WriteSandboxFiles",
        "SetNames", "PublishPorts", "PrepareSnapshot", "MountRootfs", "ProjectContent", "ProjectContent", *["StageBind"] * 7,
        "CreateTask", "StartTask",
    ]  # fmt: skip
    assert loop.look(item.key, item) == Diff()
    assert loop.reconciler.known() == [item.key]
    assert {"PLAIN=1", "PASSWORD=hunter2", "MODE=prod"} <= set(world.env(item))
    assert world.spec(item)["process"]["args"] == ["/dev/init", "--", "serve"]
    assert "hunter2" not in str(task.applied)
    sources = {m["destination"]: m["source"] for m in world.spec(item)["mounts"]}
    assert sources["/data"] == f"/fake/stage/{task.id}/m1"
    assert sources["/dev/init"] == f"/fake/stage/{task.id}/init"
    assert world.files.projections[f"{task.id}.m3"].files == {"password": b"hunter2", "other": b"x"}
    assert (world.files.projections[f"{task.id}.m3"].mode, world.files.projections[f"{task.id}.m2"].in_place) == (
        0o400,
        True,
    )
    assert loop.settle(deleted(item)) == Diff()
    assert (world.left(), loop.reconciler.known()) == ([], [])


def test_a_plan_says_all_of_it_and_does_nothing() -> None:
    world, item = full_world(), container(**FULL)
    plan = world.life().plan(item)
    assert plan[0] == "prepare the writable layer"
    assert plan[-2:] == ["create the process", "start the process"]
    assert world.left() == []


def test_a_plan_before_anything_it_refers_to_is_there() -> None:
    world = World(objects={})
    world.objects.clear()
    diff = world.life().look(container().key, container(**FULL), planning=True)
    assert diff.actions
    assert "the content of its image is not here" in diff.waiting


def test_the_sandbox_and_processes_of_another_container() -> None:
    world = World()
    loop, web = world.life(), world.add(container("web"))
    side = container("side", networks=[{"container": "web"}], pid="container:web")
    assert loop.converge(side).waiting == "container/web does not run"
    loop.converge(web)
    loop.converge(side)
    paths = {n["type"]: n.get("path") for n in world.spec(side)["linux"]["namespaces"]}
    assert paths["network"] == f"/fake/netns/{world.task(web).id}"
    assert paths["pid"] == f"/proc/{world.task(web).pid}/ns/pid"
    loop.settle(container("web", restart_request="1"))
    loop.settle(side)
    assert (world.running(side).attempt, len(world.sandboxes.list())) == (2, 1)


def test_two_containers_fill_a_new_volume_once() -> None:
    world = World()
    world.volume("data", populated=False)
    mounts = [{"volume": "data", "target": "/data"}]
    one, two = container("one", mounts=mounts), container("two", mounts=mounts)
    first, second = world.life(), world.life()
    assert "volume/data is being filled" in first.converge(one, jobs=False).waiting
    assert "volume/data is being filled" in second.converge(two, jobs=False).waiting
    first.converge(one)
    second.converge(two)
    assert [method for method, _ in world.copy_up.calls] == ["copy_up"]
    assert world.running(one)
    assert world.running(two)


def test_a_volume_is_not_filled_where_it_shall_not_be() -> None:
    world = World()
    world.volume("data", populated=False)
    mounts = [{"volume": "data", "target": "/a", "copyUp": False}, {"volume": "data", "target": "/b", "subPath": "x"}]
    item = container(mounts=mounts)
    world.life().converge(item)
    assert world.running(item)
    assert world.copy_up.calls == []


def test_a_failed_fill_is_told_and_tried_again() -> None:
    world = World()
    world.volume("data", populated=False)
    world.copy_up.fail("copy_up", FailedPrecondition("the disk hiccups"))
    item = container(mounts=[{"volume": "data", "target": "/data"}])
    loop = world.life()
    diff = loop.converge(item)
    assert "the disk hiccups" in diff.waiting
    assert loop.status(item).phase == "Waiting"
    world.now = diff.wake_at
    loop.converge(item)
    assert world.running(item)


def test_blocked_nothing_begins_and_what_runs_goes_on() -> None:
    world = World()
    loop, item = world.life(), container()
    loop.blockers = ("container/db is not healthy",)
    assert loop.converge(item) == Diff(waiting="container/db is not healthy")
    assert loop.status(item).phase == "Waiting"
    loop.blockers = ()
    loop.converge(item)
    loop.blockers = ("container/db is not healthy",)
    changed = container(command=["other"])
    diff = loop.converge(changed)
    assert (diff.waiting, diff.kind) == ("container/db is not healthy", ChangeKind.RECREATE)
    status = loop.status(changed)
    assert (status.ready, status.phase) == (False, "Running")
    assert status.condition("Ready").message == "container/db is not healthy"
    assert world.running(item).attempt == 1
    assert loop.converge(deleted(item)).waiting


def test_a_failed_creation_is_recorded_and_tried_again() -> None:
    world = World()
    loop, item = world.life(), container()
    world.runtime.fail("create", FailedPrecondition("no room"))
    assert loop.failing(item).message == "no room"
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "FailedPrecondition", "no room")
    loop.converge(item)
    assert (world.running(item).attempt, world.running(item).error) == (1, "")


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"logging": {"driver": "journald"}}, Unsupported),
        ({"security": {"sysctls": {"kernel.core_pattern": "1"}}}, InvalidArgument),
        ({"security": {"runAsNonRoot": True}}, FailedPrecondition),
        ({"mounts": [{"bind": "/proc/1", "target": "/m"}]}, InvalidArgument),
        ({"security": {"runAsNonRoot": True}, "mounts": [{"bind": "/opt", "target": "/m"}]}, FailedPrecondition),
        ({"mounts": [{"bind": "/missing", "target": "/m"}]}, FailedPrecondition),
    ],
)
def test_what_cannot_be_says_why_and_a_better_manifest_makes_it_good(
    spec: dict[str, Any], error: type[Exception]
) -> None:
    from pathlib import Path

    world = World()
    world.files.missing.add(Path("/missing"))
    loop, item = world.life(), container(**spec)
    assert isinstance(loop.failing(item), error)
    better = container(mounts=[{"bind": "/srv", "target": "/m"}])
    loop.settle(better)
    task = world.running(better)
    assert world.files.staged[task.id] == {"m0": Path("/srv")}
    loop.settle(deleted(better))
    assert world.left() == []


def test_an_init_that_is_not_installed_is_refused() -> None:
    world = World()
    world.this_host.init = None
    error = world.life().failing(container(init=True))
    assert "tini" in error.hint


def test_an_image_that_moves_while_it_cannot_be_made() -> None:
    world = World()
    loop, item = world.life(), container()
    world.runtime.fail("create", FailedPrecondition("no room"))
    loop.failing(item)
    world.image("box", CONFIG, b"other layer")
    loop.settle(item)
    image = world.images.image(loop.status(item).fields["imageDigest"])
    layer = world.snapshots.stat(world.running(item).id)
    assert image is not None
    assert layer is not None
    assert layer.parent == image.chain_id


def test_an_orphan_is_ended_and_removed() -> None:
    world, loop, item = started()
    assert loop.settle(None, item.key) == Diff()
    assert world.left() == []


def test_a_container_in_use_is_not_removed() -> None:
    world, loop, item = started()
    loop.blockers = ("container/side still uses it",)
    assert loop.converge(deleted(item)) == Diff(waiting="container/side still uses it")
    assert world.running(item)


def test_teardown_of_what_is_stubborn_takes_the_time_it_was_given() -> None:
    world, loop, item = started()
    task = world.running(item)
    world.runtime.stubborn.add(task.id)
    diff = loop.converge(deleted(item))
    assert (diff.wake_at - world.now).total_seconds() == 10
    world.later(9)
    assert loop.converge(deleted(item)).wake_at == diff.wake_at
    assert loop.status(deleted(item)).phase == "Deleting"
    world.later(1)
    loop.converge(deleted(item))
    assert world.left() == []


def test_a_damaged_image_does_not_disturb_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    loop, item = world.life(), container()
    loop.converge(item)
    world.image("box", CONFIG, b"other layer")

    def damaged(digest: str) -> Any:
        raise InvalidArgument("manifest is no JSON")

    monkeypatch.setattr(world.images, "image", damaged)
    assert loop.converge(item) == Diff()
    assert loop.status(item).ready
    changed = container(command=["other"])
    assert loop.converge(changed).waiting == "the content of its image is not here"
    assert loop.status(changed).condition("Completed").status == "False"
