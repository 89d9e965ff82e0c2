"""${VAR}, ${VAR:-default} and ${VAR:?message} in string scalars; $$ is a dollar; any other dollar stays.

An unquoted scalar is read again after its variables are filled in, so `port: ${PORT}` is a number; one in quotes stays
text. What a variable holds is never read as YAML.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias

from manifests.core_schema import resolve
from manifests.node import Entry, ListNode, MapNode, Node, Scalar
from manifests.problems import MAX_PROBLEMS, Position, Problem, shown
from resources import paths

MAX_EXPANDED = 16 * 1024 * 1024
"""Characters that variables may add to one load."""

Steps: TypeAlias = tuple[str | int, ...]
_DOLLAR = re.compile(r"\$(?:\$|\{([^}$]*)(\})?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


class _Wrong(Exception):
    pass


class Variables:
    """Fills variables in, over all documents of one load, and collects what is wrong."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._left = MAX_EXPANDED
        self.problems: list[Problem] = []

    def fill(self, node: Node, steps: Steps = ()) -> Node:
        if isinstance(node, MapNode):
            entries = {}
            for key, entry in node.entries.items():
                below = (*steps, key)
                if "${" in key:
                    self._report(entry.position, below, "variables are not filled in in keys")
                entries[key] = Entry(entry.position, self.fill(entry.node, below))
            return MapNode(entries, node.position)
        if isinstance(node, ListNode):
            items = tuple(self.fill(item, (*steps, number)) for number, item in enumerate(node.items))
            return ListNode(items, node.position)
        return self._scalar(node, steps) if isinstance(node.value, str) and "$" in node.text else node

    def _scalar(self, node: Scalar, steps: Steps) -> Scalar:
        try:
            text = _DOLLAR.sub(self._replacement, node.text)
        except _Wrong as wrong:
            self._report(node.position, steps, str(wrong))
            return node
        if text == node.text:
            return node
        value = resolve(text) if node.plain else text
        # A variable that is empty is an empty text, never nothing.
        return Scalar(text if value is None else value, text, node.position, node.plain)

    def _replacement(self, match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        inside = _INSIDE.fullmatch(match[1])
        if match[2] is None or inside is None:
            raise _Wrong(
                f"{shown(match[0])} is not one of ${{VAR}}, ${{VAR:-default}} and ${{VAR:?message}}; "
                "a dollar before a brace is written $$"
            )
        value = self._value(inside[1], inside[2], inside[3])
        self._left -= len(value)
        if self._left < 0:
            raise _Wrong(f"variables add more than {MAX_EXPANDED} characters")
        if _NOT_TEXT.search(value):
            raise _Wrong(f"the variable {inside[1]} holds what cannot stand in a manifest")
        return value

    def _value(self, name: str, operator: str | None, rest: str | None) -> str:
        value = self._values.get(name)
        if operator is None:
            if value is None:
                raise _Wrong(
                    f"the variable {name} is not set; give it with --var {name}=… or write ${{{name}:-default}}"
                )
            return value
        if value:
            return value
        if operator == ":-":
            return rest or ""
        raise _Wrong(f"the variable {name} is not set: {rest}" if rest else f"the variable {name} is not set")

    def _report(self, position: Position, steps: Steps, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(position, paths.joined(steps), message))
