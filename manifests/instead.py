"""What to write instead of a value of the wrong shape (PURE): the right form, filled with what was written.

Values that may be secret (of env, labels, data) are not shown.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping

from manifests.elsewhere import meant
from manifests.node import ListNode, MapNode, Node, Scalar
from manifests.shapes import Form, Leaf, Many, Shape, Table
from resources.container_parts import Dns, Mount, NetworkAttachment, Port, Ulimit
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
        case Many(item=Form(model=model)), MapNode() if model in _OF_ENTRY:
            return _listed(node, _OF_ENTRY[model])
        case Leaf(kind="text"), ListNode() | MapNode():
            return "it in quotes"
        case Form(model=model), Scalar() if words and model in _OF_WORD:
            return _OF_WORD[model](words[0])
        case Form(model=model), _ if words and model is Dns:
            return f"{{servers: [{', '.join(map(plain, words))}]}}"
        case Table(), ListNode() if words:
            names = (re.split("[=:]", word, maxsplit=1)[0] for word in words)
            return f"{{{', '.join(f'{plain(name)}: …' for name in names)}}}"
    return ""


def _words(node: Node) -> list[str]:
    """Of a scalar or a list of them; none when they cannot be shown."""
    nodes = node.items if isinstance(node, ListNode) else (node,)
    found = [item.text for item in nodes if isinstance(item, Scalar) and item.value is not None]
    return found if len(found) == len(nodes) <= _MAX_ITEMS and all(map(_short, found)) else []


def _short(text: str) -> bool:
    return len(text) <= MAX_WORD and text.isprintable()


def plain(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quoted(text)


def _source(text: str) -> str:
    if text.startswith(("./", "../", "/")) or _ARCHIVE.search(text):
        return f"{{archive: {plain(text)}}}"
    return f"{{registry: {plain(text.partition('://')[2] or text)}}}"


def _mount(text: str) -> str:
    """As other tools have it: SOURCE:TARGET[:ro]."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target:
        return "{volume: NAME, target: FOLDER} or {bind: FOLDER, target: FOLDER}"
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    # A bind takes whole paths only.
    path = f"/…/{source.removeprefix('./')}" if source.startswith((".", "~")) else plain(source)
    read_only = ", readOnly: true" if "ro" in mode.split(",") else ""
    return f"{{{kind}: {path}, target: {plain(target)}{read_only}}}"


def _listed(node: MapNode, written: Callable[[str, Node], str]) -> str:
    """A map that is a list here."""
    if len(node.entries) > _MAX_ITEMS:
        return ""
    found = [written(key, entry.node) if _short(key) else "" for key, entry in node.entries.items()]
    return f"[{', '.join(found)}]" if found and all(found) else ""


def _port(key: str, node: Node) -> str:
    words = _words(node)
    return quoted(f"{key}:{words[0]}") if isinstance(node, Scalar) and words else ""


def _attachment(key: str, node: Node) -> str:
    """As other tools have it: a map by the names of networks, with their words for the rest."""
    said = []
    for theirs, entry in node.entries.items() if isinstance(node, MapNode) else ():
        ours = theirs if theirs in _SAME else meant(theirs, NetworkAttachment)
        words = _words(entry.node)
        if ours == "defaultRoute":
            said.append("defaultRoute: true")
        elif ours in _SAME and words:
            values = ", ".join(map(plain, words))
            said.append(f"{ours}: [{values}]" if isinstance(entry.node, ListNode) else f"{ours}: {values}")
    name = plain("bridge" if key == "default" else key)
    return f"{{{', '.join([f'name: {name}', *said])}}}" if said else name


_SAME = ("aliases", "ipv4", "ipv6", "mac")
_OF_ENTRY: Mapping[type[Model], Callable[[str, Node], str]] = {NetworkAttachment: _attachment, Port: _port}
_OF_WORD: Mapping[type[Model], Callable[[str], str]] = {
    ImageSource: _source,
    Build: lambda text: f"{{context: {plain(text)}}}",
    Mount: _mount,
    Ulimit: lambda text: f"{{soft: {plain(text)}, hard: {plain(text)}}}",
}


def _split(text: str) -> list[str]:
    """As a shell would: a command line, which other tools take as one text, is a list here."""
    try:
        return shlex.split(text) or [text]
    except ValueError:
        return [text]
