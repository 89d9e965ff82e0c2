"""Images of registries on drivers in memory: pulled once, kept by their own name, asked for again only when that is wanted."""

from pathlib import Path
from typing import Any

import pytest

from reconcilers.image.model import record_name
from reconcilers.interface import ChangeKind, Diff, FieldChange
from resources.errors import DataLoss, EngineError, InvalidArgument, Unavailable
from tests.unit.reconcilers.engines import deleted
from tests.unit.reconcilers.image.pulled import NGINX, apply, cached, clear_cache, image, ready, reconciler
from tests.unit.reconcilers.image.worlds import EMPTY, World
from tests.unit.reconcilers.image.worlds import image as archived


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "inputs")
    made.images.publish(NGINX, layers=(b"base", b"nginx"), platforms=("linux/amd64", "linux/arm64"))
    return made


def test_it_is_pulled_unpacked_and_tagged_and_its_reference_becomes_a_name(world: World) -> None:
    item = image(tags=["shop/web:1"])
    loop = world.life()
    assert loop.converge(item, jobs=False).waiting == "queued"
    assert (loop.status(item).phase, ready(loop, item).reason) == ("Pulling", "Pulling")
    assert loop.converge(item) == Diff()
    assert loop.acted == ["StartPull", "FinishPull", "StartUnpack", "SetTags"]
    target = world.record(item)
    assert world.tags() == {NGINX: target, "docker.io/shop/web:1": target}
    assert cached(world) == {NGINX: target}
    fields = loop.status(item).fields
    assert (fields["digest"], fields["reference"], fields["platform"]) == (target, NGINX, "linux/amd64")
    assert fields["resolved"] == world.images.resolve(NGINX).digest != target
    notes = world.images.names().get(record_name(item.metadata.uid))
    assert notes is not None
    assert {"registry", NGINX, "linux/amd64"} <= set(notes.annotations.values())


def test_what_is_here_needs_no_network(world: World) -> None:
    loop = world.life()
    loop.converge(image("one"))
    target = world.record(image("one"))
    pinned = f"docker.io/library/nginx@{target}"
    world.images.registry_fails(Unavailable("no network"))
    for item, name in (
        (image("two"), NGINX),
        (image("three", pull="never"), NGINX),
        (image("four", pinned), pinned),
        (image("five", pinned, pull="always"), pinned),
    ):
        assert loop.plan(item) == [f"use {name}, which is here"]
        assert loop.converge(item) == Diff()
        assert world.record(item) == target
    assert world.images.pulls == 1
    assert loop.acted.count("UseLocal") == 4


def test_what_is_here_for_another_platform_is_not_meant(world: World) -> None:
    loop = world.life()
    loop.converge(image("one"))
    arm = image("two", platform="linux/arm64")
    assert loop.plan(arm) == [f"pull {NGINX} for linux/arm64", "unpack its layers"]
    assert loop.converge(arm) == Diff()
    assert loop.status(arm).fields["platform"] == "linux/arm64"
    assert cached(world) == {NGINX: world.record(arm)}, "what was pulled last"
    assert loop.look(image("one").key, image("one")) == Diff()


def test_what_is_here_in_part_is_pulled_again(world: World) -> None:
    loop = world.life()
    item = image()
    loop.converge(item)
    found = world.images.image(world.record(item))
    assert found is not None
    world.images.content().delete(found.layers[0].digest)
    drift = loop.look(item.key, item)
    assert [(change.path, change.drift) for change in drift.changes] == [("content", True)]
    assert [action.describe() for action in drift.actions] == [f"pull {NGINX} for linux/amd64"]
    assert loop.converge(item) == Diff()
    assert world.images.image(found.id) == found


def test_what_is_not_here_and_must_not_be_pulled_says_so(world: World) -> None:
    item = image(pull="never")
    loop = world.life()
    diff = loop.converge(item)
    assert diff.waiting == f"{NGINX} is not here and pull is never (`lading image load` brings it here)"
    assert diff.wake_at is not None
    assert (loop.status(item).phase, ready(loop, item).reason) == ("Failed", "NotFound")
    assert world.images.pulls == 0
    assert loop.plan(item) == []
    loop.converge(image("other"))
    loop.wait(diff.wake_at)
    assert loop.converge(item) == Diff()


def test_a_tag_that_moves_is_asked_for_only_by_an_apply(world: World) -> None:
    loop = world.life()
    item = image(pull="always")
    assert apply(loop, item) == Diff()
    assert (world.images.pulls, world.images.resolves) == (1, 0)
    before = world.record(item)
    assert apply(loop, item) == Diff()
    assert (world.images.pulls, world.images.resolves) == (1, 1), "it has not moved"
    world.images.publish(NGINX, layers=(b"base", b"newer"))
    assert loop.converge(item) == Diff()
    assert world.life().converge(item) == Diff()
    assert (world.images.pulls, world.images.resolves) == (1, 1), "a resync asks nobody"
    assert loop.plan(item) == []
    assert apply(loop, item) == Diff()
    assert world.record(item) != before
    assert cached(world) == {NGINX: world.record(item)}
    assert loop.look(item.key, item) == Diff()


def test_while_the_registry_is_asked_it_is_not_ready(world: World) -> None:
    loop = world.life()
    item = image(pull="always")
    loop.converge(item)
    reconciler(loop).refresh(item.key, ask=True)
    diff = loop.converge(item, jobs=False)
    assert diff.waiting == "queued"
    assert (loop.status(item).phase, ready(loop, item).reason) == ("Checking", "Checking")
    assert loop.status(item).condition("Available") is None
    assert loop.converge(item) == Diff()
    assert loop.status(item).ready


def test_a_registry_that_does_not_answer_leaves_what_is_here_in_use(world: World) -> None:
    loop = world.life()
    item = image(pull="always")
    apply(loop, item)
    world.images.publish(NGINX, layers=(b"newer",))
    world.images.registry_fails(Unavailable("no route to docker.io", hint="is the network up?"))
    diff = apply(loop, item)
    assert diff.waiting == "no route to docker.io (is the network up?); it is tried again"
    assert diff.wake_at is not None
    status = loop.status(item)
    assert (status.phase, ready(loop, item).reason) == ("Retrying", "Unavailable")
    available = status.condition("Available")
    assert available is not None
    assert available.status == "True"
    world.images.registry_fails(None)
    loop.wait(diff.wake_at)
    loop.converge(item, jobs=False)
    assert loop.status(item).condition("Available") is not None, "also while it is asked again"
    before = world.record(item)
    assert loop.converge(item) == Diff()
    assert world.record(item) != before


def test_others_than_always_are_not_asked_for(world: World) -> None:
    loop = world.life()
    pinned = image("pinned", f"nginx@{world.images.publish('nginx:x', layers=(b'x',)).digest}", pull="always")
    for item in (image("missing"), pinned):
        apply(loop, item)
        world.images.registry_fails(Unavailable("no network"))
        assert apply(loop, item) == Diff()
        assert loop.status(item).ready
        world.images.registry_fails(None)
    assert world.images.resolves == 0


def test_what_is_asked_for_while_it_is_answered_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world.life()
    item = image(pull="always")
    apply(loop, item)
    real = world.images.resolve

    def resolve(reference: str, **options: Any) -> Any:
        found = real(reference, **options)
        monkeypatch.setattr(world.images, "resolve", real)
        world.images.publish(NGINX, layers=(b"newest",))
        reconciler(loop).refresh(item.key, ask=True)
        return found

    monkeypatch.setattr(world.images, "resolve", resolve)
    assert apply(loop, item) == Diff()
    assert world.images.resolves == 2
    newest = world.images.resolve(NGINX).digest
    assert loop.status(item).fields["resolved"] == newest


FAILURES: list[tuple[EngineError, bool]] = [
    (Unavailable("docker.io does not answer", hint="try later"), True),
    (DataLoss("the layer does not verify"), False),
]


@pytest.mark.parametrize(("error", "again"), FAILURES)
def test_a_pull_that_fails_says_why_and_an_apply_tries_at_once(world: World, error: EngineError, again: bool) -> None:
    loop = world.life()
    item = image()
    world.images.registry_fails(error)
    diff = loop.converge(item)
    assert diff.waiting == f"{error}{'; it is tried again' if again else ''}"
    assert (diff.wake_at is not None) == again
    assert (ready(loop, item).reason, ready(loop, item).message) == (error.reason, diff.waiting)
    assert loop.status(item).phase == ("Retrying" if again else "Failed")
    assert loop.status(item).condition("Available") is None
    world.images.registry_fails(None)
    assert loop.converge(item) == diff, "not before its time"
    assert apply(loop, item) == Diff()


def test_an_apply_of_what_uses_it_tries_again_and_does_not_ask(world: World) -> None:
    loop = world.life()
    item = image(pull="always")
    world.images.registry_fails(DataLoss("damaged"))
    loop.converge(item)
    world.images.registry_fails(None)
    reconciler(loop).refresh(item.key, ask=False)
    assert loop.converge(item) == Diff()
    reconciler(loop).refresh(item.key, ask=False)
    assert loop.converge(item) == Diff()
    assert world.images.resolves == 0


@pytest.mark.parametrize(("policy", "asks"), [("missing", 1), ("always", 1), ("never", 0)])
def test_what_cannot_be_unpacked_is_asked_for_again_by_an_apply(
    world: World, monkeypatch: pytest.MonkeyPatch, policy: str, asks: int
) -> None:
    loop, item = world.life(), image(pull=policy)
    real, bad = world.images.unpack, world.images.publish(NGINX, layers=(b"bad",)).digest

    def unpack(made: Any, **options: Any) -> None:
        if made.id == bad:
            raise InvalidArgument("the layer is not what its image says")
        real(made, **options)

    monkeypatch.setattr(world.images, "unpack", unpack)
    if policy == "never":
        loop.converge(image("other"))
    before = world.images.resolves
    assert apply(loop, item).wake_at is None
    apply(loop, item)
    assert (loop.status(item).phase, world.images.resolves - before) == ("Failed", asks)
    world.images.publish(NGINX, layers=(b"base", b"newer"))
    apply(loop, item)
    assert loop.status(item).phase == ("Failed" if policy == "never" else "Ready")


def test_another_reference_or_platform_is_other_content(world: World) -> None:
    world.images.publish("docker.io/library/nginx:1.28", layers=(b"new",))
    loop = world.life()
    loop.converge(image())
    newer = image(registry="nginx:1.28")
    found = loop.look(newer.key, newer)
    assert found.changes == (FieldChange("spec.from.registry", NGINX, "docker.io/library/nginx:1.28", ChangeKind.HOT),)
    assert loop.converge(newer) == Diff()
    arm = image(platform="linux/arm64")
    assert [change.path for change in loop.look(arm.key, arm).changes] == ["spec.from.registry", "spec.platform"]
    assert loop.converge(arm) == Diff()
    pulls = world.images.pulls
    assert loop.converge(image(registry="docker.io/library/nginx:1.28")) == Diff()
    assert world.images.pulls == pulls, "it is here still"


def test_a_pull_of_what_is_no_longer_wanted_makes_way(world: World) -> None:
    world.images.publish("docker.io/library/nginx:1.28", layers=(b"new",))
    loop = world.life()
    loop.converge(image(registry="nginx:wrong"), jobs=False)
    right = image(registry="nginx:1.28")
    assert loop.converge(right) == Diff()
    assert loop.acted == ["StartPull", "DropJob", "StartPull", "FinishPull", "StartUnpack"]
    assert world.images.pulls == 1
    assert "docker.io/library/nginx:wrong" not in cached(world)


def test_what_an_unfinished_pull_left_is_dropped_when_nobody_wants_it(world: World) -> None:
    loop = world.life()
    item = image(registry="nginx:wrong")
    loop.converge(item)
    assert world.images.abandoned == []
    loop.converge(image(registry="nginx:other"))
    assert world.images.abandoned == ["docker.io/library/nginx:wrong"]
    assert loop.converge(deleted(image(registry="nginx:other"))) == Diff()
    assert set(world.images.abandoned[1:]) == {"docker.io/library/nginx:other"}
    assert world.left() == EMPTY
    assert loop.jobs.states == {}


def test_deletion_takes_record_and_tags_and_leaves_what_was_pulled(world: World) -> None:
    loop = world.life()
    item = image(tags=["shop/web:1"])
    loop.converge(item)
    target = world.record(item)
    assert [action.describe() for action in loop.look(item.key, deleted(item)).actions] == [
        "drop the import job",
        "drop the unpack job",
        f"drop what unfinished pulls of {NGINX} left",
        "untag docker.io/shop/web:1",
        "let go of its content, which others keep",
    ]
    assert loop.converge(deleted(item)) == Diff()
    assert world.tags() == cached(world) == {NGINX: target}
    assert world.images.image(target) is not None
    assert reconciler(loop).known() == []
    assert loop.converge(image("next")) == Diff()
    assert world.images.pulls == 1
    loop.converge(deleted(image("next")))
    clear_cache(world, loop)
    assert world.left() == EMPTY


def test_deletion_deletes_what_has_no_name_any_more(world: World) -> None:
    loop = world.life()
    item = image()
    loop.converge(item)
    world.images.names().delete(NGINX)
    assert loop.converge(deleted(item)) == Diff()
    assert world.left() == EMPTY


def test_content_that_loses_its_last_other_name_meanwhile_is_deleted(world: World) -> None:
    loop = world.life()
    item = image()
    loop.converge(item)
    [drop] = [a for a in loop.look(item.key, deleted(item)).actions if type(a).__name__ == "DropRecord"]
    world.images.names().delete(NGINX)
    with pytest.raises(Unavailable):
        loop.reconciler.act(drop)
    assert loop.converge(deleted(item)) == Diff()
    assert world.left() == EMPTY


def test_a_tag_may_be_the_reference_itself(world: World) -> None:
    loop = world.life()
    item = image(tags=["nginx:1.27"])
    assert loop.converge(item) == Diff()
    assert cached(world) == {}
    assert world.tags() == {NGINX: world.record(item)}
    assert apply(loop, image(tags=["nginx:1.27"], pull="always")) == Diff()
    other = image("other")
    assert loop.converge(other) == Diff(), "the tag of another Image is as good"
    assert world.images.pulls == 1
    assert loop.converge(deleted(item)) == Diff()
    assert loop.look(other.key, other) == Diff()
    assert loop.converge(deleted(other)) == Diff()
    assert world.left() == EMPTY


def test_its_own_tag_of_an_archive_is_not_taken_for_the_registrys(world: World) -> None:
    loop = world.life()
    loop.converge(archived("web", world.archive("a"), tags=["nginx:1.27"]))
    item = image(tags=["nginx:1.27"])
    assert loop.converge(item) == Diff()
    assert world.images.pulls == 1
    assert world.tags() == {NGINX: world.record(item)}


def test_an_archive_after_a_registry_and_back(world: World) -> None:
    loop = world.life()
    item, other = image(), archived("web", world.archive("a"))
    loop.converge(item)
    first = world.record(item)
    assert loop.converge(other) == Diff()
    assert world.record(other) != first
    assert loop.converge(item) == Diff()
    assert world.record(item) == first
