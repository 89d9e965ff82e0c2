"""Images of registries under containers: tags that move, registries that are away, logins."""

from datetime import timedelta
from pathlib import Path

import pytest

from drivers.images.interface import Credentials
from resources.errors import Unavailable
from tests.convergence.shop import SERVE, container, emptied, find, image, published
from tests.convergence.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return published(tmp_path)


def test_a_tag_that_moves_makes_the_containers_anew(world: World) -> None:
    text = image("web", "{from: {registry: 'nginx:1.27'}, pull: always}") + container("web")
    world.apply(text)
    world.converge()
    before = world.task("web")
    assert world.plan(text).empty
    world.apply(text)
    world.converge()
    assert world.task("web") == before
    world.machine.images.publish("nginx:1.27", SERVE, layers=(b"moved",))
    world.engine.wake_all()
    world.converge()
    assert world.task("web") == before
    world.apply(text)
    world.converge()
    after = world.task("web")
    assert after is not None
    assert before is not None
    assert after.id != before.id
    assert world.plan(text).empty
    emptied(world)


def test_a_registry_that_is_away_does_not_keep_what_ended_from_starting_again(world: World) -> None:
    text = image("web", "{from: {registry: 'nginx:1.27'}, pull: always}") + container("web", more=", restart: always")
    world.apply(text)
    world.converge()
    world.machine.images.registry_fails(Unavailable("no network"))
    world.apply(text)
    world.run()
    before = world.task("web")
    assert before is not None
    world.runtime.exit(before.id, 1)
    for _ in range(20):
        world.now += timedelta(seconds=1)
        world.run()
    after = world.task("web")
    assert after is not None
    assert (after.id, after.status) == (before.id, before.status)
    assert after.attempt > before.attempt
    world.machine.images.registry_fails(None)
    world.converge()
    emptied(world)


def test_a_secret_logs_in(world: World) -> None:
    world.machine.images.publish("ghcr.io/shop/web:1", SERVE, credentials=Credentials("me", "hidden"))
    login = """---
apiVersion: lading/v1
kind: Secret
metadata: {name: hub}
spec: {data: {username: me, password: PASSWORD}}
"""
    rest = image("web", "{from: {registry: 'ghcr.io/shop/web:1'}, auth: {secret: hub}}") + container(
        "web", "ghcr.io/shop/web:1"
    )
    world.apply(login.replace("PASSWORD", "wrong") + rest)
    world.run()
    status = world.engine.status(find(world, "image/web").key)
    assert status is not None
    assert "refuses the login of secret/hub" in str(status.conditions)
    world.apply(login.replace("PASSWORD", "hidden"))
    world.converge()
    assert world.task("web") is not None
    assert "hidden" not in str(world.told.events)
    emptied(world)
