"""Images of registries converge on the real client, content store and overlays: pulled, asked for again, interrupted, deleted."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.store.seal import HostKey
from drivers.images.interface import Descriptor
from drivers.images.registry.client import RegistryClient
from drivers.images.store import ImageDriver
from reconcilers.interface import Diff
from resources.kinds import Kind
from resources.object import Object
from tests.fake_registry import Answer, FakeRegistry, Request
from tests.integration.reconcilers.test_image_on_host import Life
from tests.unit.drivers.images import tars
from tests.unit.reconcilers.engines import deleted, made

pytestmark = pytest.mark.host
DATA = os.urandom(3 << 20)


def layer(name: str, data: bytes = b"x") -> bytes:
    return tars.entry(name, data) + tars.END


LARGE = layer("large", DATA)
GET_LARGE = f"GET .*/blobs/{tars.digest(LARGE)}"


class RegistryLife(Life):
    def _driver(self, base: Path) -> ImageDriver:
        return ImageDriver(base / "images", self.snapshots, registries=RegistryClient())

    def names(self) -> dict[str, Descriptor]:
        return {name: where for name, where in self.images.names().list() if not name.startswith("uid:")}

    def refresh(self, item: Object) -> None:
        self.reconciler.refresh(item.key, ask=True)

    def partials(self) -> list[str]:
        return [*os.listdir(self.base / "images/ingest"), *os.listdir(self.base / "images/leases")]

    def emptied(self) -> bool:
        for name in self.names():
            self.images.names().delete(name)
        self.reconciler.prune()
        return self.left() == [] and self.partials() == []


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made_registry:
        yield made_registry


@pytest.fixture
def life(tmp_path: Path) -> Iterator[RegistryLife]:
    made_life = RegistryLife(tmp_path / "root")
    yield made_life
    made_life.end()


def image(registry: FakeRegistry, tag: str = "1", **spec: Any) -> Object:
    return made(Kind.IMAGE, "app", {"from": {"registry": f"{registry.host}/team/app:{tag}"}, **spec})


def slow(_: Request, answer: Answer) -> Answer:
    return replace(answer, cut=len(answer.body) // 2, pause=2)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_is_pulled_once_and_used_by_all(registry: FakeRegistry, life: RegistryLife) -> None:
    published = registry.publish("team/app:1", [layer("a"), layer("b")], platforms=["linux/amd64", "linux/arm64"])
    item = image(registry, tags=["shop/app:1"])
    assert life.converge(item) == [Diff()]
    name = f"{registry.host}/team/app:1"
    fields = life.status(item).fields
    assert (fields["digest"], fields["resolved"], fields["reference"]) == (published.id, published.target, name)
    assert {name: where.digest for name, where in life.names().items()} == {
        name: published.id,
        "docker.io/shop/app:1": published.id,
    }
    requests = len(registry.requests)
    other = image(registry).model_copy(
        update={"metadata": item.metadata.model_copy(update={"name": "b", "uid": "b" * 32})}
    )
    assert life.converge(other) == [Diff()]
    assert life.converge(deleted(item)) == [Diff()]
    assert life.converge(deleted(other)) == [Diff()]
    assert life.converge(item) == [Diff()]
    assert len(registry.requests) == requests, "no network"
    assert life.converge(deleted(item)) == [Diff()]
    assert list(life.names()) == [name]
    assert life.emptied()


def test_a_tag_that_moves(registry: FakeRegistry, life: RegistryLife) -> None:
    first = registry.publish("team/app:1", [layer("a")])
    item = image(registry, pull="always")
    life.refresh(item)
    assert life.converge(item) == [Diff()]
    blobs = len(registry.asked("blobs/"))
    life.refresh(item)
    assert life.converge(item) == [Diff()]
    second = registry.publish("team/app:1", [layer("a"), layer("b")])
    assert life.converge(item) == [Diff()]
    assert life.status(item).fields["digest"] == first.id
    assert len(registry.asked("blobs/")) == blobs
    life.refresh(item)
    assert life.converge(item) == [Diff()]
    assert life.status(item).fields["digest"] == second.id
    assert len(registry.asked("blobs/")) == blobs + 2, "the new layer, and a config"
    assert life.converge(deleted(item)) == [Diff()]
    assert life.emptied()


def test_a_secret_logs_in(tmp_path: Path) -> None:
    with FakeRegistry(users={"me": "hidden"}) as registry:
        registry.publish("team/app:1", [layer("a")])
        life = RegistryLife(tmp_path / "root")
        item = image(registry, auth={"secret": "hub"})

        def secret(password: str) -> None:
            values = {"username": b"me", "password": password.encode()}
            key = HostKey(tmp_path / "root")
            entries = {name: key.seal(value).full() for name, value in values.items()}
            hub = made(Kind.SECRET, "hub", {}, effective={"entries": entries})
            life.dependencies = {hub.ref: hub}

        secret("wrong")
        life.converge(item)
        ready = life.status(item).condition("Ready")
        assert ready is not None
        assert ready.reason == "PermissionDenied"
        assert "wrong" not in ready.message
        secret("hidden")
        assert life.converge(item) == [Diff()]
        assert life.converge(deleted(item)) == [Diff()]
        assert life.emptied()
        life.end()


def test_progress_can_be_seen_layer_by_layer_and_a_deletion_leaves_nothing(
    registry: FakeRegistry, life: RegistryLife
) -> None:
    registry.publish("team/app:1", [LARGE, layer("b")])
    registry.fault(GET_LARGE, slow, times=9)
    item = image(registry)
    for action in life.look(item).actions:
        life.reconciler.act(action)

    def half() -> bool:
        layers = (life.status(item).fields.get("progress") or {}).get("layers", ())
        return any(0 < one["done"] < one["total"] for one in layers)

    until(half)
    progress = life.status(item).fields["progress"]
    assert progress["what"] == f"pull {registry.host}/team/app:1"
    assert progress["total"] >= progress["done"] > 0
    begun = time.monotonic()
    assert life.converge(deleted(item)) == [Diff()]
    assert time.monotonic() - begun < 2, "no deletion waits for a pull"
    until(lambda: life.jobs.running() == 0 and life.partials() == [])
    assert life.emptied()


def test_another_tag_does_not_wait_for_the_wrong_one(registry: FakeRegistry, life: RegistryLife) -> None:
    registry.publish("team/app:wrong", [LARGE])
    registry.publish("team/app:1", [layer("b")])
    registry.fault(GET_LARGE, slow, times=9)
    wrong = image(registry, "wrong")
    for action in life.look(wrong).actions:
        life.reconciler.act(action)
    until(lambda: registry.asked("blobs/"))
    begun = time.monotonic()
    assert life.converge(image(registry)) == [Diff()]
    assert time.monotonic() - begun < 5
    until(lambda: life.partials() == [])
    assert life.converge(deleted(image(registry))) == [Diff()]
    assert life.emptied()


def test_the_next_life_goes_on_where_the_last_was_ended(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.publish("team/app:1", [LARGE])
    registry.fault(GET_LARGE, slow)
    item = image(registry)
    first = RegistryLife(tmp_path / "root")
    for action in first.look(item).actions:
        first.reconciler.act(action)
    until(lambda: sum(registry.sent.values()) > len(LARGE) // 2)
    first.end()
    sent = sum(registry.sent.values())
    second = RegistryLife(tmp_path / "root")
    assert second.converge(item) == [Diff()]
    assert sum(registry.sent.values()) - sent < len(LARGE) * 3 // 4
    assert second.converge(deleted(item)) == [Diff()]
    assert second.emptied()
    second.end()


def test_a_deletion_in_another_life_leaves_nothing_either(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.publish("team/app:1", [LARGE])
    registry.fault(GET_LARGE, slow, times=9)
    item = image(registry)
    first = RegistryLife(tmp_path / "root")
    for action in first.look(item).actions:
        first.reconciler.act(action)
    until(lambda: registry.asked("blobs/") and first.partials())
    first.end()
    second = RegistryLife(tmp_path / "root")
    assert second.partials()
    assert second.converge(deleted(item)) == [Diff()]
    assert second.emptied()
    second.end()
