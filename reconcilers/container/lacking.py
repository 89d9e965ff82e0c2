"""What a Container needs and is not there (PURE), in words."""

from collections.abc import Iterator

from reconcilers.container.intent import Intent, network_mode
from reconcilers.container.model import Observed
from reconcilers.interface import Context
from resources.kinds import Kind
from resources.meta import Ref


def lacking(asked: Intent, observed: Observed, context: Context) -> list[str]:
    """What it needs of other objects and is not there; the engine's blockers mostly say so first."""
    found = list(asked.missing)
    if observed.image is None and isinstance(asked.spec.image, str):
        found.append(f"the content of the image {asked.spec.image} is not here")
    elif observed.image is None:
        found.append("the content of its image is not here")
    elif not observed.unpacked:
        found.append("its image is not unpacked")
    for mount in asked.spec.mounts:
        view = observed.volumes.get(mount.target)
        if mount.volume is not None and (view is None or view.state is None or not view.state.mounted):
            found.append(f"volume/{mount.volume} is not there")
        elif mount.volume is not None and view is not None and not view.seeded:
            found.append(f"volume/{mount.volume} is not populated")
        if mount.image is not None and mount.target not in observed.images:
            found.append(f"the content of image/{mount.image.name} is not here")
    return [*found, *_not_shared(asked, observed, context)]


def _not_shared(asked: Intent, observed: Observed, context: Context) -> Iterator[str]:
    """Of the namespaces of other containers."""
    wanted = {"network": asked.spec.networks[0].container or "" if asked.spec.networks else ""}
    wanted |= {field: getattr(asked.spec, field).partition("container:")[2] for field in ("pid", "ipc")}
    for field, name in wanted.items():
        other = context.dependencies.get(
            Ref(kind=Kind.CONTAINER, namespace=asked.object.metadata.namespace, name=name or "-")
        )
        if name and field == "network" and other is not None and network_mode(other.effective) == "container":
            yield f"container/{name} is itself in the sandbox of another: name that one"
        elif name and field not in observed.shared:
            yield f"container/{name} does not run"
