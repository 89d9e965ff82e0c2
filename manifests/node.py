"""The tree a manifest is read into: plain values that remember where they stand, and how they were written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from manifests.problems import Position
from resources import paths

Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Scalar:
    value: Value
    text: str
    """As written, quotes and escapes resolved: `1.10` stays "1.10"."""
    position: Position
    plain: bool = False
    """Written without quotes, so that its text decides what it is."""


@dataclass(frozen=True, slots=True)
class ListNode:
    items: "tuple[Node, ...]"
    position: Position
    numbers: tuple[int, ...] | None = None
    """Where each stood in the manifest, of a list that has been rewritten."""

    def number(self, item: int) -> int:
        return item if self.numbers is None else self.numbers[item]


@dataclass(frozen=True, slots=True)
class Entry:
    position: Position
    """Of the key."""
    node: "Node"


@dataclass(frozen=True, slots=True)
class MapNode:
    entries: Mapping[str, Entry]
    position: Position

    def get(self, key: str) -> "Node | None":
        entry = self.entries.get(key)
        return None if entry is None else entry.node


Node: TypeAlias = Scalar | ListNode | MapNode


def text_scalar(text: str, position: Position) -> Scalar:
    return Scalar(text, text, position)


def mapping(position: Position, **nodes: Node) -> MapNode:
    return MapNode({key: Entry(node.position, node) for key, node in nodes.items()}, position)


def position_at(root: Node, path: str) -> Position:
    return position_of(root, paths.split(path))


def position_of(root: Node, steps: Iterable[str | int]) -> Position:
    """Where the field stands; the nearest that is written where it is not written itself."""
    node, position = root, root.position
    for step in steps:
        if isinstance(node, MapNode) and isinstance(step, str) and step in node.entries:
            entry = node.entries[step]
            node, position = entry.node, entry.position
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            position = node.position
        else:
            break
    # A list or map under its key is shown by the key; a value by itself.
    return node.position if isinstance(node, Scalar) else position


def as_written(root: Node, steps: Iterable[str | int]) -> tuple[str | int, ...]:
    """The same way with the numbers that items of lists have in the manifest."""
    node: Node | None = root
    found: list[str | int] = []
    for step in steps:
        if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            found.append(node.number(step))
            node = node.items[step]
        else:
            found.append(step)
            node = node.get(step) if isinstance(node, MapNode) and isinstance(step, str) else None
    return tuple(found)


def describe(node: Node) -> str:
    """What was found, in words, without showing it."""
    if isinstance(node, MapNode):
        return "a map"
    if isinstance(node, ListNode):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true or false"
    return "text" if isinstance(node.value, str) else "a number"
