"""What holds for any input."""

import json
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.emit import document, emit
from manifests.interface import Loaded, Options, Text
from manifests.load import load
from manifests.schema import schema
from resources.kinds import Kind
from tests.unit.manifests.generated import DOCUMENTS, SPECS, TREES

SCHEMA = jsonschema.Draft202012Validator(schema())


def load_text(data: str | bytes, name: str = "m.yaml", **variables: str) -> Loaded:
    return load([Text(name, data if isinstance(data, bytes) else data.encode())], Options(variables=variables))


def told(loaded: Loaded) -> list[str]:
    return [str(problem) for problem in loaded.problems]


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    loaded = load_text(data)
    assert loaded.failed or not loaded.manifests


@given(st.text(st.sampled_from("apiVersion: lading/v1\nkind[]{}\"'-|>&*!%#,?<$\t"), max_size=120))
@settings(max_examples=300, deadline=None)
def test_no_text_raises(text: str) -> None:
    load_text(text)


@given(st.sampled_from(sorted(SPECS)), TREES, TREES)
@settings(max_examples=300, deadline=None)
def test_no_tree_raises(kind: str, metadata: Any, spec: Any) -> None:
    manifest = {"apiVersion": "lading/v1", "kind": kind, "metadata": metadata, "spec": spec}
    load_text(json.dumps(manifest), "m.json")


@given(DOCUMENTS, st.data())
@settings(max_examples=400, deadline=None)
def test_a_wrong_value_anywhere_is_a_problem_there_or_a_value(manifest: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(_places(manifest["spec"])) or [("x",)]))
    changed = _with(manifest, ("spec", *place), data.draw(TREES))
    loaded = load_text(json.dumps(changed), "m.json")
    assert loaded.failed == (not loaded.manifests), told(loaded)
    for problem in loaded.problems:
        assert problem.position.file == "m.json"
        assert "pydantic" not in problem.message
        assert "Input should" not in problem.message
        # What the decoder says when a model knows more than it does.
        assert problem.message not in ("is not a value this field takes", "is not a field")


@given(DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_what_is_valid_loads_and_fits_the_schema(manifest: dict[str, Any]) -> None:
    loaded = load_text(json.dumps(manifest).replace("$", "$$"), "m.json")
    assert told(loaded) == []
    assert len(loaded.manifests) == 1
    SCHEMA.validate(manifest)


@given(st.lists(DOCUMENTS, min_size=1, max_size=3, unique_by=lambda one: (one["kind"], one["metadata"]["name"])))
@settings(max_examples=300, deadline=None)
def test_what_is_emitted_loads_to_the_same(documents: list[dict[str, Any]]) -> None:
    texts = [Text(f"{n}.json", json.dumps(one).replace("$", "$$").encode()) for n, one in enumerate(documents)]
    first = [located.manifest for located in load(texts).manifests]
    text = emit(document(one.kind, one.metadata, one.spec) for one in first)
    loaded = load_text(text)
    assert told(loaded) == []
    assert [located.manifest for located in loaded.manifests] == first


@given(
    st.dictionaries(st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,9}", fullmatch=True), st.text(max_size=30), max_size=4)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_emitted_as_it_is(data: dict[str, str]) -> None:
    data = {key: value.replace("\0", "").encode("utf-8", "ignore").decode() for key, value in data.items()}
    text = emit([{"apiVersion": "lading/v1", "kind": "Config", "metadata": {"name": "c"}, "spec": {"data": data}}])
    loaded = load_text(text)
    assert told(loaded) == []
    assert loaded.manifests[0].manifest.spec.data == data
    assert loaded.manifests[0].manifest.kind is Kind.CONFIG


def _places(node: Any, above: tuple[str | int, ...] = ()) -> Any:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, child in children:
        yield (*above, step)
        yield from _places(child, (*above, step))


def _with(node: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    step, *rest = place
    if isinstance(node, list):
        return [_with(child, tuple(rest), value) if number == step else child for number, child in enumerate(node)]
    return {**node, step: _with(node.get(step, {}), tuple(rest), value)}
