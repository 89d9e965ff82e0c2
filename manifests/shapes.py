"""The resource models seen as shapes to walk a tree by: which keys, what kind of value, which of a union is meant.

Derived from the models, so that the language has one definition. Pydantic decides what is valid; shapes tell where a
text is kept as written, where a short form may stand, and to which field an error belongs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo

from resources import scalars
from resources.meta import Model

_SPECIAL = {
    scalars.parse_text: "text",
    scalars.parse_size: "size",
    scalars.parse_duration: "duration",
    scalars.parse_cpus: "cpus",
    scalars.parse_mode: "mode",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    kind: str
    """string, integer, boolean, words, or one of the language's own: text, size, duration, cpus, mode."""
    adapter: TypeAdapter[Any]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Many:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class Table:
    """A map with free keys."""

    key: Leaf
    value: "Shape"


@dataclass(frozen=True, slots=True)
class Either:
    """A map of the one form, or a scalar of the other."""

    form: "Form"
    scalar: Leaf


@dataclass(frozen=True, slots=True)
class Form:
    """A model: a map with fixed keys."""

    model: type[Model]
    fields: Mapping[str, "Field"]

    def __hash__(self) -> int:
        return hash(self.model)


@dataclass(frozen=True, slots=True)
class Field:
    shape: "Shape"
    required: bool


Shape: TypeAlias = Leaf | Many | Table | Either | Form


@cache
def form(model: type[Model]) -> Form:
    return Form(model, {info.alias or name: _field(info) for name, info in model.model_fields.items()})


def _field(info: FieldInfo) -> Field:
    annotation: Any = info.annotation
    for mark in info.metadata:
        annotation = Annotated[annotation, mark]
    return Field(_shape(annotation), info.is_required())


def _shape(annotation: Any) -> Shape:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _union([arg for arg in args if arg is not NoneType])
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return form(annotation)
    if origin is tuple:
        return Many(_shape(args[0]))
    if origin is dict:
        key = _shape(args[0])
        assert isinstance(key, Leaf)
        return Table(key, _shape(args[1]))
    if origin is Annotated and isinstance(args[0], type) and issubclass(args[0], Model):
        return form(args[0])
    return _leaf(annotation)


def _union(options: list[Any]) -> Shape:
    if len(options) == 1:
        return _shape(options[0])
    shapes = [_shape(option) for option in options]
    forms = [shape for shape in shapes if isinstance(shape, Form)]
    leaves = [shape for shape in shapes if isinstance(shape, Leaf)]
    assert len(forms) == len(leaves) == 1 and len(shapes) == 2, options
    return Either(forms[0], leaves[0])


def _leaf(annotation: Any) -> Leaf:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True, hide_input_in_errors=True))
    core, marks = annotation, []
    while get_origin(core) is Annotated:
        core, *more = get_args(core)
        marks += more
    special = [_SPECIAL.get(mark.func) for mark in marks if isinstance(mark, BeforeValidator)]  # type: ignore[arg-type]
    if special and special[0]:
        return Leaf(special[0], adapter)
    if get_origin(core) is Literal:
        return Leaf("words", adapter, get_args(core))
    return Leaf({bool: "boolean", int: "integer", str: "string"}[core], adapter)
