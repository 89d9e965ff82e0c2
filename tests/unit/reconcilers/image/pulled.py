"""Images of a registry, as tests write and look at them."""

from typing import Any

from reconcilers.image.reconciler import ImageReconciler
from reconcilers.interface import Diff
from resources.kinds import Kind
from resources.meta import Condition
from resources.object import Object
from tests.unit.reconcilers.engines import Loop, made
from tests.unit.reconcilers.image.worlds import World

NGINX = "docker.io/library/nginx:1.27"


def image(name: str = "web", registry: str = "nginx:1.27", **spec: Any) -> Object:
    return made(Kind.IMAGE, name, {"from": {"registry": registry}, **spec})


def reconciler(loop: Loop) -> ImageReconciler:
    assert isinstance(loop.reconciler, ImageReconciler)
    return loop.reconciler


def apply(loop: Loop, item: Object) -> Diff[Any]:
    """As the engine does after an apply that names the object."""
    reconciler(loop).refresh(item.key, ask=True)
    return loop.converge(item)


def ready(loop: Loop, item: Object) -> Condition:
    found = loop.status(item).condition("Ready")
    assert found is not None
    return found


def cached(world: World) -> dict[str, str]:
    """The names that are nobody's."""
    return {n: t.digest for n, t in world.images.names().list() if "lading/uid" not in t.annotations}


def clear_cache(world: World, loop: Loop) -> None:
    for name in cached(world):
        world.images.names().delete(name)
    reconciler(loop).prune()
