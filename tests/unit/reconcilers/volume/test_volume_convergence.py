"""Volumes converge on drivers in memory, and their data outlives everything but a wish to delete it."""

from pathlib import Path
from typing import Any

import pytest

from reconcilers.interface import ChangeKind, Diff
from resources.errors import InvalidArgument, ResourceExhausted
from resources.object import Object
from tests.unit.reconcilers.engines import Loop, deleted
from tests.unit.reconcilers.volume.worlds import CONTENT, World, volume

OWNER = {"uid": 999, "gid": 998, "mode": "0750"}
FROM_IMAGE = {"image": {"name": "seed"}, "path": "/data"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "inputs")


def reason(loop: Loop, item: Object) -> str:
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    return ready.reason


def test_a_volume_is_made_with_owner_and_size(world: World) -> None:
    item = volume(owner=OWNER, size="1Gi")
    loop = world.life()
    assert loop.converge(item) == Diff()
    assert loop.acted == ["CreateVolume"]
    state = world.local.inspect(item.metadata.uid)
    assert state is not None
    assert (state.uid, state.gid, state.mode, state.size) == (999, 998, 0o750, 2**30)
    assert state.claim == "default/data"
    status = loop.status(item)
    assert status.ready
    assert status.fields["path"] == str(state.path)
    assert status.fields["owner"] == OWNER
    assert status.fields["size"] == "1Gi"
    assert loop.reconciler.known() == [item.key]


def test_owner_and_size_change_in_place(world: World) -> None:
    loop = world.life()
    loop.converge(volume(size="1Gi"))
    item = volume(size="2Gi", owner=OWNER, reclaim="delete")
    diff = loop.look(item.key, item)
    assert diff.kind is ChangeKind.HOT
    assert {change.path: (change.old, change.new, change.drift) for change in diff.changes} == {
        "spec.size": ("1Gi", "2Gi", False),
        "spec.owner.uid": (0, 999, False),
        "spec.owner.gid": (0, 998, False),
        "spec.owner.mode": ("0755", "0750", False),
    }
    assert loop.converge(item) == Diff()


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ({"size": "2Gi"}, {"size": "1Gi"}, "spec.size"),
        ({"size": "2Gi"}, {}, "spec.size"),
        ({}, {"size": "1Gi"}, "spec.size"),
        ({"driver": "local"}, {"driver": "tmpfs"}, "spec.driver"),
    ],
)
def test_what_would_lose_data_is_refused_and_changes_nothing(
    world: World, before: dict[str, Any], after: dict[str, Any], path: str
) -> None:
    loop = world.life()
    loop.converge(volume(**before))
    host = dict(world.host.volumes)
    item = volume(**after)
    diff = loop.converge(item)
    assert diff.kind is ChangeKind.DATA_LOSS
    assert [change.path for change in diff.changes] == [path]
    assert "never replaced unless the manifest says so: delete it with --data first" in diff.waiting
    assert reason(loop, item) == "DataLoss"
    assert world.host.volumes == host


def test_what_the_host_cannot_do_is_refused(world: World) -> None:
    loop = world.life()
    world.local.unsupported = "no loop devices"
    for item, why in (
        (volume(size="1Gi"), "no loop devices"),
        (volume(driver="nfs"), "no volume driver nfs"),
        (volume(options={"x": "1"}), "no option x"),
        (volume(snapshotOnApply=True), "no snapshots"),
    ):
        assert why in loop.converge(item).waiting
        assert not loop.status(item).ready
    assert world.left() == []


def test_drift_is_named_and_healed(world: World) -> None:
    loop = world.life()
    item = volume(owner=OWNER, size="1Gi")
    loop.converge(item)
    world.local.change_owner(item.metadata.uid, uid=999, gid=0, mode=0o777)
    world.local.break_mount(item.metadata.uid)
    assert {(change.path, change.drift) for change in loop.look(item.key, item).changes} == {
        ("spec.owner.gid", True),
        ("spec.owner.mode", True),
        ("mounted", True),
    }
    assert not loop.status(item).ready
    assert loop.converge(item) == Diff()
    state = world.local.inspect(item.metadata.uid)
    assert state is not None
    assert (state.gid, state.mode, state.mounted) == (998, 0o750, True)


def test_an_owner_the_manifest_does_not_name_is_nobodys_business(world: World) -> None:
    loop = world.life()
    item = volume(owner={"uid": 5})
    loop.converge(item)
    world.local.change_owner(item.metadata.uid, uid=5, gid=7, mode=0o700)
    assert loop.look(item.key, item) == Diff()


def test_populated_once_from_an_archive(world: World) -> None:
    loop = world.life()
    item = volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))
    assert loop.converge(item) == Diff()
    assert world.data(item) == CONTENT
    assert loop.status(item).fields["populated"] is True
    world.data(item).clear()
    other = volume(populate={"archive": "./other.tar"}, input=world.archive("t"))
    assert loop.converge(other) == Diff()
    assert world.data(item) == {}
    assert loop.acted.count("StartPopulate") == 1


def test_populated_once_from_an_image(world: World) -> None:
    world.seeded_image()
    loop = world.life()
    item = volume(populate=FROM_IMAGE)
    assert loop.plan(item) == ["create a local volume for default/data", "populate from /data of image/seed"]
    assert loop.converge(item) == Diff()
    assert world.data(item) == CONTENT
    assert world.mounts == {}
    assert [info.kind for info in world.snapshots.walk()] == ["committed"]


def test_the_manifests_owner_holds_against_the_contents_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.seeded_image()
    real = world.copy_up.copy_up
    item = volume(populate=FROM_IMAGE, owner={"uid": 5})
    loop = world.life()
    seen: list[Diff[Any]] = []

    def copy(root: Path, path: str, target: Path) -> None:
        real(root, path, target)
        world.local.change_owner(item.metadata.uid, uid=70, gid=71, mode=0o700)
        seen.append(loop.look(item.key, item))

    monkeypatch.setattr(world.copy_up, "copy_up", copy)
    assert loop.converge(item) == Diff()
    assert [change.path for diff in seen for change in diff.changes] == ["spec.populate"]
    assert loop.acted == ["CreateVolume", "StartPopulate"]
    assert loop.status(item).fields["owner"] == {"uid": 5, "gid": 71, "mode": "0700"}


def test_a_renamed_volume_keeps_its_data_and_is_found_by_its_new_name(world: World) -> None:
    loop = world.life()
    item = volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))
    loop.converge(item)
    renamed = item.model_copy(update={"metadata": item.metadata.model_copy(update={"name": "other"})})
    diff = loop.look(renamed.key, renamed)
    assert [(c.path, c.old, c.new, c.kind) for c in diff.changes] == [
        ("metadata.name", "default/data", "default/other", ChangeKind.HOT)
    ]
    assert loop.converge(renamed) == Diff()
    assert world.data(renamed) == CONTENT
    loop.converge(deleted(renamed))
    assert [state.claim for state in world.local.list()] == ["default/other"]


def test_an_image_that_is_not_ready_is_waited_for(world: World) -> None:
    item = volume(populate=FROM_IMAGE)
    loop = world.life()
    assert "is not unpacked yet" in loop.converge(item).waiting
    world.seeded_image(unpacked=False)
    assert "is not unpacked yet" in world.life().converge(item).waiting
    world.seeded_image()
    assert world.life().converge(item) == Diff()


def test_a_path_the_image_does_not_have_is_an_error(world: World) -> None:
    world.seeded_image()
    loop = world.life()
    item = volume(populate={"image": {"name": "seed"}, "path": "/dta"})
    assert loop.converge(item).waiting == "spec.populate.path: image/seed has no /dta"
    assert reason(loop, item) == "InvalidArgument"
    assert world.mounts == {}
    assert loop.converge(volume(populate=FROM_IMAGE)) == Diff()


def test_a_tmpfs_is_mounted_and_populated_again_after_a_reboot(world: World) -> None:
    item = volume(driver="tmpfs", populate={"archive": "./seed.tar"}, input=world.archive("s"))
    world.life().converge(item)
    world.host.reboot()
    loop = world.life()
    assert loop.plan(item) == ["mount", "populate from the archive ./seed.tar"]
    assert loop.converge(item) == Diff()
    assert loop.acted == ["MountVolume", "StartPopulate"]
    assert world.data(item) == CONTENT


def test_without_the_archive_it_asks_for_another_apply(world: World) -> None:
    loop = world.life()
    digest = world.archive("s")
    item = volume(populate={"archive": "./seed.tar"}, input=digest)
    world.inputs.gone.add(digest)
    assert "apply again to send it" in loop.converge(item).waiting
    assert reason(loop, item) == "InputMissing"
    world.inputs.gone.clear()
    assert loop.converge(item) == Diff()


def test_a_bad_archive_is_told_by_its_name_and_waits_for_another(world: World) -> None:
    loop = world.life()
    bad = world.inputs.put("x")
    item = volume(populate={"archive": "./seed.tar"}, input=bad)
    world.populator.fail("extract", InvalidArgument(f"{world.inputs.path(bad)} is not an archive"))
    diff = loop.converge(item)
    assert diff.waiting == "./seed.tar is not an archive"
    assert diff.wake_at is None
    assert reason(loop, item) == "InvalidArgument"
    assert loop.converge(item) == diff
    assert len(loop.jobs.started) == 1
    assert loop.converge(volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))) == Diff()


def test_a_failure_that_may_pass_is_tried_again(world: World) -> None:
    loop = world.life()
    item = volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))
    world.populator.fail("extract", ResourceExhausted("no space"))
    diff = loop.converge(item)
    assert diff.wake_at is not None
    assert "no space; it is tried again" in diff.waiting
    assert loop.converge(item) == diff
    loop.wait(diff.wake_at)
    assert loop.converge(item) == Diff()


def test_retained_data_comes_back_under_the_same_name(world: World) -> None:
    loop = world.life()
    first = volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))
    loop.converge(first)
    assert loop.look(first.key, deleted(first)).kind is ChangeKind.NONE
    assert loop.converge(deleted(first)) == Diff()
    assert loop.reconciler.known() == []
    second = volume()
    second = second.model_copy(update={"metadata": second.metadata.model_copy(update={"uid": "f" * 32})})
    assert loop.plan(second) == ["take back the retained data of default/data"]
    assert loop.plan(volume("other")) == ["create a local volume for default/other"]
    assert loop.converge(second) == Diff()
    assert world.data(second) == CONTENT


def test_retained_data_that_would_not_fit_is_refused_before_it_is_touched(world: World) -> None:
    loop = world.life()
    loop.converge(volume(size="2Gi"))
    loop.converge(deleted(volume(size="2Gi")))
    second = volume(size="1Gi")
    second = second.model_copy(update={"metadata": second.metadata.model_copy(update={"uid": "f" * 32})})
    assert loop.converge(second).kind is ChangeKind.DATA_LOSS


@pytest.mark.parametrize(("reclaim", "data"), [("delete", False), ("retain", True), ("delete", True)])
def test_deleting_data_is_asked_for(world: World, reclaim: str, data: bool) -> None:
    loop = world.life()
    item = volume(reclaim=reclaim)
    loop.converge(item)
    gone = deleted(item, data=data)
    assert loop.look(item.key, gone).kind is ChangeKind.DATA_LOSS
    assert loop.converge(gone) == Diff()
    assert world.left() == []
    assert loop.converge(gone) == Diff()


def test_data_retained_first_can_still_be_deleted_with_the_object(world: World) -> None:
    loop = world.life()
    item = volume()
    loop.converge(item)
    loop.converge(deleted(item))
    assert [state.released for state in world.local.list()] == [True]
    assert loop.converge(deleted(item, data=True)) == Diff()
    assert world.left() == []


def test_an_orphan_is_released_never_deleted(world: World) -> None:
    loop = world.life()
    item = volume(reclaim="delete")
    loop.converge(item)
    assert loop.converge(None, item.key) == Diff()
    assert [state.released for state in world.local.list()] == [True]


def test_deletion_waits_for_users(world: World) -> None:
    loop = world.life()
    item = volume()
    loop.converge(item)
    loop.blockers = ("container/web uses it",)
    assert loop.converge(deleted(item, data=True)).waiting == "container/web uses it"
    assert world.local.inspect(item.metadata.uid) is not None


def test_what_blocks_holds_back_creation_and_population_but_not_healing(world: World) -> None:
    loop = world.life()
    item = volume(driver="tmpfs", populate={"archive": "./seed.tar"}, input=world.archive("s"))
    loop.blockers = ("image/seed is not ready",)
    assert loop.converge(item).waiting == "image/seed is not ready"
    assert world.left() == []
    loop.blockers = ()
    loop.converge(item)
    world.host.reboot()
    loop.blockers = ("image/seed is not ready",)
    assert loop.converge(item).waiting == "image/seed is not ready"
    assert loop.acted[-1] == "MountVolume"


def test_deletion_gives_up_the_population_under_way(world: World) -> None:
    loop = world.life()
    item = volume(populate={"archive": "./seed.tar"}, input=world.archive("s"))
    loop.converge(item, jobs=False)
    assert loop.converge(deleted(item, data=True)) == Diff()
    assert world.left() == []
    assert loop.jobs.states == {}


def test_what_a_copy_works_on_is_not_deleted_under_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.seeded_image()
    loop = world.life()
    item = volume(populate=FROM_IMAGE)
    loop.converge(item, jobs=False)
    real = world.copy_up.copy_up
    told: list[str] = []

    def copy(root: Path, path: str, target: Path) -> None:
        gone = deleted(item, data=True)
        for action in loop.look(item.key, gone).actions:
            try:
                loop.reconciler.act(action)
            except Exception as error:
                told.append(str(error))
        real(root, path, target)

    monkeypatch.setattr(world.copy_up, "copy_up", copy)
    loop.jobs.run()
    assert told == ["the volume is still being populated"] * 2
    assert world.local.inspect(item.metadata.uid) is not None
    assert loop.converge(deleted(item, data=True)) == Diff()
    assert world.left() == []
