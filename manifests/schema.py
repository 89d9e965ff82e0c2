"""JSON Schema (draft 2020-12) of the language, derived from the models and the short forms, for editors.

What the models do beyond types (mounts that overlap, a reference's syntax) is the loader's to say.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic.json_schema import models_json_schema

from manifests.normalize import SHORT
from manifests.shapes import Either, Form, Many, Shape, Table, form
from manifests.suggest import list_words
from resources.errors import Unsupported
from resources.kinds import API_VERSION, SUPPORTED, Kind
from resources.meta import Metadata, Model
from resources.object import SPECS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"$ref": "#/$defs/Variable"}
_NOISE = ("title", "default")
_DEFS = "#/$defs/"


def schema(kind: Kind | None = None) -> dict[str, Any]:
    """Of a document of that kind; of any document. Raises: Unsupported."""
    if kind is not None and kind not in SUPPORTED:
        raise Unsupported(f"{kind} is not supported by this version", hint=f"there are {list_words(SUPPORTED)}")
    kinds = SUPPORTED if kind is None else (kind,)
    definitions = _definitions()
    found: dict[str, Any] = {
        "$schema": DIALECT,
        "title": f"lading {kind}" if kind else "lading manifest",
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"enum": [str(one) for one in kinds]},
            "metadata": {"$ref": f"{_DEFS}Metadata"},
            "spec": True,
        },
        "allOf": [_of_kind(one) for one in kinds],
    }
    found["$defs"] = _reachable(found, definitions)
    return found


def _of_kind(kind: Kind) -> dict[str, Any]:
    model = SPECS[kind]
    required = any(info.is_required() for info in model.model_fields.values())
    then: dict[str, Any] = {"properties": {"spec": {"$ref": f"{_DEFS}{model.__name__}"}}}
    if required:
        then["required"] = ["spec"]
    return {"if": {"properties": {"kind": {"const": str(kind)}}, "required": ["kind"]}, "then": then}


@cache
def _definitions() -> Mapping[str, Any]:
    top: list[type[Model]] = [Metadata, *(SPECS[kind] for kind in SUPPORTED)]
    models = {model.__name__: model for one in top for model in _models(form(one))}
    _, made = models_json_schema([(model, "validation") for model in top], ref_template=f"{_DEFS}{{model}}")
    definitions: dict[str, Any] = {
        "Variable": {"type": "string", "pattern": r"\$\{", "description": "filled in from --var and --var-file"}
    }
    for name, definition in made["$defs"].items():
        model = models[name]
        long = _with_fields_said(_cleaned(definition), model)
        if model in SHORT:
            definitions[f"{name}Map"] = long
            short = {**_without_group_names(SHORT[model].schema), "description": SHORT[model].what}
            long = {"anyOf": [_or_variable(short), {"$ref": f"{_DEFS}{name}Map"}]}
        definitions[name] = long
    return definitions


def _models(shape: Shape) -> Iterator[type[Model]]:
    """Those a manifest is made of."""
    match shape:
        case Form(model=model, fields=fields):
            yield model
            for field in fields.values():
                yield from _models(field.shape)
        case Many(item=below) | Table(value=below) | Either(form=below):
            yield from _models(below)


def _cleaned(node: Any) -> Any:
    """Without nulls (an absent field is left out, never null), titles and defaults; variables wherever a value is no
    free text."""
    if isinstance(node, list):
        return [_cleaned(item) for item in node]
    if not isinstance(node, dict):
        return node
    found: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: _cleaned(field) for name, field in value.items()}
        elif key == "propertyNames":
            found[key] = value
        elif key not in _NOISE:
            found[key] = _cleaned(value)
    if "patternProperties" in found:
        found["additionalProperties"] = False
    options = [option for option in found.get("anyOf", ()) if option != {"type": "null"}]
    if options:
        del found["anyOf"]
        found = {**options[0], **found} if len(options) == 1 else {**found, "anyOf": options}
    return _or_variable(found)


def _or_variable(node: dict[str, Any]) -> dict[str, Any]:
    closed = (
        node.get("type") in ("integer", "number", "boolean") or "enum" in node or "const" in node or "pattern" in node
    )
    return {"anyOf": [node, _VARIABLE]} if closed else node


def _with_fields_said(definition: dict[str, Any], model: type[Model]) -> dict[str, Any]:
    """With what the source says below a field as its description."""
    said = _docstrings(model)
    for name, info in model.model_fields.items():
        field = definition.get("properties", {}).get(info.alias or name)
        if name in said and isinstance(field, dict):
            definition["properties"][info.alias or name] = {**field, "description": said[name]}
    return definition


def _docstrings(model: type[Model]) -> Mapping[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    lines = body.body if isinstance(body, ast.ClassDef) else []
    said = {}
    for field, below in pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            said[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return said


def _without_group_names(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_group_names(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_group_names(item) for item in node]
    return re.sub(r"\(\?P<\w+>", "(", node) if isinstance(node, str) else node


def _reachable(root: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The definitions the schema uses, and those they use."""
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            name = str(node.get("$ref", "")).removeprefix(_DEFS)
            if name in definitions and name not in found:
                found[name] = definitions[name]
                waiting.append(definitions[name])
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return dict(sorted(found.items()))
