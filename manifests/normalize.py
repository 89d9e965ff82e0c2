"""Short forms made long, in place: every value keeps the position of what was written.

A short form is a scalar where a model is wanted (`networks: [host]`, `restart: always`, `"8080:80"`). SHORT says what it
stands for, once: the walk here, the messages of manifests.decode and the schema all read it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from manifests.node import Entry, ListNode, MapNode, Node, Scalar, mapping, text_scalar
from manifests.problems import Position, Report, shown
from manifests.shapes import Either, Field, Form, Many, Shape, Table
from resources.container import Dependency
from resources.container_parts import NetworkAttachment, Port, Restart
from resources.meta import NAME, Model
from resources.network import Subnet

MAX_EXPANDED = 70_000
"""Ports that the ranges of one load may stand for beyond one each."""
_NAMED = re.compile(r"[a-zA-Z][a-zA-Z0-9.-]{0,252}", re.ASCII)
Steps = tuple[str | int, ...]

_PORT = re.compile(
    r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+)):(?=[0-9]*(?:-[0-9]+)?:))?"
    r"(?:(?P<host>[0-9]{1,9})?(?:-(?P<host_end>[0-9]{1,9}))?:)?"
    r"(?P<inside>[0-9]{1,9})(?:-(?P<inside_end>[0-9]{1,9}))?(?:/(?P<protocol>[a-zA-Z]+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Short:
    """What a scalar may stand for a model with."""

    what: str
    """In words: "a name"."""
    schema: Mapping[str, Any]
    """JSON Schema of the scalar."""
    expand: Callable[[Scalar], Iterator[Node]]
    """Raises: ValueError saying what is wrong with the text."""
    numbers: bool = False
    """A number may stand for its text."""


def _field(name: str) -> Callable[[Scalar], Iterator[Node]]:
    def expand(scalar: Scalar) -> Iterator[Node]:
        yield mapping(scalar.position, **{name: scalar})

    return expand


def _ports(scalar: Scalar) -> Iterator[Node]:
    text = scalar.text
    match = _PORT.fullmatch(text)
    if match is None:
        raise ValueError(
            f'{shown(text)} is not a port such as "8080:80", "80", "8000-8009:80-89" or "127.0.0.1:53:53/udp"'
            + _meant_port(text)
        )
    if match["host"] == "0" and not match["host_end"]:
        address = text[: match.start("host")]
        free = f"{address}:{text[match.end('host') + 1 :]}" if address else text[2:]
        raise ValueError(f'{shown(text)}: 0 is no port; for a free one of the host write "{free}"')
    inside = _range(match["inside"], match["inside_end"])
    published = bool(match["host"])
    if match["host_end"] and not published:
        raise ValueError(f"{shown(text)}: a range has a beginning")
    host = _range(match["host"], match["host_end"]) if published else inside
    if len(host) != len(inside):
        raise ValueError(
            f"{shown(text)}: {len(host)} ports of the host cannot stand for {len(inside)} of the container"
        )
    address, position = match["six"] or match["four"], scalar.position
    common: dict[str, Node] = {}
    if address:
        common["address"] = text_scalar(address, position)
    if match["protocol"]:
        common["protocol"] = text_scalar(match["protocol"].lower(), position)
    for own, outer in zip(inside, host, strict=True):
        ends = {"container": _number(own, position), **({"host": _number(outer, position)} if published else {})}
        yield mapping(position, **ends, **common)


def _meant_port(text: str) -> str:
    """`; …`, where an address stands alone before the container's port, or a name instead of an address."""
    where, colon, rest = text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else text.partition(":")
    if not colon or _PORT.fullmatch(rest) is None:
        return ""
    if _is_address(where):
        return f'; "{where}::{rest}" asks for a free port of the host at this address'
    if where == "localhost":
        return f'; write "127.0.0.1:{rest if ":" in rest else f":{rest}"}"'
    return "; an address of the host stands before its port, never a name" if _NAMED.fullmatch(where) else ""


def _is_address(text: str) -> bool:
    inside = text.removeprefix("[").removesuffix("]")
    try:
        return (ip_address(inside).version == 6) == (inside != text)
    except ValueError:
        return False


def _range(first: str, last: str | None) -> range:
    begin, end = int(first), int(last or first)
    for number in (begin, end):
        if not 1 <= number <= 65535:
            raise ValueError(f"{number} is not a port; there are 1 to 65535")
    if end < begin:
        raise ValueError(f"the range {begin}-{end} runs backwards")
    return range(begin, end + 1)


def _number(value: int, position: Position) -> Scalar:
    return Scalar(value, str(value), position)


_NAME = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_POLICIES = ("always", "on-failure", "unless-stopped", "never")
SHORT: Mapping[type[Model], Short] = {
    NetworkAttachment: Short("the name of a network", _NAME, _field("name")),
    Dependency: Short("the name of a container", _NAME, _field("container")),
    Subnet: Short('a subnet such as "10.42.0.0/24"', {"type": "string", "pattern": "/"}, _field("subnet")),
    Restart: Short("a policy", {"enum": _POLICIES}, _field("policy")),
    Port: Short(
        'a port such as "8080:80"',
        {"anyOf": [{"type": "string", "pattern": f"^{_PORT.pattern}$"}, {"type": "integer"}]},
        _ports,
        numbers=True,
    ),
}


class Normalizer:
    """Over all documents of one load."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._left = MAX_EXPANDED

    def normalize(self, node: Node, shape: Shape, steps: Steps) -> Node:
        """The tree in its canonical form; what does not fit the shape stays as it is, for decode to report."""
        match shape, node:
            case Many(item=item), ListNode():
                items: list[Node] = []
                numbers: list[int] = []
                for number, child in enumerate(node.items):
                    expanded = self._expanded(child, item, (*steps, number))
                    items += expanded
                    numbers += [number] * len(expanded)
                return ListNode(tuple(items), node.position, tuple(numbers))
            case ((Form() | Table()), MapNode()):
                return self._map(node, shape, steps)
            case Form(), Scalar():
                expanded = self._expanded(node, shape, steps)
                return expanded[0] if expanded else node
            case Either(form=form), MapNode():
                return self._map(node, form, steps)
        return node

    def _map(self, node: MapNode, shape: Form | Table, steps: Steps) -> MapNode:
        entries = {}
        for key, entry in node.entries.items():
            below: Field | Shape | None = shape.value if isinstance(shape, Table) else shape.fields.get(key)
            if isinstance(below, Field):
                below = below.shape
            value = entry.node if below is None else self.normalize(entry.node, below, (*steps, key))
            entries[key] = entry if value is entry.node else Entry(entry.position, value)
        return MapNode(entries, node.position)

    def _expanded(self, node: Node, shape: Shape, steps: Steps) -> list[Node]:
        short = SHORT.get(shape.model) if isinstance(shape, Form) else None
        if short is None or not isinstance(node, Scalar):
            return [self.normalize(node, shape, steps)] if not isinstance(node, Scalar) else [node]
        number = isinstance(node.value, int) and not isinstance(node.value, bool)
        if not isinstance(node.value, str) and not (number and short.numbers):
            return [node]
        try:
            nodes: list[Node] = []
            for item in short.expand(node):
                self._left -= bool(nodes)
                if self._left < 0:
                    raise ValueError(f"the ranges stand for more than {MAX_EXPANDED} ports")
                nodes.append(item)
            return nodes
        except ValueError as error:
            self._report.add(node.position, steps, str(error))
            return []
