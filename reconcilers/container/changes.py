"""What differs between what was applied and what is desired (PURE), field by field, and what each difference costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic

from reconcilers.interface import ChangeKind, FieldChange
from resources.container import ContainerSpec
from resources.paths import join

HIDDEN = "(changed)"
"""In place of what may be secret."""
_HOT = (
    "resources.memory",
    "resources.memoryReservation",
    "resources.swap",
    "resources.cpus",
    "resources.cpuShares",
    "resources.cpuset",
    "resources.pids",
    "resources.ioWeight",
    "restart",
    "dns",
    "extraHosts",
    "health",
    "stop",
    "logging.maxSize",
    "logging.maxFiles",
    "autoRemove",
    "update",
    "dependsOn",
    "ports",
    "envFile",
)
"""Of the spec; whatever is not named here needs a new container."""
_HOT_OF_MOUNTS = ("onChange", "copyUp", "create")
_APART = ("image", "mounts", "networks", "state")


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """From one record of what was applied to another; what is not in the new one is not known yet, and no change."""
    if not old:
        return ()
    before = old["spec"] if old["spec"] == new["spec"] else _normalised(old["spec"])
    spec = _spec(before, new["spec"], old, new)
    return (*_metadata(old, new), *spec, *_endpoints(old, new), *_content(old, new))


def worst(found: Sequence[FieldChange]) -> ChangeKind:
    return max((change.kind for change in found), default=ChangeKind.NONE)


def _normalised(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the defaults of fields that an earlier version did not have: those are no difference."""
    try:
        return ContainerSpec.parse(spec).full()
    except pydantic.ValidationError:
        return spec


def _metadata(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    if old["name"] != new["name"]:
        yield FieldChange("metadata.name", old["name"], new["name"], ChangeKind.HOT)
    for field in ("labels", "annotations"):
        for path, before, after in _walk(f"metadata.{field}", old[field], new[field]):
            yield FieldChange(path, before, after, ChangeKind.HOT)


def _spec(
    before: Mapping[str, Any], after: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[FieldChange]:
    yield from _image(before["image"], after["image"], old, new)
    for name in sorted((before.keys() | after.keys()) - set(_APART)):
        for path, was, now in _walk(name, before.get(name), after.get(name)):
            hot = any(path == field or path.startswith((f"{field}.", f"{field}[")) for field in _HOT)
            yield FieldChange(f"spec.{path}", was, now, ChangeKind.HOT if hot else ChangeKind.RECREATE)
    yield from _networks(before["networks"], after["networks"])
    yield from _mounts(before["mounts"], after["mounts"])
    if old["state"] != new["state"]:
        quiet = {old["state"], new["state"]} <= {"running", "paused"}
        kind = ChangeKind.HOT if quiet else ChangeKind.RESTART
        yield FieldChange("spec.state", old["state"], new["state"], kind)


def _image(before: Any, after: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    """Another word for the same content is no reason to make a container anew; the same word for other content is."""
    moved = "image" in new and old.get("image") != new["image"]
    same = not moved and "image" in new and old["overrides"] == new["overrides"]
    if before != after:
        yield FieldChange("spec.image", before, after, ChangeKind.HOT if same else ChangeKind.RECREATE)
    elif moved:
        yield FieldChange("spec.image", old.get("image"), new["image"], ChangeKind.RECREATE)
    if old["overrides"] != new["overrides"] and before == after:
        yield FieldChange("spec.image.config", old["overrides"], new["overrides"], ChangeKind.RECREATE)


def _networks(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[FieldChange]:
    """Compared by name: the order they are written in is no difference, but where the default route moves with it."""
    if _mode(before) != _mode(after):
        yield FieldChange("spec.networks", before, after, ChangeKind.RECREATE)
        return
    was = {one.get("name"): (number, one) for number, one in enumerate(before)}
    now = {one.get("name"): (number, one) for number, one in enumerate(after)}
    for name in was.keys() - now.keys():
        yield FieldChange(join("spec.networks", was[name][0]), was[name][1], None, ChangeKind.HOT)
    for name, (number, one) in now.items():
        path = join("spec.networks", number)
        if name not in was:
            yield FieldChange(path, None, one, ChangeKind.HOT)
            continue
        for inner, old, new in _walk(path, was[name][1], one):
            yield FieldChange(inner, old, new, ChangeKind.HOT)


def _endpoints(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    """What comes of the networks, and of the order they are written in; what the spec says of one itself is told there."""
    before, after = old.get("endpoints", {}), new["endpoints"]
    said = [{one.get("name"): one for one in spec["networks"]} for spec in (old["spec"], new["spec"])]
    edited = any(said[0].get(name) != said[1].get(name) for name in {*said[0], *said[1]})
    for name in sorted(before.keys() & after.keys()):
        if said[0].get(name) != said[1].get(name):
            continue
        for field in sorted(after[name].keys() - {"network", "driver"}):
            was, now = before[name].get(field), after[name][field]
            if was != now and not (edited and field == "defaultRoute"):
                yield FieldChange(join(join("endpoint", name), field), was, now, ChangeKind.HOT)


def _mode(networks: Sequence[Mapping[str, Any]]) -> str:
    first = networks[0] if networks else {}
    if "container" in first:
        return f"container:{first['container']}"
    return "host" if first.get("name") == "host" else "own"


def _mounts(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[FieldChange]:
    """Compared by target: the order they are written in is no difference."""
    was = {mount["target"]: (number, mount) for number, mount in enumerate(before)}
    now = {mount["target"]: (number, mount) for number, mount in enumerate(after)}
    for target in was.keys() - now.keys():
        yield FieldChange(join("spec.mounts", was[target][0]), was[target][1], None, ChangeKind.RECREATE)
    for target, (number, mount) in now.items():
        path = join("spec.mounts", number)
        if target not in was:
            yield FieldChange(path, None, mount, ChangeKind.RECREATE)
            continue
        for field in sorted(was[target][1].keys() | mount.keys()):
            for inner, old, new in _walk(join(path, field), was[target][1].get(field), mount.get(field)):
                kind = ChangeKind.HOT if field in _HOT_OF_MOUNTS else ChangeKind.RECREATE
                yield FieldChange(inner, old, new, kind)


def _content(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    """What the spec refers to: it says the same, and yet is another."""
    for name, digest in new["env"].items():
        if old["env"].get(name, digest) != digest:
            yield FieldChange(join("spec.env", name), HIDDEN, HIDDEN, ChangeKind.RECREATE)
    mounts = {mount["target"]: (number, mount) for number, mount in enumerate(new["spec"]["mounts"])}
    for group in ("contents", "volumes", "images"):
        for target, value in new[group].items():
            if old[group].get(target, value) == value or target not in mounts:
                continue
            number, mount = mounts[target]
            field = next(f for f in ("secret", "config", "volume", "image") if f in mount)
            kind = ChangeKind.RECREATE
            if group == "contents":
                kind = ChangeKind.RESTART if mount["onChange"] == "restart" else ChangeKind.HOT
            was, now = (HIDDEN, HIDDEN) if group == "contents" else (old[group][target], value)
            yield FieldChange(join(join("spec.mounts", number), field), was, now, kind)
    for group, path in (("started", "spec.dependsOn"), ("shared", "spec")):
        for name, token in new[group].items():
            if old[group].get(name, token) != token:
                where = "spec.networks[0].container" if name == "network" else join(path, name)
                yield FieldChange(where, old[group][name], token, ChangeKind.RESTART)
    if old["restartRequest"] != new["restartRequest"]:
        yield FieldChange("restartRequest", old["restartRequest"], new["restartRequest"], ChangeKind.RESTART)


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The leaves that differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _walk(join(path, key), old.get(key), new.get(key))
    elif old != new:
        yield path, old, new
