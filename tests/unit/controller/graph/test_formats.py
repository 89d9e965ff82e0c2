"""The graph in each of its forms, read back with an ordinary reader where there is one."""

import re
from xml.etree import ElementTree

from controller.graph.dependencies import Edge, edges
from controller.graph.formats import FORMATS, dot, mermaid, svg
from resources.meta import Ref
from tests.unit.controller.making import made, ref

ITEMS = [
    made("container/web", {"image": {"name": "i"}, "dependsOn": [{"container": "db", "condition": "healthy"}]}),
    made("container/db", {"image": {"name": "i"}, "mounts": [{"volume": "v", "target": "/v"}]}),
    made("image/i", {"from": {"registry": "i"}}),
    made("volume/v", {}),
    made("volume/alone", {}, namespace="other"),
]
REFS = [item.ref for item in ITEMS]
EDGES = edges(ITEMS)
SVG = "{http://www.w3.org/2000/svg}"


def test_dot_names_every_object_and_every_edge_once() -> None:
    text = dot(REFS, [*EDGES, *EDGES])
    names = dict(re.findall(r'^  (n\d+) \[label="([^"]*)"', text, re.M))
    assert sorted(names.values()) == ["container/db", "container/web", "image/i", "other/volume/alone", "volume/v"]
    links = {
        (names[a], names[b], c) for a, b, c in re.findall(r'^  (n\d+) -> (n\d+)(?: \[label="(\w+)"\])?;', text, re.M)
    }
    assert links == {
        ("container/web", "container/db", "healthy"),
        ("container/web", "image/i", ""),
        ("container/db", "image/i", ""),
        ("container/db", "volume/v", ""),
    }
    assert text.count("->") == 4


def test_mermaid_has_the_same_graph() -> None:
    text = mermaid(REFS, EDGES)
    assert text.startswith("graph BT\n")
    names = {label: name for name, label in re.findall(r'^  (n\d+)\["([^"]*)"\]$', text, re.M)}
    assert f"  {names['container/web']} -->|healthy| {names['container/db']}\n" in text
    assert f"  {names['container/db']} --> {names['volume/v']}\n" in text


def test_svg_draws_what_is_needed_below_what_needs_it_and_no_two_boxes_over_each_other() -> None:
    root = ElementTree.fromstring(svg(REFS, EDGES))
    boxes = [
        tuple(int(box.get(name, "")) for name in ("x", "y", "width", "height")) for box in root.findall(f"{SVG}rect")
    ]
    places = {text.text: box for text, box in zip(root.findall(f"{SVG}text"), boxes, strict=True)}
    assert places["container/web"][1] < places["container/db"][1] < places["image/i"][1]
    width, height = int(root.get("width", "")), int(root.get("height", ""))
    for x, y, w, h in boxes:
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        over = [o for o in boxes if o[0] < x + w and x < o[0] + o[2] and o[1] < y + h and y < o[1] + o[3]]
        assert over == [(x, y, w, h)]
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "container/web needs container/db (healthy)" in titles


def test_what_is_missing_is_drawn_and_words_cannot_break_a_form() -> None:
    evil = Ref(kind=REFS[0].kind, namespace="default", name='x"];</text><script>&\\')
    found = {name: form([], [Edge(ref("container/web"), evil, "ready", "p")]) for name, form in FORMATS.items()}
    ElementTree.fromstring(found["svg"])
    assert "<script>" not in found["svg"]
    assert '\\"];' in found["dot"]
    assert found["mermaid"].count('"') == 4
    for form in FORMATS.values():
        assert form([], [])
