"""Images converge on drivers in memory: made, moved, healed, deleted, whatever dies in between."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from drivers.images.interface import Descriptor, Image, Progress
from reconcilers.interface import Diff
from resources.errors import InvalidArgument, ResourceExhausted, Unavailable
from resources.kinds import Kind
from resources.object import Object
from tests.unit.reconcilers.engines import Fuse, deleted, digest_of, killed_at_every_step, made
from tests.unit.reconcilers.image.worlds import EMPTY, World, image

WEB = "docker.io/shop/web:1"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "inputs")


def test_an_archive_is_imported_unpacked_and_tagged(world: World) -> None:
    item = image("web", world.archive("a"), tags=["shop/web:1"])
    loop = world.life()
    assert loop.status(item).phase == "Importing"
    assert loop.converge(item) == Diff()
    assert loop.acted == ["StartImport", "StartUnpack", "SetTags"]
    assert world.tags() == {WEB: world.record(item)}
    status = loop.status(item)
    assert status.ready
    assert status.phase == "Ready"
    assert status.fields["digest"] == world.record(item)
    assert status.fields["tags"] == [WEB]
    assert loop.reconciler.known() == [item.key]


def test_a_layout_and_a_rootfs_are_sources_too(world: World) -> None:
    loop = world.life()
    for number, source in enumerate(("layout", "rootfs")):
        item = image(source, world.archive(str(number)), source)
        assert loop.converge(item) == Diff()
        assert loop.status(item).ready


def test_another_input_moves_record_and_tags(world: World) -> None:
    loop = world.life()
    first = image("web", world.archive("a"), tags=["shop/web:1"])
    loop.converge(first)
    before = world.record(first)
    second = image("web", world.archive("b"), tags=["shop/web:1", "shop/web:2"])
    loop.converge(second)
    assert before != world.record(second)
    assert set(world.tags().values()) == {world.record(second)}
    assert len(world.tags()) == 2
    third = image("web", world.archive("b"))
    assert loop.converge(third) == Diff()
    assert world.tags() == {}


def test_another_platform_is_imported_anew(world: World) -> None:
    loop = world.life()
    loop.converge(image("web", world.archive("a")))
    arm = image("web", world.archive("a"), platform="linux/arm64")
    loop.converge(arm)
    assert loop.status(arm).fields["platform"] == "linux/arm64"


def test_drift_is_named_and_healed(world: World) -> None:
    loop = world.life()
    item = image("web", world.archive("a"), tags=["shop/web:1"])
    loop.converge(item)
    imported = world.images.image(world.record(item))
    assert imported is not None

    def lose_a_blob() -> None:
        world.images.content().delete(imported.layers[0].digest)

    breaks: dict[str, Callable[[], None]] = {
        "content": lose_a_blob,
        "snapshot": lambda: world.snapshots.remove(imported.chain_id),
        "spec.tags": lambda: world.images.names().delete(WEB),
    }
    for path, break_it in breaks.items():
        break_it()
        assert [(c.path, c.drift) for c in loop.look(item.key, item).changes] == [(path, True)]
        assert loop.converge(item) == Diff()
        assert world.images.unpacked(imported)
        assert world.tags() == {WEB: imported.id}


def test_without_the_input_it_asks_for_another_apply(world: World) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    loop.converge(item)
    world.inputs.gone.add(digest_of("a"))
    assert loop.converge(item) == Diff()
    world.images.content().delete(world.record(item))
    assert "apply again to send it" in loop.converge(item).waiting
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "InputMissing")
    world.inputs.gone.clear()
    assert loop.converge(item) == Diff()


def test_a_plan_needs_no_input(world: World) -> None:
    item = image("web", digest_of("z"), tags=["shop/web:1"])
    assert world.life().plan(item) == [
        "import the archive ./web.tar for linux/amd64",
        "unpack its layers",
        f"tag {WEB}",
    ]


def test_a_bad_archive_is_told_by_its_name_and_waits_for_another(world: World) -> None:
    bad = world.inputs.put("x")
    item = image("web", bad)
    loop = world.life()
    diff = loop.converge(item)
    assert diff.waiting == "./web.tar is no archive of images"
    assert diff.wake_at is None
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "InvalidArgument", diff.waiting)
    assert loop.jobs.started == [f"image:{item.metadata.uid}/import"]
    assert loop.converge(image("web", world.archive("a"))) == Diff()


def test_a_failure_that_may_pass_is_tried_again_ever_later(world: World) -> None:
    item = image("web", world.archive("a"))
    loop = world.life()
    world.images.failures = [ResourceExhausted("no space") for _ in range(3)]
    waits = []
    for _ in range(3):
        diff = loop.converge(item)
        assert diff.wake_at is not None
        assert "no space" in diff.waiting
        assert loop.converge(item) == diff, "not before its time"
        waits.append((diff.wake_at - loop.now).total_seconds())
        loop.wait(diff.wake_at)
    assert waits == [0.5, 1.0, 2.0]
    assert loop.converge(item) == Diff()


def test_several_images_are_chosen_from_by_tag(world: World) -> None:
    loop = world.life()
    digest = world.archive_of_many("m", {"one": "shop/web:1", "two": "shop/db:1"})
    web, db = image("web", digest, tags=["shop/web:1"]), image("db", digest, tags=["shop/db:1"])
    assert loop.converge(web) == Diff()
    assert loop.converge(db) == Diff()
    assert world.record(web) != world.record(db)
    other = image("web", digest, tags=["shop/web:2"])
    assert loop.converge(other).waiting.startswith(
        "the archive has 2 images, and tags name none of them: docker.io/shop/db:1, docker.io/shop/web:1"
    )
    both = image("web", digest, tags=["shop/web:1", "shop/db:1"])
    assert "tags name 2 of them" in loop.converge(both).waiting


def test_what_an_import_brought_that_nobody_chose_is_deleted(world: World) -> None:
    digest = world.archive_of_many("m", {"one": "shop/web:1", "two": "../..//?\x00"})
    world.life().converge(image("web", digest))
    assert world.left() == EMPTY


def test_a_tag_of_another_image_is_a_conflict_until_it_goes(world: World) -> None:
    loop = world.life()
    first = image("first", world.archive("a"), tags=["shop/web:1"])
    second = image("second", world.archive("b"), tags=["shop/web:1", "shop/web:2"])
    loop.converge(first)
    diff = loop.converge(second)
    assert WEB in diff.waiting
    assert diff.wake_at is not None
    assert world.tags()[WEB] == world.record(first)
    assert world.tags()["docker.io/shop/web:2"] == world.record(second)
    ready = loop.status(second).condition("Ready")
    assert ready is not None
    assert ready.reason == "Conflict"
    loop.converge(deleted(first))
    moved = loop.look(second.key, second)
    assert [change.drift for change in moved.changes] == [False]
    assert loop.converge(second) == Diff()
    assert world.tags()[WEB] == world.record(second)


def test_a_name_given_by_hand_is_not_taken(world: World) -> None:
    loop = world.life()
    hand = Descriptor("m", world.archive("h"), 1)
    world.images.names().put(WEB, hand)
    item = image("web", world.archive("a"), tags=["shop/web:1"])
    assert WEB in loop.converge(item).waiting
    assert world.images.names().get(WEB) == hand


def test_a_change_back_gives_up_the_import_under_way(world: World) -> None:
    loop = world.life()
    first, second = image("web", world.archive("a")), image("web", world.archive("b"))
    loop.converge(first)
    before = world.record(first)
    loop.converge(second, jobs=False)
    assert loop.converge(first) == Diff()
    assert loop.acted[-1] == "DropJob"
    assert world.record(first) == before


def test_deletion_leaves_nothing_but_what_others_need(world: World) -> None:
    loop = world.life()
    first = image("first", world.archive("a"), tags=["shop/web:1"])
    second = image("second", world.archive("b"))
    loop.converge(first)
    loop.converge(second)
    assert loop.converge(deleted(first)) == Diff()
    assert loop.converge(second) == Diff()
    assert loop.status(second).ready
    assert loop.reconciler.known() == [second.key]
    assert loop.converge(deleted(second)) == Diff()
    assert world.left() == EMPTY
    assert loop.jobs.states == {}


def test_two_objects_of_one_content_do_not_delete_it_for_each_other(world: World) -> None:
    loop = world.life()
    one, two = image("one", world.archive("a"), tags=["x:1"]), image("two", world.archive("a"), tags=["x:2"])
    loop.converge(one)
    loop.converge(two)
    assert loop.converge(deleted(one)) == Diff()
    assert world.tags() == {"docker.io/library/x:2": world.record(two)}
    assert loop.look(two.key, two) == Diff()


def test_snapshots_of_containers_stay(world: World) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    loop.converge(item)
    found = world.images.image(world.record(item))
    assert found is not None
    world.snapshots.prepare("container", found.chain_id)
    assert loop.converge(deleted(item)) == Diff()
    assert list(world.images.content().walk()) == []
    assert world.snapshots.stat(found.chain_id) is not None


def test_deletion_waits_for_users_and_for_imports(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    loop.converge(item)
    loop.blockers = ("container/web uses it",)
    assert loop.converge(deleted(item)).waiting == "container/web uses it"
    loop.blockers = ()
    real = world.images.prune

    def busy(keep: list[str]) -> int:
        raise Unavailable("images are being imported or unpacked")

    monkeypatch.setattr(world.images, "prune", busy)
    diff = loop.converge(deleted(item))
    assert "being imported" in diff.waiting
    assert diff.wake_at is not None
    monkeypatch.setattr(world.images, "prune", real)
    loop.wait(diff.wake_at)
    assert loop.converge(deleted(item)) == Diff()
    assert world.left() == EMPTY


def test_an_import_given_up_by_deletion_leaves_nothing(world: World) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    loop.converge(item, jobs=False)
    assert loop.converge(deleted(item)) == Diff()
    assert world.left() == EMPTY
    assert loop.jobs.states == {}


def test_an_orphan_is_removed_by_its_uid_alone(world: World) -> None:
    loop = world.life()
    loop.converge(image("web", world.archive("a"), tags=["shop/web:1"]))
    [key] = loop.reconciler.known()
    assert loop.converge(None, key) == Diff()
    assert world.left() == EMPTY


def test_killed_after_every_step_the_next_life_goes_on(tmp_path: Path) -> None:
    def make() -> World:
        return World(tmp_path)

    def item(world: World) -> Object:
        return image("web", world.archive("a"), tags=["shop/web:1"])

    def work(world: World, fuse: Fuse) -> None:
        life = world.life(fuse)
        life.converge(item(world))
        life.converge(image("web", world.archive("b"), tags=["shop/web:2"]))
        life.converge(deleted(item(world)))

    rounds = 0
    for world in killed_at_every_step(make, work):
        rounds += 1
        life = world.life()
        assert life.converge(item(world)) == Diff()
        assert life.status(item(world)).ready
        assert world.tags() == {WEB: world.record(item(world))}
        assert world.life().converge(deleted(item(world))) == Diff()
        assert world.left() == EMPTY
    assert rounds > 12


def test_sources_of_later_versions_are_refused(world: World) -> None:
    item = made(Kind.IMAGE, "web", {"from": {"build": {"context": "."}}})
    loop = world.life()
    assert "no images from a build" in loop.converge(item).waiting
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    assert ready.reason == "Unsupported"


def test_a_damaged_manifest_is_as_good_as_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    loop.converge(item)

    def damaged(digest: str) -> None:
        raise InvalidArgument("manifest is no JSON")

    with monkeypatch.context() as patch:
        patch.setattr(world.images, "image", damaged)
        assert loop.look(item.key, item).changes[0].path == "content"
    assert loop.converge(item) == Diff()


def test_nothing_is_pruned_between_an_import_and_its_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))
    real = world.images.import_archive

    def imports(source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        found = real(source, platform=platform, progress=progress)
        with pytest.raises(Unavailable):
            loop.reconciler.prune()  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(world.images, "import_archive", imports)
    assert loop.converge(item) == Diff()
    assert loop.acted.count("StartImport") == 1


def test_an_unpack_of_what_was_replaced_meanwhile_is_not_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    first, second = image("web", world.archive("a")), image("web", world.archive("b"))
    real = world.images.unpack

    def unpack(found: Image, *, progress: Progress | None = None) -> None:
        monkeypatch.setattr(world.images, "unpack", real)
        real(found, progress=progress)
        loop.reconciler.act(loop.look(second.key, second).actions[0])
        loop.jobs.run()
        world.snapshots.remove(found.chain_id)

    monkeypatch.setattr(world.images, "unpack", unpack)
    loop.converge(first, jobs=False)
    loop.jobs.run()
    loop.converge(first, jobs=False)
    loop.jobs.run()
    assert [change.drift for change in loop.look(second.key, second).changes] == [False]
    assert loop.converge(second) == Diff()


def test_a_damaged_image_does_not_hold_up_the_deletion_of_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    damaged, other = image("damaged", world.archive("a")), image("other", world.archive("b"))
    loop.converge(damaged)
    loop.converge(other)
    bad, real = world.record(damaged), world.images.image

    def reads(digest: str) -> Image | None:
        if digest == bad:
            raise InvalidArgument("manifest is no JSON")
        return real(digest)

    monkeypatch.setattr(world.images, "image", reads)
    assert loop.converge(deleted(other)) == Diff()
    assert loop.reconciler.known() == []


def test_inputs_are_needed_until_the_image_is_made(world: World) -> None:
    loop = world.life()
    item = image("web", world.archive("a"))

    def needed(desired: Object) -> frozenset[str]:
        reconciler = loop.reconciler
        return reconciler.inputs_needed(desired, reconciler.observe(desired.key, desired, loop.context()))  # type: ignore[attr-defined]

    assert needed(item) == {digest_of("a")}
    loop.converge(item)
    assert needed(item) == frozenset()
    assert needed(image("web", digest_of("b"))) == {digest_of("b")}
    assert needed(deleted(image("web", digest_of("b")))) == frozenset()
