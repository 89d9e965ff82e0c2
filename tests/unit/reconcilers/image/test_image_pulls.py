"""Pulls of images: how far they are, with whose login, interrupted, and killed at every step."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drivers.images.interface import Credentials, Image, Progress
from reconcilers.image.model import FinishPull, Pulled, import_job
from reconcilers.interface import Diff, JobState
from resources.errors import Unavailable
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from resources.secret import Sealed
from tests.unit.reconcilers.engines import Fuse, deleted, killed_at_every_step, made
from tests.unit.reconcilers.image.pulled import NGINX, apply, clear_cache, image, ready, reconciler
from tests.unit.reconcilers.image.worlds import EMPTY, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "inputs")
    made.images.publish(NGINX, layers=(b"base", b"nginx"), platforms=("linux/amd64", "linux/arm64"))
    return made


def secret(name: str = "hub", **values: str) -> Mapping[Ref, Object]:
    entries = {
        key.replace("__", "."): Sealed(digest=f"d{hash(text)}", value=base64.b64encode(text.encode()).decode()).full()
        for key, text in values.items()
    }
    item = made(Kind.SECRET, name, {}, effective={"entries": entries})
    return {item.ref: item}


def test_a_secret_opens_the_registry_and_another_one_is_tried_at_once(world: World) -> None:
    world.images.publish("ghcr.io/shop/web:1", credentials=Credentials("me", "right"))
    item = image(registry="ghcr.io/shop/web:1", auth={"secret": "hub"})
    loop = world.life()
    loop.dependencies = secret(username="me", password="wrong")
    diff = loop.converge(item)
    assert ready(loop, item).reason == "PermissionDenied"
    assert "wrong" not in diff.waiting
    assert diff.wake_at is None
    loop.dependencies = secret(username="me", password="right")
    assert loop.converge(item) == Diff()
    assert "right" not in repr([loop.status(item), world.images.names().list()])


def test_a_secret_without_a_login_is_told_by_its_keys(world: World) -> None:
    item = image(auth={"secret": "hub"})
    loop = world.life()
    loop.dependencies = secret(token="hidden")
    assert loop.converge(item).waiting == (
        "secret/hub has the keys token, and nothing to log in to docker.io with "
        "(username and password, or .dockerconfigjson or config.json)"
    )


def test_progress_is_told_layer_by_layer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = world.life()
    item = image()
    seen: list[Any] = []
    told: list[str] = []
    real = world.images.pull

    def pull(reference: str, *, platform: str, credentials: Any = None, progress: Progress | None = None) -> Image:
        assert progress is not None
        for what, done, total in (
            ("resolve", 0, 0),
            ("sha256:aa", 10, 100),
            ("sha256:bb", 50, 100),
            ("sha256:aa", 40, 100),
        ):
            progress(what, done, total)
            seen.append(loop.status(item).fields["progress"])
            told.append(loop.look(item.key, item).waiting)
        return real(reference, platform=platform, credentials=credentials, progress=progress)

    monkeypatch.setattr(world.images, "pull", pull)
    loop.converge(item)
    what = f"pull {NGINX}"
    assert seen[0] == {"what": what, "done": 0, "total": 0, "layers": []}
    assert seen[-1] == {
        "what": what,
        "done": 90,
        "total": 200,
        "layers": [
            {"digest": "sha256:aa", "done": 40, "total": 100},
            {"digest": "sha256:bb", "done": 50, "total": 100},
        ],
    }
    assert told == [what, f"{what} 10%", f"{what} 30%", f"{what} 45%"]
    assert "progress" not in loop.status(item).fields


def test_what_goes_on_is_looked_at_again_soon(world: World) -> None:
    loop = world.life()
    item = image()
    diff = loop.converge(item, jobs=False)
    assert diff.wake_at is not None
    assert (diff.wake_at - loop.now).total_seconds() == 0.5


def test_a_job_that_tells_of_very_many_things_keeps_the_first(world: World) -> None:
    state = JobState(running=True)
    for number in range(100):
        state = state.told(f"layer {number}", number, 100)
    assert len(state.parts) == 64
    assert (state.what, state.done) == ("layer 99", 99)
    assert state.told("layer 0", 7, 100).parts[0].done == 7


def test_a_pull_is_not_begun_while_the_secret_is_not_there(world: World) -> None:
    loop = world.life()
    item = image(auth={"secret": "hub"})
    loop.blockers = ("secret/hub does not exist",)
    assert loop.converge(item).waiting == "secret/hub does not exist"
    assert world.images.pulls == 0
    assert loop.plan(item) == [f"pull {NGINX} for linux/amd64", "unpack its layers"]


def test_an_engine_that_ends_keeps_what_it_has_fetched(world: World) -> None:
    loop = world.life()
    item = image()
    loop.converge(item, jobs=False)
    loop.jobs.cancel(import_job(item.metadata.uid))
    loop.jobs.run()
    assert world.images.abandoned == []


def test_content_deleted_before_it_had_its_record_is_pulled_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = world.life()
    item = image()
    real = world.images.pull

    def pull(*args: Any, **how: Any) -> Image:
        monkeypatch.setattr(world.images, "pull", real)
        found = real(*args, **how)
        reconciler(loop).prune()
        return found

    monkeypatch.setattr(world.images, "pull", pull)
    diff = loop.converge(item)
    assert "deleted before it had a name" in diff.waiting
    loop.wait(diff.wake_at)
    assert loop.converge(item) == Diff()


def test_killed_after_every_step_the_next_life_goes_on(tmp_path: Path) -> None:
    def make() -> World:
        made = World(tmp_path)
        made.images.publish(NGINX, layers=(b"base", b"nginx"))
        made.images.publish("docker.io/library/nginx:1.28", layers=(b"base", b"new"))
        return made

    def work(world: World, fuse: Fuse) -> None:
        life = world.life(fuse)
        apply(life, image(pull="always", tags=["shop/web:1"]))
        world.images.publish(NGINX, layers=(b"moved",))
        apply(life, image(pull="always"))
        life.converge(image(registry="nginx:1.28"))
        life.converge(deleted(image()))

    rounds = 0
    for world in killed_at_every_step(make, work):
        rounds += 1
        item = image(tags=["shop/web:2"])
        life = world.life()
        assert life.converge(item) == Diff()
        assert life.status(item).ready
        assert world.tags()["docker.io/shop/web:2"] == world.record(item)
        assert world.life().converge(deleted(item)) == Diff()
        assert reconciler(life).known() == []
        clear_cache(world, life)
        assert world.left() == EMPTY
    assert rounds > 15


def test_a_pull_that_is_done_is_told_once_with_its_size_and_its_attempt(world: World) -> None:
    item = image()
    loop = world.life()
    world.images.registry_fails(Unavailable("no network"))
    diff = loop.converge(item)
    world.images.registry_fails(None)
    loop.wait(diff.wake_at)
    assert loop.converge(item) == Diff()
    assert loop.acted.count("FinishPull") == 1
    observed = reconciler(loop).observe(item.key, item, loop.context())
    assert observed.pulled is None


@pytest.mark.parametrize(
    ("fetched", "attempt", "said"),
    [
        (3_355_443, 1, "docker.io/library/nginx:1.27 was pulled in 1.4 s: 3.2 MiB"),
        (2048, 3, "docker.io/library/nginx:1.27 was pulled in 1.4 s: 2.0 KiB, at the attempt number 3"),
        (0, 1, "docker.io/library/nginx:1.27 was pulled in 1.4 s: nothing was missing"),
    ],
)
def test_how_a_pull_went_is_said_in_words(fetched: int, attempt: int, said: str) -> None:
    assert FinishPull("u", Pulled(NGINX, fetched, 1.44, attempt)).describe() == said


def test_what_was_fetched_is_counted_by_layer(world: World) -> None:
    loop = world.life()
    item = image()
    told: list[str] = []
    act = reconciler(loop).act

    def seen(action: Any) -> None:
        told.append(action.describe())
        act(action)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.reconciler, "act", seen)
        loop.converge(item)
    size = world.images.image(world.record(item)).size  # type: ignore[union-attr]
    assert f"{NGINX} was pulled in 0.0 s: {size} bytes" in told


def test_a_question_that_changes_nothing_is_no_pull(world: World) -> None:
    loop = world.life()
    item = image(pull="always")
    apply(loop, item)
    apply(loop, item)
    assert world.images.resolves == 1
    assert loop.acted.count("FinishPull") == 1


def test_a_name_that_another_has_may_come_free(world: World) -> None:
    loop = world.life()
    loop.converge(image("one", tags=["shop/web:1"]))
    two = image("two", tags=["shop/web:1"])
    diff = loop.converge(two)
    assert diff.wake_at is not None
    assert (loop.status(two).phase, ready(loop, two).reason) == ("Retrying", "Conflict")
