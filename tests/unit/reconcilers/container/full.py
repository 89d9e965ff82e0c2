"""A container with something of everything."""

from dataclasses import replace
from typing import Any

from resources.object import Object
from tests.unit.reconcilers.container.worlds import CONFIG, World, container

FULL: dict[str, Any] = {
    "env": {"PLAIN": "1", "PASSWORD": {"secret": "db", "key": "password"}, "MODE": {"config": "conf", "key": "mode"}},
    "mounts": [
        {"volume": "data", "target": "/data"},
        {"bind": "/srv", "target": "/srv"},
        {"tmpfs": {}, "target": "/tmp"},
        {"secret": "db", "target": "/run/secrets"},
        {"config": "conf", "key": "mode", "target": "/etc/mode"},
        {"image": {"name": "assets"}, "target": "/assets"},
    ],
    "init": True,
    "networks": [{"name": "front"}, {"name": "back", "aliases": ["api"]}],
    "ports": [{"container": 80, "host": 8080}, {"container": 81}],
}


def full_world() -> World:
    world = World(config=replace(CONFIG, volumes=("/data", "/var/lib/box")))
    world.secret("db", password="hunter2", other="x")
    world.config_object("conf", mode="prod", more="y")
    world.volume("data", populated=False)
    world.image("assets", CONFIG, b"assets")
    world.network("front", subnets=[{"subnet": "10.1.0.0/24"}])
    world.network("back", subnets=[{"subnet": "10.2.0.0/24"}, {"subnet": "fd00:2::/64"}])
    return world


def started() -> tuple[World, Any, Object]:
    world = full_world()
    loop, item = world.life(), container(**FULL)
    loop.converge(item)
    return world, loop, item
