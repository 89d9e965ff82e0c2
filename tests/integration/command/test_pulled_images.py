"""A container names an image of a registry and nobody declares it: pulled, run, followed when it moves, gone with its user."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import CHECKOUT, Engine
from tests.fake_registry import FakeRegistry
from tests.integration.command.client import Client, Document, container, document
from tests.integration.command.outside import until
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host
BUSYBOX = CHECKOUT / ".cache" / "images" / "busybox-rootfs.tar"


@pytest.fixture
def registry(images: Path) -> Iterator[FakeRegistry]:
    before = threading.active_count()
    with FakeRegistry() as made:
        publish(made)
        yield made
    until(lambda: threading.active_count() <= before, what="whom it kept waiting has gone")


@pytest.fixture
def lading(engine: Callable[..., Engine], registry: FakeRegistry) -> Iterator[Client]:
    one = Client(engine(), "default")
    yield one
    one("delete", "--all")
    one("image", "prune", "-a")


def publish(registry: FakeRegistry, tag: str = "1", more: str = "") -> str:
    layers = [BUSYBOX.read_bytes()]
    if more:
        layers.append(tars.entry("more", more.encode()) + tars.END)
    return registry.publish(f"team/app:{tag}", layers, config={"Env": ["PATH=/bin"]}).id


def apply(client: Client, *documents: Document, flags: tuple[str, ...] = (), check: bool = True) -> str:
    answer = client("apply", "-f", "-", *flags, check=check, stdin="\n---\n".join(map(json.dumps, documents)))
    return answer.stdout + answer.stderr


def found(client: Client, kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in client.json("get", kind)["items"]}


def test_a_container_is_all_one_writes(lading: Client, registry: FakeRegistry) -> None:
    name = f"{registry.host}/team/app:1"
    implied = name.replace("/", "_").replace(":", "_")
    web = container("web", image=name)
    plan = lading("plan", "-f", "-", stdin=json.dumps(web)).stdout
    assert f"+ image/{implied}" in plan
    assert "implied" in plan
    assert f"spec.from.registry: (none) → {name}" in plan
    assert registry.requests == [], "a plan asks nobody"
    apply(lading, web)
    lading.process("web")
    (image,) = found(lading, "image").values()
    assert (image["metadata"]["name"], image["metadata"]["implied"]) == (implied, True)
    assert (
        image["status"]["digest"]
        == registry.publish("team/same:1", [BUSYBOX.read_bytes()], config={"Env": ["PATH=/bin"]}).id
    )
    requests = len(registry.requests)
    assert "nothing to change" in apply(lading, web)
    refused = lading("delete", f"image/{implied}", check=False)
    assert refused.returncode == 1
    assert "is used by container/web" in refused.stderr
    lading("delete", "container/web")
    until(lambda: not found(lading, "image"), what="its image is gone too")
    apply(lading, web)
    lading.process("web")
    assert len(registry.requests) == requests, "its content was here still"


def test_one_image_after_another(lading: Client, registry: FakeRegistry) -> None:
    publish(registry, "2", "second")
    apply(lading, container("web", image=f"{registry.host}/team/app:1"))
    first = lading.process("web")
    apply(lading, container("web", image=f"{registry.host}/team/app:2"))
    second = lading.process("web")
    assert second != first
    assert lading.inside("web", "cat /more") == "second"
    assert [name.rpartition("_")[2] for name in found(lading, "image")] == ["2"]


def test_what_runs_and_cannot_have_its_new_image_is_not_waited_for(lading: Client, registry: FakeRegistry) -> None:
    apply(lading, container("web", image=f"{registry.host}/team/app:1"))
    runs = lading.process("web")
    begun = time.monotonic()
    said = apply(lading, container("web", image=f"{registry.host}/team/app:9"), check=False)
    assert time.monotonic() - begun < 30
    assert "lading: container/web failed: image/" in said
    assert f"{registry.host} has no such image: team/app:9" in said
    assert lading.process("web") == runs


def test_everything_is_deleted_with_what_nobody_declared(lading: Client, registry: FakeRegistry) -> None:
    apply(lading, container("web", image=f"{registry.host}/team/app:1", networks=["bridge"]))
    assert found(lading, "network").keys() == {"bridge"}
    told = lading("delete", "--all").stdout.splitlines()
    assert {"container/web  Deleted", "network/bridge  Deleted"} < set(told)
    assert [kind for kind in ("container", "network", "image") if found(lading, kind)] == []
    assert lading("delete", "--all").stdout == "nothing to delete\n"


def test_what_is_not_there_is_said_and_an_apply_tries_again(lading: Client, registry: FakeRegistry) -> None:
    apply(lading, container("web", image=f"{registry.host}/team/app:1"))
    runs = lading.process("web")
    missing = container("web", image=f"{registry.host}/team/app:3")
    said = apply(lading, missing, flags=("--timeout", "3s"), check=False)
    assert f"{registry.host} has no such image: team/app:3" in said
    assert lading.process("web") == runs, "it goes on as it was"
    (image,) = found(lading, "image").values()
    assert image["status"]["phase"] == "Retrying"
    publish(registry, "3", "third")
    begun = time.monotonic()
    apply(lading, missing)
    assert time.monotonic() - begun < 15
    assert lading.inside("web", "cat /more") == "third"


def test_a_tag_that_moves_is_followed_by_an_apply(lading: Client, registry: FakeRegistry) -> None:
    image = document("Image", "app", **{"from": {"registry": f"{registry.host}/team/app:1"}, "pull": "always"})
    web = container("web", image={"name": "app"})
    apply(lading, image, web)
    first = lading.process("web")
    asked = apply(lading, image, web)
    assert f"image/app: its registry is asked what {registry.host}/team/app:1 is now" in asked
    assert lading.process("web") == first
    publish(registry, "1", "moved")
    said = apply(lading, image, web)
    assert lading.process("web") != first
    assert "nothing to change" not in said
    assert "container/web  Running" in said
    assert lading.inside("web", "cat /more") == "moved"
    lading("plan", "-f", "-", "--exit-code", stdin="\n---\n".join(map(json.dumps, (image, web))))
