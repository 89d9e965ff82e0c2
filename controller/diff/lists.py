"""PURE: changes of a container's ports and networks, told by what they are and not by where in their list they stand."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from reconcilers.interface import FieldChange
from resources.paths import join

PORTS, NETWORKS = "spec.ports", "spec.networks"
Told: TypeAlias = tuple[str, Any, Any]
"""(path, old, new)"""
_ATTACHMENT = re.compile(r"spec\.networks\[[0-9]+\]")


class _Port(NamedTuple):
    protocol: str
    address: str
    container: int
    host: int
    """0: a free one."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "_Port":
        return cls(data.get("protocol", "tcp"), data.get("address") or "", data["container"], data.get("host") or 0)

    def follows(self, other: "_Port") -> bool:
        return self == other._replace(container=other.container + 1, host=other.host + 1) and bool(other.host)


def as_written(change: FieldChange) -> Iterator[FieldChange]:
    """A change of a container as people would write its values."""
    if change.path == PORTS and isinstance(change.old, list) and isinstance(change.new, list):
        yield from (
            replace(change, path=path, old=old, new=new) for path, old, new in port_changes(change.old, change.new)
        )
    elif _ATTACHMENT.fullmatch(change.path):
        yield replace(change, old=_attachment(change.old), new=_attachment(change.new))
    else:
        yield change


def port_changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Told]:
    """`8080:80/tcp` each, and `8000-8009:80-89/tcp` several that follow each other."""
    was, now = [_Port.of(one) for one in old], [_Port.of(one) for one in new]
    known, wanted = set(was), set(now)
    gone = {number: port for number, port in enumerate(was) if port not in wanted}
    come = {number: port for number, port in enumerate(now) if port not in known}
    moved = _moved(gone, come)
    told: list[tuple[int, Any, Any]] = [(at, _text([was[of]]), _text([now[at]])) for at, of in moved.items()]
    told += [(run[0][0], None, _text([port for _, port in run])) for run in _runs(come, moved.keys())]
    told += [(run[0][0], _text([port for _, port in run]), None) for run in _runs(gone, set(moved.values()))]
    yield from ((f"{PORTS}[{at}]", before, after) for at, before, after in sorted(told, key=lambda one: one[0]))


def _moved(gone: Mapping[int, _Port], come: Mapping[int, _Port]) -> dict[int, int]:
    """Which that came is which that went: the same port of the container, or else one in the same place."""
    found: dict[int, int] = {}
    for likeness in _LIKENESSES:
        used = set(found.values())
        left = {likeness(number, port): number for number, port in gone.items() if number not in used}
        for number, port in come.items():
            other = left.pop(likeness(number, port), None) if number not in found else None
            if other is not None:
                found[number] = other
    return found


_LIKENESSES: tuple[Callable[[int, _Port], object], ...] = (
    lambda _, port: (port.protocol, port.container, port.address),
    lambda _, port: (port.protocol, port.container),
    lambda number, _: number,
)


def _runs(ports: Mapping[int, _Port], without: Collection[int]) -> Iterator[list[tuple[int, _Port]]]:
    """Those that follow each other, taken together."""
    run: list[tuple[int, _Port]] = []
    for number, port in ports.items():
        if number in without:
            continue
        if run and not (number == run[-1][0] + 1 and port.follows(run[-1][1])):
            yield run
            run = []
        run.append((number, port))
    if run:
        yield run


def _text(ports: Sequence[_Port]) -> str:
    first, last = ports[0], ports[-1]
    address = f"[{first.address}]:" if ":" in first.address else f"{first.address}:" if first.address else ""
    host = f"{_span(first.host, last.host)}:" if first.host else ":" if address else ""
    return f"{address}{host}{_span(first.container, last.container)}/{first.protocol}"


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def network_changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Told]:
    """By name; of the order only that it is another."""
    was = {_name(one): (number, one) for number, one in enumerate(old)}
    now = {_name(one): (number, one) for number, one in enumerate(new)}
    for name, (number, one) in was.items():
        if name not in now:
            yield f"{NETWORKS}[{number}]", _attachment(one), None
    for name, (number, one) in now.items():
        if name in was:
            yield from _fields(was[name][1], one, f"{NETWORKS}[{number}]")
        else:
            yield f"{NETWORKS}[{number}]", None, _attachment(one)
    before, after = ([name for name in names if name in was and name in now] for names in (was, now))
    if before != after:
        yield NETWORKS, ", ".join(before), ", ".join(after)


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Told]:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield join(path, key), old.get(key), new.get(key)


def _name(attachment: Mapping[str, Any]) -> str:
    return attachment.get("name") or f"container {attachment.get('container')}"


def _attachment(data: Any) -> Any:
    """Its name alone where no more is said."""
    if not isinstance(data, Mapping):
        return data
    said = {key: value for key, value in data.items() if value not in ([], False, None)}
    return said["name"] if said.keys() == {"name"} else said
