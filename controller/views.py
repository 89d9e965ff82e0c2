"""Objects as users see them: JSON, manifests, columns (PURE). Nothing here shows what a Secret holds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml

from resources.kinds import API_VERSION, Kind
from resources.meta import Status
from resources.object import Object
from resources.scalars import format_size

_NOT_NAME = re.compile(r"[^A-Z0-9_]")


def as_json(item: Object, status: Status | None) -> dict[str, Any]:
    """Everything there is to know of it, status included."""
    shown: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": item.kind.value,
        "metadata": item.metadata.model_dump(mode="json", exclude_none=True),
        "spec": _spec(item),
    }
    if item.kind is Kind.SECRET:
        shown["digests"] = {key: sealed.digest for key, sealed in sorted(item.effective.entries.items())}
    else:
        shown["effective"] = item.effective.full()
    if item.inputs:
        shown["inputs"] = {path: held.written() for path, held in item.inputs.items()}
    if item.suspension is not None:
        shown["suspension"] = item.suspension.model_dump(mode="json")
    if status is not None:
        report = status.model_dump(mode="json", exclude={"fields"})
        shown["status"] = {**report, **{name: value for name, value in status.fields.items() if name not in report}}
    return shown


def as_manifest(item: Object) -> dict[str, Any]:
    """What would be applied to have the same. A Secret's values are asked for, since they are not shown."""
    metadata = item.metadata
    parts = {"name": metadata.name, "namespace": metadata.namespace}
    head: dict[str, Any] = {**parts, "labels": dict(metadata.labels), "annotations": dict(metadata.annotations)}
    spec = item.spec.written()
    if item.kind is Kind.SECRET and "data" in spec:
        spec["data"] = {key: f"${{{_variable(item, key)}:?its value is not shown}}" for key in spec["data"]}
    return {
        "apiVersion": API_VERSION,
        "kind": item.kind.value,
        "metadata": {name: value for name, value in head.items() if value},
        "spec": spec,
    }


def to_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text


def _spec(item: Object) -> dict[str, Any]:
    spec: dict[str, Any] = item.spec.written()
    if item.kind is Kind.SECRET and "data" in spec:
        spec["data"] = dict.fromkeys(spec["data"], "(not shown)")
    return spec


def _variable(item: Object, key: str) -> str:
    name = _NOT_NAME.sub("_", f"{item.metadata.name}_{key}".upper())
    return f"_{name}" if name[0].isdigit() else name


def age(since: datetime, now: datetime) -> str:
    seconds = max(int((now - since).total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


Cell = Callable[[Object, Status, datetime], str]


def _field(*names: str) -> Cell:
    def cell(item: Object, status: Status, now: datetime) -> str:
        del item, now
        value: Any = next((status.fields[name] for name in names if status.fields.get(name) is not None), "")
        return _text(value)

    return cell


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value)


def _state(item: Object, status: Status, now: datetime) -> str:
    del now
    return "Deleting" if item.deleting else status.phase


def _ready(item: Object, status: Status, now: datetime) -> str:
    del item, now
    condition = status.condition("Ready")
    if condition is None:
        return ""
    return {"True": "yes", "False": "no", "Unknown": "?"}[condition.status]


def _why(item: Object, status: Status, now: datetime) -> str:
    del item, now
    condition = status.condition("Ready")
    return "" if condition is None or condition.status == "True" else condition.message or condition.reason


def _uid(item: Object, status: Status, now: datetime) -> str:
    del status, now
    return item.metadata.uid[:12]


def _age(item: Object, status: Status, now: datetime) -> str:
    del status
    return age(item.metadata.creation_timestamp, now)


def _started(item: Object, status: Status, now: datetime) -> str:
    del item
    started = status.fields.get("startedAt")
    if not isinstance(started, str) or status.fields.get("pid") is None:
        return ""
    return age(datetime.fromisoformat(started), now)


def _image(item: Object, status: Status, now: datetime) -> str:
    del status, now
    image = item.effective.image
    return image if isinstance(image, str) else f"image/{image.name}"


def _ports(item: Object, status: Status, now: datetime) -> str:
    del item, now
    return ",".join(ports(status))


_EVERYWHERE = ("0.0.0.0", "::")


def ports(status: Status) -> Sequence[str]:
    """Those a container is reached at, as Docker shows them: `127.0.0.1:8080->80/tcp`, `0.0.0.0:8000-8009->80-89/tcp`."""
    reported = status.fields.get("ports")
    if not isinstance(reported, list | tuple):
        return ()
    return _joined((one["protocol"], one["address"], one["host"], one["container"]) for one in reported)


def asked_ports(item: Object) -> Sequence[str]:
    """Those it is to be reached at; 0 is a port of the host that is yet to be chosen."""
    return _joined(
        (port.protocol, address, port.host or 0, port.container)
        for port in item.effective.ports
        for address in ([port.address] if port.address else _EVERYWHERE)
    )


def _joined(found: Iterable[tuple[str, str, int, int]]) -> Sequence[str]:
    """Ports that follow one another on both sides are one entry."""
    runs: list[tuple[str, str, int, int, int]] = []
    for protocol, address, host, container in sorted(found):
        last = runs[-1] if runs else None
        if last and host and (protocol, address, host, container) == (*last[:2], last[2] + last[4], last[3] + last[4]):
            runs[-1] = (*last[:4], last[4] + 1)
        else:
            runs.append((protocol, address, host, container, 1))
    runs.sort(key=lambda run: (run[3], run[0], ":" in run[1], run[1], run[2]))
    return [_port(*run) for run in runs]


def _port(protocol: str, address: str, host: int, container: int, count: int) -> str:
    where = f"[{address}]" if ":" in address else address
    return f"{where}:{_run(host, count) if host else '*'}->{_run(container, count)}/{protocol}"


def _run(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def addresses(status: Status, network: str) -> Sequence[str]:
    """Those a container reports of one of its networks."""
    return tuple(endpoints(status).get(network, {}).get("addresses", ()))


def endpoints(status: Status) -> Mapping[str, Mapping[str, Any]]:
    """What a container reports of its networks, by name: addresses, interface, mac."""
    found: Mapping[str, Mapping[str, Any]] = status.fields.get("networks") or {}
    return found


def _addresses(item: Object, status: Status, now: datetime) -> str:
    del now
    return ",".join(address for one in item.effective.networks for address in addresses(status, one.name or ""))


def _networks(item: Object, status: Status, now: datetime) -> str:
    del status, now
    return ",".join(n.name or f"container/{n.container}" for n in item.effective.networks)


def _source(item: Object, status: Status, now: datetime) -> str:
    del status, now
    source = item.effective.source
    value = getattr(source, source.type)
    return f"{source.type} {value if isinstance(value, str) else value.context}"


def _size(item: Object, status: Status, now: datetime) -> str:
    del item, now
    size = status.fields.get("size")
    return human_size(size) if isinstance(size, int) else ""


def _volume_size(item: Object, status: Status, now: datetime) -> str:
    size = item.effective.size
    return _size(item, status, now) if size is None else str(format_size(size))


def _of_spec(name: str) -> Cell:
    def cell(item: Object, status: Status, now: datetime) -> str:
        del status, now
        return _text(getattr(item.effective, name))

    return cell


def _subnets(item: Object, status: Status, now: datetime) -> str:
    del now
    return ",".join(subnets(item, status))


def subnets(item: Object, status: Status) -> Sequence[str]:
    """Those a network has; those it is to have, where it does not say yet."""
    reported = status.fields.get("subnets") or ()
    return [one["subnet"] for one in reported] or [subnet.subnet for subnet in item.effective.subnets]


def _internal(item: Object, status: Status, now: datetime) -> str:
    del status, now
    return "yes" if item.effective.internal else "no"


def _keys(item: Object, status: Status, now: datetime) -> str:
    del status, now
    return ",".join(sorted(item.effective.entries))


def human_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


_COLUMNS: Mapping[Kind, Sequence[tuple[str, Cell]]] = {
    Kind.CONTAINER: (
        ("UP", _started),
        ("RESTARTS", _field("restarts")),
        ("EXIT", _field("exitCode")),
        ("PORTS", _ports),
    ),
    Kind.IMAGE: (("SOURCE", _source), ("SIZE", _size)),
    Kind.NETWORK: (("DRIVER", _of_spec("driver")), ("SUBNETS", _subnets), ("INTERNAL", _internal)),
    Kind.VOLUME: (("DRIVER", _of_spec("driver")), ("SIZE", _volume_size), ("RECLAIM", _of_spec("reclaim"))),
    Kind.SECRET: (("KEYS", _keys),),
    Kind.CONFIG: (("KEYS", _keys),),
}
_WIDE: Mapping[Kind, Sequence[tuple[str, Cell]]] = {
    Kind.CONTAINER: (
        ("PID", _field("pid")),
        ("IMAGE", _image),
        ("NETWORKS", _networks),
        ("ADDRESSES", _addresses),
    ),
    Kind.IMAGE: (("DIGEST", _field("digest", "image")),),
}


def columns(kind: Kind, *, wide: bool) -> Sequence[tuple[str, Cell]]:
    """What a table shows of a kind beside the names."""
    common: list[tuple[str, Cell]] = [("STATE", _state), ("READY", _ready)]
    more = [*_WIDE.get(kind, ()), ("UID", _uid)] if wide else []
    return [*common, *_COLUMNS.get(kind, ()), ("AGE", _age), *more, ("WHY", _why)]
