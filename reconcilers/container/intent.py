"""What an object asks for, with all that it refers to (PURE)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from drivers.images.interface import ImageConfig
from drivers.network.interface import SandboxFiles
from drivers.network.names.interface import NAME_SERVER
from drivers.runtime.interface import Limits, LogConfig
from reconcilers.container.actions import Recipe
from reconcilers.container.model import UNKNOWN, Incarnation, Observed, task_id
from reconcilers.container.networks import Networks, networks
from reconcilers.container.ocispec import hostname
from reconcilers.image.overrides import overridden
from reconcilers.interface import Context
from resources.container import ContainerSpec, ImageOf
from resources.container_parts import Mount, ValueFrom
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.linux import signal_number
from resources.meta import Ref
from resources.object import Object
from resources.secret import Sealed

RUNNING, PAUSED, STOPPED, CREATED = "running", "paused", "stopped", "created"
_MODES = {"secret": 0o400, "config": 0o444}


@dataclass(frozen=True, slots=True)
class Content:
    """The files of one secret or config mount."""

    what: str
    version: str
    files: Mapping[str, Sealed | str]
    mode: int


@dataclass(frozen=True, slots=True)
class Intent:
    object: Object
    spec: ContainerSpec
    state: str
    recipe: Recipe | None
    """None while the image is not known."""
    contents: Mapping[str, Content]
    """By the target of the mount, as far as they are there."""
    applied: Mapping[str, Any]
    """What the record of a task made now would say; what is not known yet is not in it."""
    missing: tuple[str, ...]
    """What it refers to and is not there."""
    networks: Networks

    @property
    def limits(self) -> Limits:
        return limits(self.spec)

    @property
    def image(self) -> ImageConfig | None:
        """With the overrides of its Image."""
        return self.recipe.image if self.recipe else None

    @property
    def anonymous(self) -> tuple[str, ...]:
        """Each VOLUME of the image that the manifest mounts nothing at."""
        mounted = {mount.target for mount in self.spec.mounts}
        return tuple(path for path in self.image.volumes if path not in mounted) if self.image else ()

    @property
    def drift(self) -> str:
        """heal | report | ignore"""
        return self.object.metadata.annotations.get("lading/drift", "heal")


def intent(desired: Object, observed: Observed, context: Context) -> Intent:
    spec: ContainerSpec = desired.effective
    namespace = desired.metadata.namespace
    contents = {m.target: content(context, namespace, m) for m in spec.mounts if m.source in ("secret", "config")}
    references = {n: v for n, v in spec.env.items() if isinstance(v, ValueFrom)}
    values = {name: _value(context, namespace, value) for name, value in references.items()}
    image_object = image_of(desired, context)
    config = observed.image.config if observed.image else None
    if config is not None and image_object is not None:
        config = overridden(config, image_object.effective.config)
    known = {name: value for name, value in values.items() if value is not None}
    recipe = None
    if config is not None:
        recipe = Recipe(
            name=desired.metadata.name,
            namespace=namespace,
            hostname=host_name(desired, observed.current),
            spec=spec,
            image=config,
            env={name: value for name, (value, _) in known.items()},
        )
    missing = [f"{mount_what(m)} is not there" for m in spec.mounts if contents.get(m.target, "") is None]
    missing += [f"the value of env.{name} is not there" for name, value in values.items() if value is None]
    found = {target: value for target, value in contents.items() if value is not None}
    attached = networks(desired, observed.network, observed.current, life_id(observed.uid, observed.current), context)
    return Intent(
        object=desired,
        spec=spec,
        state=asked_state(desired),
        recipe=recipe,
        contents=found,
        applied=_applied(desired, observed, image_object, {n: d for n, (_, d) in known.items()}, found)
        | {"endpoints": {one.network: one.record() for one in attached.endpoints}},
        missing=(*missing, *attached.missing),
        networks=attached,
    )


def with_networks_of(asked: Intent, observed: Observed, following: Incarnation, context: Context) -> Intent:
    """For a life that is yet to come: nothing is attached there."""
    seen = replace(observed.network, attached={}, states={})
    return replace(asked, networks=networks(asked.object, seen, None, following.id, context))


def _applied(
    desired: Object,
    observed: Observed,
    image_object: Object | None,
    env: Mapping[str, str],
    contents: Mapping[str, Content],
) -> dict[str, Any]:
    spec: ContainerSpec = desired.effective
    unknown = observed.outdated
    overrides = image_object.effective.config.model_dump(mode="json", exclude_defaults=True) if image_object else {}
    return {
        "name": desired.metadata.name,
        "hostname": host_name(desired, observed.current),
        "labels": dict(desired.metadata.labels),
        "annotations": dict(desired.metadata.annotations),
        "spec": spec.full(),
        "state": asked_state(desired),
        **({"image": UNKNOWN if "" in unknown else observed.image.id} if observed.image else {}),
        "overrides": overrides,
        "env": dict(env),
        "contents": {target: value.version for target, value in contents.items()},
        "volumes": {target: view.uid for target, view in observed.volumes.items()},
        "images": {target: UNKNOWN if target in unknown else image.id for target, image in observed.images.items()},
        "started": dict(observed.started),
        "shared": {kind: shared.token for kind, shared in observed.shared.items()},
        "restartRequest": desired.restart_request,
    }


def asked_state(desired: Object) -> str:
    return desired.suspension.state if desired.suspension else desired.effective.state or RUNNING


def host_name(desired: Object, life: Incarnation | None) -> str:
    """As written; else from the name the container had when this life of it began: a rename is not seen inside."""
    first = str(life.applied.get("hostname", "")) if life else ""
    spec: ContainerSpec = desired.effective
    return spec.hostname or first or hostname(spec, desired.metadata.name)


def image_of(desired: Object, context: Context) -> Object | None:
    """The Image object the container names, or one that has the name of its reference."""
    asked = desired.effective.image
    if isinstance(asked, ImageOf):
        return context.dependencies.get(Ref(kind=Kind.IMAGE, namespace=desired.metadata.namespace, name=asked.name))
    whole = normalize(asked)
    images = (found for found in context.dependencies.values() if found.kind is Kind.IMAGE)
    return next((found for found in images if whole in _names(found)), None)


def _names(image: Object) -> Iterator[str]:
    spec = image.effective
    yield from map(normalize, (*spec.tags, *([spec.source.registry] if spec.source.registry else [])))


def content(context: Context, namespace: str, mount: Mount) -> Content | None:
    kind, name = _source(mount.secret, mount.config)
    found = context.dependencies.get(Ref(kind=kind, namespace=namespace, name=name))
    if found is None:
        return None
    digests = _digests(found)
    keys = sorted(digests) if mount.key is None else [mount.key]
    if any(key not in digests for key in keys):
        return None
    mode = _MODES[mount.source] if mount.mode is None else mount.mode
    described = json.dumps([[key, digests[key]] for key in keys] + [mode, mount.uid, mount.gid])
    return Content(
        what=mount_what(mount),
        version=hashlib.sha256(described.encode()).hexdigest()[:32],
        files={key: found.effective.entries[key] for key in keys},
        mode=mode,
    )


def mount_what(mount: Mount) -> str:
    kind, name = _source(mount.secret, mount.config)
    return f"{kind.lower()}/{name}{'' if mount.key is None else f' key {mount.key}'}"


def _value(context: Context, namespace: str, value: ValueFrom) -> tuple[Sealed | str, str] | None:
    """The value as it is kept, and its digest."""
    kind, name = _source(value.secret, value.config)
    found = context.dependencies.get(Ref(kind=kind, namespace=namespace, name=name))
    if found is None or value.key not in _digests(found):
        return None
    return found.effective.entries[value.key], _digests(found)[value.key]


def _source(secret: str | None, config: str | None) -> tuple[Kind, str]:
    return (Kind.SECRET, secret) if secret is not None else (Kind.CONFIG, config or "")


def _digests(found: Object) -> Mapping[str, str]:
    if found.kind is Kind.SECRET:
        return {key: sealed.digest for key, sealed in found.effective.entries.items()}
    digests: Mapping[str, str] = found.effective.digests
    return digests


def slots(spec: ContainerSpec) -> Mapping[str, str]:
    """A short name for each mount, by its target: the same whatever the order they are written in."""
    return {target: f"m{number}" for number, target in enumerate(sorted(mount.target for mount in spec.mounts))}


def network_mode(spec: ContainerSpec) -> str:
    """`host`, `container` or `own`."""
    first = spec.networks[0] if spec.networks else None
    if first is not None and first.container is not None:
        return "container"
    return "host" if first is not None and first.name == "host" else "own"


def life_id(uid: str, current: Incarnation | None) -> str:
    """Of the present life, or of the first."""
    return current.id if current else task_id(uid, 1)


def sandbox_files(spec: ContainerSpec, host_name: str, gateway: str, attached: Networks) -> SandboxFiles:
    """`gateway` is what `host-gateway` stands for where no network has one."""
    host = attached.host_gateway() or gateway
    return SandboxFiles(
        hostname=host_name,
        addresses=attached.addresses,
        extra_hosts={n: host if a == "host-gateway" else a for n, a in spec.extra_hosts.items()},
        nameservers=(NAME_SERVER,) if attached.names else spec.dns.servers or None,
        search=spec.dns.search or None,
        options=spec.dns.options or None,
        host_network=network_mode(spec) == "host",
    )


def limits(spec: ContainerSpec) -> Limits:
    asked = spec.resources
    return Limits(
        memory=asked.memory,
        memory_reservation=asked.memory_reservation,
        swap=0 if asked.swap is None and asked.memory is not None else asked.swap,
        cpu_millis=asked.cpus,
        cpu_shares=asked.cpu_shares,
        cpuset=asked.cpuset,
        pids=asked.pids,
        io_weight=asked.io_weight,
    )


def log_config(spec: ContainerSpec) -> LogConfig:
    return LogConfig(spec.logging.driver, spec.logging.max_size, spec.logging.max_files)


def stop_signal(spec: ContainerSpec, image: ImageConfig | None) -> int:
    word = spec.stop.signal or (image.stop_signal if image else "") or "SIGTERM"
    try:
        return signal_number(word)
    except ValueError:
        return 15
