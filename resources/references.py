"""What an object refers to: the edges of the dependency graph, each with the field that makes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resources.container import ContainerSpec, ImageOf
from resources.container_parts import ValueFrom
from resources.image import ImageSpec
from resources.kinds import Kind
from resources.meta import Ref
from resources.paths import join
from resources.volume import VolumeSpec

IMPLIED_NETWORKS = ("host", "none", "bridge")
"""Networks that need not be declared."""


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


def references(kind: Kind, namespace: str, spec: Any) -> tuple[Reference, ...]:
    """Every reference of a spec, or of an effective spec, in the order of its fields; a name that needs no
    declaration is none."""
    if isinstance(spec, ContainerSpec):
        return tuple(_of_container(namespace, spec))
    if isinstance(spec, ImageSpec) and spec.auth is not None:
        return (Reference("spec.auth.secret", Ref(kind=Kind.SECRET, namespace=namespace, name=spec.auth.secret)),)
    if isinstance(spec, VolumeSpec) and spec.populate is not None and spec.populate.image is not None:
        name = spec.populate.image.name
        return (Reference("spec.populate.image", Ref(kind=Kind.IMAGE, namespace=namespace, name=name)),)
    return ()


def _of_container(namespace: str, spec: ContainerSpec) -> Iterator[Reference]:
    def to(path: str, kind: Kind, name: str, condition: str = "ready", key: str | None = None) -> Reference:
        return Reference(path, Ref(kind=kind, namespace=namespace, name=name), condition, key)

    if isinstance(spec.image, ImageOf):
        yield to("spec.image.name", Kind.IMAGE, spec.image.name)
    for name, value in spec.env.items():
        if isinstance(value, ValueFrom):
            kind, target = (Kind.SECRET, value.secret) if value.secret is not None else (Kind.CONFIG, value.config)
            yield to(join("spec.env", name), kind, target or "", key=value.key)
    for number, mount in enumerate(spec.mounts):
        path = f"spec.mounts[{number}]"
        if mount.volume is not None:
            yield to(f"{path}.volume", Kind.VOLUME, mount.volume)
        elif mount.secret is not None:
            yield to(f"{path}.secret", Kind.SECRET, mount.secret, key=mount.key)
        elif mount.config is not None:
            yield to(f"{path}.config", Kind.CONFIG, mount.config, key=mount.key)
        elif mount.image is not None:
            yield to(f"{path}.image.name", Kind.IMAGE, mount.image.name)
    for number, network in enumerate(spec.networks):
        path = f"spec.networks[{number}]"
        if network.container is not None:
            yield to(f"{path}.container", Kind.CONTAINER, network.container, "started")
        elif network.name is not None and network.name not in IMPLIED_NETWORKS:
            yield to(f"{path}.name", Kind.NETWORK, network.name)
    for number, dependency in enumerate(spec.depends_on):
        target = Ref(kind=Kind.CONTAINER, namespace=namespace, name=dependency.container)
        path = f"spec.dependsOn[{number}].container"
        yield Reference(path, target, dependency.condition, restart=dependency.restart)
    for field in ("pid", "ipc"):
        mode = getattr(spec, field)
        if mode.startswith("container:"):
            yield to(f"spec.{field}", Kind.CONTAINER, mode.removeprefix("container:"), "started")


