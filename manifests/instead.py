"""What to write instead of a value of the wrong shape (PURE): the right form, filled with what was written.

Values that may be secret (of env, labels, data) are not shown.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping

from manifests.node import ListNode, MapNode, Node, Scalar
from manifests.shapes import Form, Leaf, Many, Shape, Table
from resources.container_parts import Dns, Mount, Ulimit
from resources.image import Build, ImageSource
from resources.meta import Model

MAX_WORD = 64
"""Characters of a value whose kind is never longer: sizes, durations, words of a list."""
_MAX_ITEMS = 8
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_ARCHIVE = re.compile(r"\.(tar|tgz|tzst)(\.\w+)?$")


def instead(shape: Shape, node: Node) -> str:
    """`: write …`, or nothing."""
    found = _form(shape, node)
    return f": write {found}" if found else ""


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if _short(text) else '"…"'


def _form(shape: Shape, node: Node) -> str:
    words = _words(node)
    match shape, node:
        case Many(), Scalar() if words:
            return f"[{', '.join(map(quoted, _split(node.text)))}]"
        case Leaf(kind="text"), ListNode() | MapNode():
            return "it in quotes"
        case Form(model=model), Scalar() if words and model in _OF_WORD:
            return _OF_WORD[model](words[0])
        case Form(model=model), _ if words and model is Dns:
            return f"{{servers: [{', '.join(map(_plain, words))}]}}"
        case Table(), ListNode() if words:
            names = (re.split("[=:]", word, maxsplit=1)[0] for word in words)
            return f"{{{', '.join(f'{_plain(name)}: …' for name in names)}}}"
    return ""


def _words(node: Node) -> list[str]:
    """Of a scalar or a list of them; none when they cannot be shown."""
    nodes = node.items if isinstance(node, ListNode) else (node,)
    found = [item.text for item in nodes if isinstance(item, Scalar) and item.value is not None]
    return found if len(found) == len(nodes) <= _MAX_ITEMS and all(map(_short, found)) else []


def _short(text: str) -> bool:
    return len(text) <= MAX_WORD and text.isprintable()


def _plain(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quoted(text)


def _source(text: str) -> str:
    if text.startswith(("./", "../", "/")) or _ARCHIVE.search(text):
        return f"{{archive: {_plain(text)}}}"
    return f"{{registry: {_plain(text)}}}"


def _mount(text: str) -> str:
    """As other tools have it: SOURCE:TARGET[:ro]."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target:
        return "{volume: NAME, target: FOLDER} or {bind: FOLDER, target: FOLDER}"
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    # A bind takes whole paths only.
    path = f"/…/{source.removeprefix('./')}" if source.startswith((".", "~")) else _plain(source)
    read_only = ", readOnly: true" if "ro" in mode.split(",") else ""
    return f"{{{kind}: {path}, target: {_plain(target)}{read_only}}}"


_OF_WORD: Mapping[type[Model], Callable[[str], str]] = {
    ImageSource: _source,
    Build: lambda text: f"{{context: {_plain(text)}}}",
    Mount: _mount,
    Ulimit: lambda text: f"{{soft: {_plain(text)}, hard: {_plain(text)}}}",
}


def _split(text: str) -> list[str]:
    """As a shell would: a command line, which other tools take as one text, is a list here."""
    try:
        return shlex.split(text) or [text]
    except ValueError:
        return [text]
