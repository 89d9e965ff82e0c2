"""A normalised tree read by the shapes of a model: plain JSON data, and every problem in our own words.

Each scalar is judged where it stands, so one wrong value hides no other. What is right of a spec is checked for conflicts
even when some of it is wrong (see resources.meta.Checked).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from manifests.instead import MAX_WORD, instead, quoted
from manifests.node import ListNode, MapNode, Node, Scalar, as_written, describe, position_of
from manifests.normalize import SHORT, Steps
from manifests.problems import Position, Report, shown
from manifests.shapes import Either, Form, Leaf, Many, Shape, Table
from manifests.suggest import list_words, suggestion, unknown_key
from manifests.supported import taken
from resources.kinds import Kind
from resources.meta import Checked


@dataclass(frozen=True, slots=True)
class Read:
    data: Any
    """JSON, without what is wrong."""
    value: Any
    """What the models hold."""
    whole: bool = True
    """Nothing in it is wrong."""
    kept: tuple[int, ...] = ()
    """Of a list: which of its items `value` holds."""
    lists: Mapping[str | int, tuple[int, ...]] = field(default_factory=dict)
    """Of a map: `kept` of its lists."""

    def in_tree(self, steps: Steps) -> Steps:
        """The way to a field of `value`, with the index that an item of a list has in the tree."""
        if len(steps) < 2 or not isinstance(steps[1], int) or not self.lists.get(steps[0]):
            return steps
        return (steps[0], self.lists[steps[0]][steps[1]], *steps[2:])


class Decoder:
    def __init__(self, report: Report) -> None:
        self._report = report
        self.kind: Kind | None = None
        """Of the document that is read."""

    def read(self, node: Node, shape: Shape, steps: Steps, at: Position, *, top: bool = False) -> Read | None:
        """None: of no use at all.

        `top`: a whole spec or metadata, whose model is made of what is right in it. `at` is where a list or map is shown,
        at its key. Raises: problems.Full.
        """
        if isinstance(node, Scalar) and node.value is None:
            self._wrong(node.position, steps, f"has no value: {_empty(shape)}, or leave it out")
            return None
        match shape, node:
            case Form(), MapNode():
                return self._form(node, shape, steps, at, top)
            case Table(), MapNode():
                return self._table(node, shape, steps)
            case Many(), ListNode():
                return self._many(node, shape, steps)
            case Either(form=form), MapNode():
                return self._form(node, form, steps, at, top)
            case Either(scalar=leaf), Scalar():
                return self._leaf(node, leaf, steps)
            case Leaf(), Scalar():
                return self._leaf(node, shape, steps)
        where = node.position if isinstance(node, Scalar) else at
        self._wrong(where, steps, f"must be {_wanted(shape)}, not {describe(node)}{instead(shape, node)}")
        return None

    def _form(self, node: MapNode, form: Form, steps: Steps, at: Position, top: bool) -> Read:
        whole = True
        data: dict[str, Any] = {}
        values: dict[str, Read] = {}
        for key, entry in node.entries.items():
            field = form.fields.get(key)
            if field is None:
                whole = False
                self._report.add(entry.position, (*steps, key), unknown_key(key, entry.node, form, steps))
                continue
            found = self.read(entry.node, field.shape, (*steps, key), entry.position)
            whole = whole and found is not None and found.whole
            if found is not None:
                data[key], values[field.name] = found.data, found
        for key, field in form.fields.items():
            if field.required and key not in node.entries:
                whole = False
                self._report.add(at, (*steps, key), "is missing")
        if not whole and not top:
            return Read(data, None, whole=False)
        # Of lists and maps, what is wrong has been left out; anything else that is not whole is nothing.
        good = {name: read for name, read in values.items() if read.whole or isinstance(read.value, tuple | dict)}
        model = form.model.model_construct(**{name: read.value for name, read in good.items()})
        lists: dict[str | int, tuple[int, ...]] = {
            key: good[field.name].kept for key, field in form.fields.items() if field.name in good
        }
        made = Read(data, model, whole, lists=lists)
        if isinstance(model, Checked):
            for conflict, message in model.conflicts():
                way = made.in_tree(conflict)
                self._report.add(position_of(node, way) if way else at, (*steps, *as_written(node, way)), message)
        return made

    def _table(self, node: MapNode, table: Table, steps: Steps) -> Read:
        whole = True
        data: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for key, entry in node.entries.items():
            below = (*steps, key)
            name = self._judged(key, table.key, below, entry.position)
            found = self.read(entry.node, table.value, below, entry.position)
            if name is None or found is None or not found.whole:
                whole = False
            else:
                data[key], values[key] = found.data, found.value
        return Read(data, values, whole)

    def _many(self, node: ListNode, many: Many, steps: Steps) -> Read:
        found = [
            self.read(item, many.item, (*steps, node.number(at)), item.position) for at, item in enumerate(node.items)
        ]
        kept = tuple(number for number, read in enumerate(found) if read is not None and read.whole)
        good = [read for read in found if read is not None and read.whole]
        values = tuple(read.value for read in good)
        return Read([read.data for read in good], values, len(good) == len(found), kept)

    def _leaf(self, node: Scalar, leaf: Leaf, steps: Steps) -> Read | None:
        value = node.text if leaf.kind == "text" else node.value
        message = _flaw(node, leaf, taken(self.kind, steps, leaf.words))
        if message is not None:
            self._wrong(node.position, steps, message)
            return None
        judged = self._judged(value, leaf, steps, node.position)
        return None if judged is None else Read(value, judged.value)

    def _judged(self, value: Any, leaf: Leaf, steps: Steps, position: Position) -> Read | None:
        if leaf.validate is None:
            return Read(value, value)
        try:
            return Read(value, leaf.validate(value))
        except ValidationError as error:
            self._wrong(position, steps, in_words(error.errors(include_url=False, include_input=False)[0]))
            return None

    def _wrong(self, position: Position, steps: Steps, message: str) -> None:
        self._report.add(position, steps, message)


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors, in the words of the language."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be {context['ge']} or more"
        case "less_than_equal":
            return f"must be {context['le']} or less"
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a field"
        case _:
            return "is not a value this field takes"


def _flaw(node: Scalar, leaf: Leaf, offered: tuple[str, ...]) -> str | None:
    """What is wrong with the kind of the value, with what to write instead; `offered` of its words."""
    value, text = node.value, node.text
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match leaf.kind:
        case "string" if not isinstance(value, str):
            return f"must be text: write it in quotes, {quoted(text)}"
        case "boolean" if not isinstance(value, bool):
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
            return "must be true or false" + (f": write {meant}" if meant in ("true", "false") else "")
        case "integer" if isinstance(value, bool) or not isinstance(value, int):
            digits = isinstance(value, str) and text.isascii() and text.isdigit() and len(text) < MAX_WORD
            return "must be a whole number" + (f": write it without quotes, {text}" if digits else "")
        case "words" if value not in leaf.words:
            guess = suggestion(text, offered) if isinstance(value, str) else ""
            if not guess and "never" in offered and text == "no":  # as other tools have it
                guess = "; did you mean never?"
            return f"must be {list_words(offered)}, not {shown(text)}{guess}"
        case "mode" if number:
            return f"a file mode is quoted: write {quoted(text)}"
        case "size" | "duration" | "cpus" | "mode" if len(text) > MAX_WORD:
            return f"{shown(text)} is too long for {_KINDS[leaf.kind]}"
    return None


_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "text": "a value",
    "size": "a size such as 512Mi",
    "duration": "a duration such as 30s",
    "cpus": "a number of cpus",
    "mode": 'a file mode such as "0400"',
}


def _wanted(shape: Shape) -> str:
    match shape:
        case Leaf(kind="words", words=words):
            return list_words(words)
        case Leaf(kind=kind):
            return _KINDS[kind]
        case Many():
            return "a list"
        case Either(scalar=leaf):
            return f"{_wanted(leaf)} or a map"
        case Form(model=model) if model in SHORT:
            return f"{SHORT[model].what} or a map"
        case _:
            return "a map"


def _empty(shape: Shape) -> str:
    match shape:
        case Many():
            return "write [] for an empty list"
        case Form() | Table():
            return "write {} for an empty map"
        case Leaf(kind="text" | "string") | Either(scalar=Leaf(kind="text" | "string")):
            return 'write "" for an empty text'
        case _:
            return "give one"
