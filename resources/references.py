"""What an object refers to: the edges of the dependency graph, each with the field that makes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from resources.container import ContainerSpec, ImageOf
from resources.container_parts import Mount, ValueFrom
from resources.kinds import Kind
from resources.meta import Ref
from resources.paths import join

_NOT_OBJECTS = ("host", "none")
"""Networks that are there without being objects."""
IMPLIED_NETWORK = "bridge"
"""One that is made where it is not declared."""


@dataclass(frozen=True, slots=True)
class Reference:
    path: str
    """The field, as in `spec.mounts[0].volume`."""
    target: Ref
    condition: str = "ready"
    """What the target must be before this object is started: ready | started | healthy | completed."""
    key: str | None = None
    """The key of the Secret or Config that must exist."""
    restart: bool = False
    """A later restart of the target restarts this object."""
    implied: bool = False
    """Where the target is not declared, it is made."""


def references(kind: Kind, namespace: str, spec: Any) -> tuple[Reference, ...]:
    """Every reference of a spec, or of an effective spec, in the order of its fields."""

    def to(path: str, kind: Kind, name: str, condition: str = "ready", key: str | None = None) -> Reference:
        return Reference(path, Ref(kind=kind, namespace=namespace, name=name), condition, key)

    if kind is Kind.CONTAINER:
        return tuple(_of_container(to, spec))
    if kind is Kind.IMAGE and spec.auth is not None:
        return (to("spec.auth.secret", Kind.SECRET, spec.auth.secret),)
    if kind is Kind.VOLUME and spec.populate is not None and spec.populate.image is not None:
        return (to("spec.populate.image.name", Kind.IMAGE, spec.populate.image.name),)
    return ()


def _of_container(to: Callable[..., Reference], spec: ContainerSpec) -> Iterator[Reference]:
    if isinstance(spec.image, ImageOf):
        yield to("spec.image.name", Kind.IMAGE, spec.image.name)
    for name, value in spec.env.items():
        if isinstance(value, ValueFrom):
            kind, field = (Kind.SECRET, "secret") if value.secret is not None else (Kind.CONFIG, "config")
            yield to(join(join("spec.env", name), field), kind, getattr(value, field), key=value.key)
    for number, mount in enumerate(spec.mounts):
        yield from _of_mount(to, f"spec.mounts[{number}]", mount)
    for number, network in enumerate(spec.networks):
        path = f"spec.networks[{number}]"
        if network.container is not None:
            yield to(f"{path}.container", Kind.CONTAINER, network.container, "started")
        elif network.name not in _NOT_OBJECTS:
            yield replace(to(f"{path}.name", Kind.NETWORK, network.name), implied=network.name == IMPLIED_NETWORK)
    for number, dependency in enumerate(spec.depends_on):
        found = to(f"spec.dependsOn[{number}].container", Kind.CONTAINER, dependency.container, dependency.condition)
        yield replace(found, restart=dependency.restart)
    for field in ("pid", "ipc"):
        mode = getattr(spec, field)
        if mode.startswith("container:"):
            yield to(f"spec.{field}", Kind.CONTAINER, mode.removeprefix("container:"), "started")


def _of_mount(to: Callable[..., Reference], path: str, mount: Mount) -> Iterator[Reference]:
    if mount.image is not None:
        yield to(f"{path}.image.name", Kind.IMAGE, mount.image.name)
    for field, kind in (("volume", Kind.VOLUME), ("secret", Kind.SECRET), ("config", Kind.CONFIG)):
        name = getattr(mount, field)
        if name is not None:
            yield to(f"{path}.{field}", kind, name, key=mount.key)
