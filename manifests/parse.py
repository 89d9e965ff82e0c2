"""YAML (and JSON, which is YAML) to nodes, from the parser's events: nothing is built that the limits do not allow.

PyYAML's own loaders are not used: nested brackets crash them, aliases and merges multiply without a bound, tags make
objects, duplicate keys disappear.
"""

import re
from dataclasses import dataclass, field

import yaml
from yaml._yaml import CParser

from manifests.core_schema import resolve
from manifests.node import Entry, ListNode, MapNode, Node, Scalar
from manifests.problems import MAX_PROBLEMS, Position, Problem, shown
from manifests.syntax import MAX_DEPTH, TOO_DEEP, syntax_problem
from resources import paths

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
"""Counted with every alias written out."""
MAX_ALIASES = 100
MAX_KEY = 4096

MAX_MERGED = 8
MAX_MERGE_DEPTH = 4

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class _Refused(Exception):
    """The rest of the file is not looked at."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def parse(file: str, content: str | bytes) -> tuple[list[Node], list[Problem]]:
    """The documents of a file that hold anything, and what is wrong. Never raises for what is in the file."""
    builder = _Builder(file)
    try:
        builder.read(_checked(file, content))
    except _Refused as refused:
        builder.problems.append(refused.problem)
    return builder.documents, builder.problems


def _checked(file: str, content: str | bytes) -> str:
    start = Position(file)
    size = len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise _Refused(Problem(start, "", f"is {size} bytes; a manifest has at most {MAX_BYTES}"))
    text = _decoded(file, content) if isinstance(content, bytes) else content
    text = text.removeprefix("\ufeff")
    found = _FORBIDDEN.search(text)
    if found:
        code = ord(found[0])
        what = "a NUL character" if code == 0 else f"the character U+{code:04X}"
        raise _Refused(Problem(_at(file, text, found.start()), "", f"{what} cannot stand in a manifest"))
    # JSON writes characters beyond U+FFFF as two escapes; YAML knows one long one.
    return _PAIR.sub(_one_escape, text) if file.endswith(".json") else text


def _decoded(file: str, content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _Refused(Problem(Position(file), "", "is UTF-16; a manifest is UTF-8"))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        head = content[: error.start].decode()
        raise _Refused(Problem(_at(file, head, len(head)), "", "is not UTF-8 here")) from None


def _at(file: str, text: str, offset: int) -> Position:
    return Position(file, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _one_escape(match: re.Match[str]) -> str:
    code = 0x10000 + ((int(match[2], 16) - 0xD800) << 10) + int(match[3], 16) - 0xDC00
    return f"{match[1]}\\U{code:08x}"


@dataclass(slots=True)
class _Built:
    """A node with what the limits count."""

    node: Node
    size: int = 1
    depth: int = 0
    merges: int = 0


@dataclass(slots=True)
class _Frame:
    """A map or list whose end has not been read."""

    position: Position
    is_map: bool
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merged: list[_Built] = field(default_factory=list)
    key: Scalar | None = None
    size: int = 1
    depth: int = 0
    merges: int = 0

    def below(self, path: str) -> str:
        """The path of the value to come."""
        if not self.is_map:
            return paths.join(path, len(self.items))
        return path if self.key is None else paths.join(path, self.key.text)


class _Builder:
    def __init__(self, file: str) -> None:
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._file = file
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Built] = {}
        self._nodes = 0
        self._aliases = 0

    def read(self, text: str) -> None:
        parser = CParser(text)
        try:
            while (event := parser.get_event()) is not None:
                self._take(event)
        except yaml.YAMLError as error:
            raise _Refused(syntax_problem(self._file, text, error)) from None
        finally:
            parser.dispose()

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        position = Position(self._file, mark.line + 1, mark.column + 1) if mark else Position(self._file)
        match event:
            case yaml.ScalarEvent():
                self._no_tag(event.tag, position)
                # The style is '' for a plain scalar, else the sign it began with.
                plain = not event.style
                if "\0" in event.value:
                    self._report(position, "a NUL character cannot stand in a manifest")
                value = resolve(event.value) if plain else event.value
                self._done(_Built(Scalar(value, event.value, position, plain)), event.anchor)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", position)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event, position)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.DocumentStartEvent():
                self._anchors = {}

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, position: Position) -> None:
        self._no_tag(event.tag, position)
        if len(self._frames) >= MAX_DEPTH:
            raise _Refused(Problem(position, "", TOO_DEEP))
        frame = _Frame(position, isinstance(event, yaml.MappingStartEvent), event.anchor)
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        self._frames.append(frame)

    def _end(self) -> None:
        frame = self._frames.pop()
        for source in frame.merged:
            assert isinstance(source.node, MapNode)
            frame.entries = {**source.node.entries, **frame.entries}
        node = MapNode(frame.entries, frame.position) if frame.is_map else ListNode(tuple(frame.items), frame.position)
        self._nodes -= frame.size - 1  # its children have been counted one by one
        self._done(_Built(node, frame.size, frame.depth, frame.merges), frame.anchor)

    def _alias(self, anchor: str, position: Position) -> None:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _Refused(Problem(position, "", f"has more than {MAX_ALIASES} aliases"))
        built = self._anchors.get(anchor)
        if built is None:
            own = any(frame.anchor == anchor for frame in self._frames)
            what = "stands for a value it is part of" if own else "is not defined above in this document"
            raise _Refused(Problem(position, self._path(), f"the alias *{anchor[:60]} {what}"))
        if len(self._frames) + built.depth > MAX_DEPTH:
            raise _Refused(Problem(position, "", TOO_DEEP))
        self._done(built, None)

    def _done(self, built: _Built, anchor: str | None) -> None:
        """A node is complete: hand it to the map, list or document it belongs to."""
        self._nodes += built.size
        if self._nodes > MAX_NODES:
            raise _Refused(Problem(built.node.position, "", f"has more than {MAX_NODES} values"))
        if anchor:
            self._anchors[anchor] = built
        if not self._frames:
            if not (isinstance(built.node, Scalar) and built.node.value is None):
                self.documents.append(built.node)
            return
        frame = self._frames[-1]
        frame.size += built.size
        frame.depth = max(frame.depth, built.depth + 1)
        if not frame.is_map:
            frame.merges = max(frame.merges, built.merges)
            frame.items.append(built.node)
        elif frame.key is None:
            frame.key = self._key(built.node)
        else:
            self._entry(frame, frame.key, built)
            frame.key = None

    def _key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar) and len(node.text) <= MAX_KEY and (node.value is not None or node.text):
            return node
        long = isinstance(node, Scalar) and node.text
        what = f"a key has at most {MAX_KEY} characters" if long else "a key is a word, not a list, a map or nothing"
        raise _Refused(Problem(node.position, self._path(), what))

    def _entry(self, frame: _Frame, key: Scalar, built: _Built) -> None:
        if key.text == "<<" and key.plain and not frame.merged:
            self._merge(frame, key, built)
        elif key.text in frame.entries or key.text == "<<":
            first = frame.entries.get(key.text)
            line = f", first in line {first.position.line}" if first else ""
            self._report(key.position, f"stands twice{line}")
        else:
            frame.entries[key.text] = Entry(key.position, built.node)

    def _merge(self, frame: _Frame, key: Scalar, built: _Built) -> None:
        nodes = built.node.items if isinstance(built.node, ListNode) else (built.node,)
        frame.merges = max(frame.merges, built.merges + 1)
        if not nodes or not all(isinstance(node, MapNode) for node in nodes):
            self._report(key.position, "<< takes a map, or a list of maps")
        elif len(nodes) > MAX_MERGED or frame.merges > MAX_MERGE_DEPTH:
            limits = f"at most {MAX_MERGED} maps at once and {MAX_MERGE_DEPTH} within each other"
            raise _Refused(Problem(key.position, self._path(), f"<< merges {limits}"))
        else:
            frame.merged = [_Built(node) for node in nodes]

    def _no_tag(self, tag: str | None, position: Position) -> None:
        if tag is not None:
            self._report(position, f"the tag {shown(tag)} is refused: values are plain")

    def _report(self, position: Position, message: str) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Refused(Problem(position, "", f"has more than {MAX_PROBLEMS} problems; the rest is not looked at"))
        self.problems.append(Problem(position, self._path(), message))

    def _path(self) -> str:
        path = ""
        for frame in self._frames:
            path = frame.below(path)
        return path[:MAX_KEY]
