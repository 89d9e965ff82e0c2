"""PURE: the dependency graph as dot, mermaid and svg. Names are users' words: each form gets them escaped its own way."""

from collections.abc import Iterable, Sequence
from html import escape

from controller.graph.dependencies import Edge
from controller.graph.order import layers, sort_key
from resources.kinds import Kind
from resources.meta import Ref

_COLOURS = {
    Kind.IMAGE: "#d9ead3",
    Kind.CONTAINER: "#cfe2f3",
    Kind.NETWORK: "#fff2cc",
    Kind.VOLUME: "#ead1dc",
    Kind.SECRET: "#f4cccc",
    Kind.CONFIG: "#fce5cd",
}
_OTHER = "#eeeeee"
_BOX, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 7.5, 30, 30, 60, 20
"""Of the svg: width a character, height of a box, gaps between boxes and between layers, margin."""


def dot(refs: Iterable[Ref], edges: Iterable[Edge]) -> str:
    """For Graphviz. An arrow points from what depends to what it needs."""
    names, links = _ids(refs, edges)
    lines = ["digraph lading {", "  rankdir=BT;", '  node [shape=box, style="rounded,filled", fontname="sans-serif"];']
    for ref, name in names.items():
        lines.append(f'  {name} [label="{_dot(_label(ref))}", fillcolor="{_COLOURS.get(ref.kind, _OTHER)}"];')
    for edge in links:
        label = "" if edge.condition == "ready" else f' [label="{_dot(edge.condition)}"]'
        lines.append(f"  {names[edge.dependent]} -> {names[edge.dependency]}{label};")
    return "\n".join([*lines, "}", ""])


def mermaid(refs: Iterable[Ref], edges: Iterable[Edge]) -> str:
    names, links = _ids(refs, edges)
    lines = ["graph BT"]
    for ref, name in names.items():
        lines.append(f'  {name}["{_mermaid(_label(ref))}"]')
    for edge in links:
        label = "" if edge.condition == "ready" else f"|{_mermaid(edge.condition)}|"
        lines.append(f"  {names[edge.dependent]} -->{label} {names[edge.dependency]}")
    return "\n".join([*lines, ""])


def svg(refs: Iterable[Ref], edges: Iterable[Edge]) -> str:
    """A drawing in layers: what depends on nothing at the bottom."""
    names, links = _ids(refs, edges)
    rows = _untangled(list(reversed(layers(names, links))), links)
    widths = {ref: round(len(_label(ref)) * _BOX) + 20 for ref in names}
    spans = [sum(widths[ref] for ref in row) + _GAP_X * (len(row) - 1) for row in rows]
    total = max(spans, default=0)
    places: dict[Ref, tuple[int, int]] = {}
    for level, row in enumerate(rows):
        x, y = _MARGIN + (total - spans[level]) // 2, _MARGIN + level * (_HEIGHT + _GAP_Y)
        for ref in row:
            places[ref] = x, y
            x += widths[ref] + _GAP_X
    width = total + 2 * _MARGIN
    height = max(len(rows) * (_HEIGHT + _GAP_Y) - _GAP_Y, 0) + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto">'
        '<path d="M0,0 L7,3 L0,6 z" fill="#666"/></marker></defs>',
        *(_line(edge, places, widths) for edge in links),
        *(_box(ref, places[ref], widths[ref]) for ref in places),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


FORMATS = {"dot": dot, "mermaid": mermaid, "svg": svg}


def _ids(refs: Iterable[Ref], edges: Iterable[Edge]) -> tuple[dict[Ref, str], list[Edge]]:
    """A plain word for each object, also for those that only an edge names; and one edge for each pair."""
    links = {(edge.dependent, edge.dependency): edge for edge in edges}
    found = {*refs, *(ref for ends in links for ref in ends)}
    names = {ref: f"n{number}" for number, ref in enumerate(sorted(found, key=sort_key))}
    order = sorted(links, key=lambda ends: (sort_key(ends[0]), sort_key(ends[1])))
    return names, [links[ends] for ends in order]


def _untangled(rows: list[Sequence[Ref]], edges: Sequence[Edge]) -> list[list[Ref]]:
    """Each row sorted by where what it is linked to in the row above stands."""
    users: dict[Ref, list[Ref]] = {}
    for edge in edges:
        users.setdefault(edge.dependency, []).append(edge.dependent)
    spot: dict[Ref, float] = {}
    sorted_rows = []
    for row in rows:
        middles = {ref: _middle([spot[user] for user in users.get(ref, ()) if user in spot]) for ref in row}
        placed = sorted(row, key=lambda ref: (middles[ref], sort_key(ref)))
        spot |= {ref: (number + 0.5) / len(placed) for number, ref in enumerate(placed)}
        sorted_rows.append(placed)
    return sorted_rows


def _middle(spots: Sequence[float]) -> float:
    return sum(spots) / len(spots) if spots else 0.5


def _line(edge: Edge, places: dict[Ref, tuple[int, int]], widths: dict[Ref, int]) -> str:
    (x1, y1), (x2, y2) = places[edge.dependent], places[edge.dependency]
    x1, x2, y1 = x1 + widths[edge.dependent] // 2, x2 + widths[edge.dependency] // 2, y1 + _HEIGHT
    bend = (y2 - y1) // 2
    path = f"M{x1},{y1} C{x1},{y1 + bend} {x2},{y2 - bend} {x2},{y2}"
    title = escape(f"{edge.dependent} needs {edge.dependency} ({edge.condition})")
    return f'<path d="{path}" fill="none" stroke="#666" marker-end="url(#a)"><title>{title}</title></path>'


def _box(ref: Ref, place: tuple[int, int], width: int) -> str:
    x, y = place
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{_HEIGHT}" rx="5" fill="{_COLOURS.get(ref.kind, _OTHER)}"'
        f' stroke="#666"/><text x="{x + width // 2}" y="{y + 19}" text-anchor="middle">{escape(_label(ref))}</text>'
    )


def _label(ref: Ref) -> str:
    return str(ref) if ref.namespace == "default" else f"{ref.namespace}/{ref}"


def _dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(text: str) -> str:
    return text.replace('"', "#quot;")
