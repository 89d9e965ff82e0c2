"""Containers that name an image of a registry, and a world that has it."""

from pathlib import Path
from typing import Any

from controller.interface import ApplyOptions
from controller.store.seal import HostKey
from drivers.images.interface import ImageConfig
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from tests.convergence.world import World

OWNED = ApplyOptions(owner="shop", prune=True)
SERVE = ImageConfig(command=("serve",), env={"PATH": "/bin"})
FILES = {"app.tar": b"image one"}
NGINX = "docker.io_library_nginx_1.27"


def container(name: str, image: str = "nginx:1.27", more: str = "") -> str:
    return f"""---
apiVersion: lading/v1
kind: Container
metadata: {{name: {name}}}
spec: {{image: "{image}", networks: [none]{more}}}
"""


def image(name: str, spec: str) -> str:
    return f"""---
apiVersion: lading/v1
kind: Image
metadata: {{name: {name}}}
spec: {spec}
"""


def published(folder: Path, key: HostKey | None = None, made: type[World] = World, **how: Any) -> World:
    world = made(folder, key or HostKey(folder), **how)
    for tag in ("1.27", "1.28"):
        world.machine.images.publish(f"nginx:{tag}", SERVE, layers=(b"base", tag.encode()))
    return world


def names(world: World) -> list[str]:
    return [str(item.ref) for item in world.objects]


def ref(text: str) -> Ref:
    kind, _, name = text.partition("/")
    return Ref(kind=Kind(kind.title()), namespace="default", name=name)


def find(world: World, text: str) -> Object:
    found = world.engine.objects.find(ref(text))
    assert found is not None
    return found


def delete(world: World, *texts: str) -> None:
    world.backend.delete([ref(text) for text in texts], data=False, cascade=False, force=False)


def emptied(world: World) -> None:
    world.delete_all()
    assert world.left() == {}
